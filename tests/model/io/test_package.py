import hashlib
import json
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

from peclip import PEClip, __version__
from peclip.errors import InputError
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.freeze import freeze
from peclip.model.io import package
from peclip.model.io.package import is_hub_id, read_package, write_package
from peclip.model.io.spec import Spec
from peclip.results.card import RunRecord
from tests.model.small import build, clips


def logits(net):
    with torch.no_grad():
        return net(clips())


def change(folder, **entries):
    """Change entries of config.json."""
    config = json.loads((folder / "config.json").read_text()) | entries
    (folder / "config.json").write_text(json.dumps(config))


def replace_weights(folder, content):
    """Put other bytes in the place of the weights, with the sum that belongs to them."""
    (folder / "adapters.safetensors").write_bytes(content)
    change(folder, weights_sha256=hashlib.sha256(content).hexdigest())


class TestRoundTrip:
    def test_logits_come_back_exactly(self, net, folder):
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", "adapters.safetensors", "config.json"]
        assert torch.equal(logits(PEClip.from_pretrained(folder)), logits(net))
        config = json.loads((folder / "config.json").read_text())
        assert (config["peclip_version"], config["dtype"], config["run"]) == (__version__, "fp32", None)

    def test_bf16_halves_the_file_and_keeps_the_logits_nearly(self, net, folder, tmp_path):
        net.save_pretrained(tmp_path / "half", dtype="bf16")
        weights = [(place / "adapters.safetensors").stat().st_size for place in (folder, tmp_path / "half")]
        values = sum(value.numel() for value in net.trainable_state().values())
        assert weights[0] - weights[1] == pytest.approx(2 * values, rel=0.01)
        again = PEClip.from_pretrained(tmp_path / "half")
        assert {value.dtype for value in again.trainable_state().values()} == {torch.float32}
        assert 0 < (logits(again) - logits(net)).abs().max() < 0.3

    def test_a_package_of_a_package_is_the_same(self, folder, tmp_path):
        PEClip.from_pretrained(folder).save_pretrained(tmp_path / "again")
        for name in ("adapters.safetensors", "config.json", "README.md"):
            assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()

    def test_a_model_without_adapters_and_prompts_is_a_package_too(self, tiny_clip, tmp_path):
        net = build(tiny_clip, adapters={}, prompts=None).eval()
        net.save_pretrained(tmp_path / "bare")
        assert torch.equal(logits(PEClip.from_pretrained(tmp_path / "bare")), logits(net))

    def test_further_training_of_a_package_forgets_its_scores(self, net, folder, tmp_path):
        change(folder, run={"data": {}, "training": {"seed": 3}, "scores": None})
        again = PEClip.from_pretrained(folder)
        assert again.to_trained().record == RunRecord({}, {"seed": 3}, None)
        again.prompts.tokens[0].data += 1
        assert again.to_trained().record is None


def test_the_weights_of_vit_b_16_are_38_mb_or_19(tmp_path):
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
    config = CLIPConfig(vision_config={**vision, "patch_size": 16}, text_config=text, projection_dim=512)
    with torch.device("meta"):  # the frozen weights do not come into it
        clip = freeze(CLIPModel(config))
    ids = torch.arange(1, 36).view(7, 5)  # start, two placeholders, a word
    ids[:, -1] = 35  # and the end of each
    backbone = CLIP("openai/clip-vit-base-patch16", clip)
    net = PEClip.assemble(backbone, ids, list("abcdefg"))
    for dtype, megabytes in (("fp32", 37.6), ("bf16", 18.8)):
        net.save_pretrained(tmp_path / dtype, dtype=dtype)
        size = sum(path.stat().st_size for path in (tmp_path / dtype).iterdir())
        assert size / 1e6 == pytest.approx(megabytes, abs=0.1)
        assert f"9,399,564 parameters, {dtype}, {megabytes} MB" in (tmp_path / dtype / "README.md").read_text()


class TestWriting:
    @pytest.mark.parametrize("content", ["file", "folder", "link"])
    def test_existing_files_are_kept(self, net, tmp_path, content):
        target = tmp_path / "out"
        if content == "file":
            target.write_text("mine")
        elif content == "folder":
            (target / "mine").mkdir(parents=True)
        else:
            target.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match=r"out exists: choose another name, or remove it"):
            net.save_pretrained(target)
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_an_empty_folder_is_filled_and_missing_ones_are_made(self, net, tmp_path):
        (tmp_path / "empty").mkdir()
        net.save_pretrained(tmp_path / "empty")
        net.save_pretrained(tmp_path / "a" / "b" / "c")
        assert (tmp_path / "a" / "b" / "c" / "config.json").is_file()
        assert (tmp_path / "empty" / "config.json").is_file()

    def test_the_working_folder_may_be_meant(self, net, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        net.save_pretrained(".")
        assert (tmp_path / "here" / "config.json").is_file()

    def test_nothing_is_left_when_the_disk_is_full(self, net, tmp_path, monkeypatch):
        def full(file):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"out cannot be written: No space left on device"):
            net.save_pretrained(tmp_path / "out")
        assert not list(tmp_path.iterdir())

    def test_a_place_that_cannot_be_written_is_named(self, net, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"out cannot be written: Not a directory"):
            net.save_pretrained(tmp_path / "file" / "out")

    def test_an_argument_that_is_no_plain_data_is_named(self, net, tmp_path):
        adapters = {"text.mlp": Spec("a.B", {"device": torch.device("cpu")})}
        trained = net.to_trained()
        trained = replace(trained, config=replace(trained.config, adapters=adapters))
        with pytest.raises(InputError, match=r"an argument of an adapter or prompt is not plain data: .*device"):
            write_package(trained, tmp_path / "out")

    def test_another_precision_is_refused(self, net, tmp_path):
        with pytest.raises(InputError, match="dtype is 'fp16', expected one of fp32, bf16"):
            net.save_pretrained(tmp_path / "out", dtype="fp16")


class TestUntrusted:
    @pytest.mark.parametrize("name", ["config.json", "adapters.safetensors"])
    def test_a_missing_file_is_named(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(InputError, match=f"package.*({name}|neither a run)"):
            PEClip.from_pretrained(folder)
        (folder / name).mkdir()
        with pytest.raises(InputError, match=f"package is not a package of peclip: it has no {name}"):
            PEClip.from_pretrained(folder)

    @pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', "null", "\x00", "[" * 100_000])
    def test_a_configuration_that_is_none_is_refused(self, folder, content):
        (folder / "config.json").write_text(content)
        with pytest.raises(InputError, match=r"config.json.* (is damaged or not JSON|is not peclip's)") as caught:
            read_package(folder)
        assert "\n" not in str(caught.value)

    def test_a_configuration_without_end_is_not_read(self, folder):
        with (folder / "config.json").open("ab") as file:
            file.truncate(17_000_000)
        with pytest.raises(InputError, match="has more than 16,000,000 bytes"):
            read_package(folder)

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ({"format": 99}, "was written by a newer peclip .* update peclip"),
            ({"weights": "../../secret.safetensors"}, "unknown entry 'weights'"),
            ({"weights": "/etc/passwd"}, "unknown entry 'weights'"),
            (
                {"adapters": {"vision.mlp": {"class_path": "os.system", "init_args": {}}}},
                "'os.system' is not an Adapter",
            ),
            (
                {"prompts": {"class_path": "../../evil.MaPLe", "init_args": {}}},
                "class_path is '../../evil.MaPLe', expected an import path",
            ),
            ({"run": {"scores": "<script>"}}, "config.json: run lacks data"),
            (
                {"run": {"data": {}, "training": {}, "scores": {"clips": 1, "war": "high"}}},
                "run: scores: war is .high., expected a number",
            ),
            ({"weights_sha256": "0" * 64}, "adapters.safetensors is not the file that config.json was written with"),
            ({"weights_sha256": None}, "adapters.safetensors is not the file that config.json was written with"),
        ],
    )
    def test_a_false_entry_is_refused(self, folder, entries, message):
        change(folder, **entries)
        with pytest.raises(InputError, match=message) as caught:
            PEClip.from_pretrained(folder)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("backbone", ["../clip", "/etc", "no/such/folder/here"])
    def test_a_backbone_that_is_no_clip_is_refused(self, folder, backbone):
        change(folder, backbone=backbone)
        with pytest.raises(InputError, match="package does not fit its backbone"):
            PEClip.from_pretrained(folder)

    def test_a_file_outside_of_the_folder_is_not_read_for_a_name_of_a_tensor(self, net, folder, tmp_path):
        state = {f"../{name}": value.clone() for name, value in net.trainable_state().items()}
        save_file(state, tmp_path / "other.safetensors")
        replace_weights(folder, (tmp_path / "other.safetensors").read_bytes())
        with pytest.raises(InputError, match=r"package lacks adapters\."):
            PEClip.from_pretrained(folder)

    @pytest.mark.parametrize(
        "header",
        [
            {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 1_000_000_000]}},
            {"a": {"dtype": "F32", "shape": [1_000_000], "data_offsets": [0, 16]}},
            {"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 16]}},
            {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [16, 0]}},
            {"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}},
            {"a": {"dtype": "X9", "shape": [4], "data_offsets": [0, 16]}},
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "b": {"dtype": "F32"}},
            ["a"],
        ],
    )
    def test_a_header_with_false_sizes_is_refused(self, folder, header):
        text = json.dumps(header).encode()
        replace_weights(folder, struct.pack("<Q", len(text)) + text + b"\0" * 16)
        with pytest.raises(InputError, match=r"adapters.safetensors is damaged: ") as caught:
            PEClip.from_pretrained(folder)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("length", [0, 5, 2**40, 2**64 - 1])
    def test_a_header_with_a_false_length_is_refused(self, folder, length):
        content = (folder / "adapters.safetensors").read_bytes()
        replace_weights(folder, struct.pack("<Q", length) + content[8:])
        with pytest.raises(InputError, match=r"adapters.safetensors is damaged: "):
            PEClip.from_pretrained(folder)

    def test_torn_weights_are_named(self, folder):
        weights = folder / "adapters.safetensors"
        whole = weights.read_bytes()
        for part in (0, 3, 50, 99):
            weights.write_bytes(whole[: len(whole) * part // 100])
            with pytest.raises(InputError, match=r"adapters.safetensors is damaged: "):
                read_package(folder)
        weights.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(
            InputError, match=r"is not the file that config.json was written with: copy the package again"
        ):
            read_package(folder)

    def test_weights_of_other_shapes_are_refused(self, net, folder, tmp_path):
        state = {name: torch.zeros(3) for name in net.trainable_state()}
        save_file(state, tmp_path / "other.safetensors")
        replace_weights(folder, (tmp_path / "other.safetensors").read_bytes())
        with pytest.raises(InputError, match=r"package: .* has shape \(3,\), the model's has"):
            PEClip.from_pretrained(folder)


class Hub:
    """Stands in for the Hub: what is pushed lies in a folder."""

    def __init__(self, folder):
        self.folder, self.private = folder, None

    def create_repo(self, repository, private, exist_ok):
        (self.folder / repository).mkdir(parents=True, exist_ok=exist_ok)
        self.private = private
        return f"https://hub/{repository}"

    def upload_folder(self, repo_id, folder_path, commit_message):
        for path in Path(folder_path).iterdir():
            (self.folder / repo_id / path.name).write_bytes(path.read_bytes())

    def download(self, repository, allow_patterns):
        if not (self.folder / repository).is_dir():
            raise LocalEntryNotFoundError("an error happened\nplease check your connection")
        return str(self.folder / repository)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(package, "HfApi", lambda: hub)
    monkeypatch.setattr(package, "snapshot_download", hub.download)
    return hub


class TestHub:
    @pytest.fixture
    def portable(self, net, monkeypatch):
        monkeypatch.setattr(net, "config", replace(net.config, backbone="openai/clip-vit-base-patch16"))
        return net

    def test_what_is_pushed_is_read_back_by_its_id(self, hub, portable, tiny_clip):
        assert portable.push_to_hub("me/my-model_1.0", private=True) == "https://hub/me/my-model_1.0"
        assert hub.private is True
        assert torch.equal(logits(PEClip.from_pretrained("me/my-model_1.0", backbone=str(tiny_clip))), logits(portable))

    def test_a_backbone_in_a_folder_is_not_pushed(self, hub, net):
        with pytest.raises(
            InputError,
            match=r"its backbone '.*tiny_clip.*' is a folder or file; a package on the Hub needs a backbone on the Hub",
        ):
            net.push_to_hub("me/model")
        assert not hub.folder.exists()

    def test_a_folder_whose_name_looks_like_a_hub_id_is_not_pushed(self, hub, tiny_clip, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        shutil.copytree(tiny_clip, "models/clip")
        with pytest.raises(InputError, match=r"its backbone 'models/clip' is a folder or file"):
            build("models/clip").push_to_hub("me/model")
        assert not hub.folder.exists()

    @pytest.mark.parametrize("backbone", ["/home/me/clip", "../clip", "~/clip", "a/b/c"])
    def test_a_package_of_the_hub_that_names_a_folder_is_refused(self, hub, net, backbone):
        net.save_pretrained(hub.folder / "me" / "model")
        change(hub.folder / "me" / "model", backbone=backbone)
        with pytest.raises(InputError, match=f"me/model: its backbone '{backbone}' is a folder"):
            PEClip.from_pretrained("me/model")

    @pytest.mark.parametrize("name", ["model", "a/b/c", "../up", "a/..", "https://hub/me/model", ""])
    def test_a_name_that_is_none_is_refused(self, hub, portable, name):
        with pytest.raises(InputError, match=r"repository is .*, expected a name on the Hub, OWNER/NAME"):
            portable.push_to_hub(name)

    def test_an_unreachable_hub_is_one_line(self, hub, portable, monkeypatch):
        with pytest.raises(
            InputError, match=r"'me/no' is neither a local file or folder nor a package .* Hub"
        ) as caught:
            PEClip.from_pretrained("me/no")
        assert "\n" not in str(caught.value)

        def refuse(**kwargs):
            raise package.HUB_ERRORS[0]("403 Forbidden\nmore")

        monkeypatch.setattr(hub, "upload_folder", refuse)
        with pytest.raises(InputError, match="cannot push to 'me/model': 403 Forbidden; check the network, and log in"):
            portable.push_to_hub("me/model")


@pytest.mark.parametrize(
    ("name", "expected"), [("a/b", True), ("a", False), ("/a/b", False), ("a/b.", True), ("./a", False)]
)
def test_ids_of_the_hub_are_distinguished_from_paths(name, expected):
    assert is_hub_id(name) is expected
