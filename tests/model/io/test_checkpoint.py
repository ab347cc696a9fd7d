import os
import pickle
import subprocess
import sys
from functools import partial

import pytest
import torch

from peclip import PEClip
from peclip.errors import InputError
from peclip.model import MaPLe, SharedAdapter, TextAdapter, load_released
from peclip.model.io.checkpoint import check_fits, from_net, read_trained, rebuild
from peclip.model.io.trained import with_input
from tests.conftest import write_tokenizer
from tests.model.released_small import as_saved, small_state
from tests.model.small import LABELS, build, clips, stir

TEXTS = {"happiness": "a smile", "sadness": "a tear", "surprise": "an open mouth"}


def logits(net, video=None):
    with torch.no_grad():
        return net(clips() if video is None else video)


def save(net, path):
    """Write what a checkpoint of a run holds of the model."""
    state = {f"net.{name}": value for name, value in net.trainable_state().items()}
    torch.save({"peclip": with_input(net.config, 5, 32, "none"), "state_dict": state, "epoch": 3}, path)
    return path


@pytest.fixture(scope="module")
def net(tiny_clip):
    return stir(build(tiny_clip, texts=TEXTS, logit_scale=50.0)).eval()


@pytest.fixture
def ckpt(net, tmp_path):
    return save(net, tmp_path / "some.ckpt")


class TestReading:
    def test_a_checkpoint_gives_configuration_and_weights(self, net, ckpt):
        trained = read_trained(ckpt)
        assert trained.config == with_input(net.config, 5, 32, "none")
        assert trained.state.keys() == net.trainable_state().keys()
        assert all(torch.equal(value, trained.state[name]) for name, value in net.trainable_state().items())
        assert trained.source == str(ckpt)

    def test_of_a_run_the_best_checkpoint_is_read_or_the_last(self, net, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        save(net, tmp_path / "checkpoints" / "last.ckpt")
        assert read_trained(tmp_path).source.endswith("last.ckpt")
        save(net, tmp_path / "checkpoints" / "best.ckpt")
        assert read_trained(str(tmp_path)).source.endswith("best.ckpt")

    def test_a_run_of_the_command_is_read(self, tiny_run):
        trained = read_trained(tiny_run)
        assert trained.source == str(tiny_run / "checkpoints" / "best.ckpt")
        assert rebuild(trained).config["input"] == trained.config["input"]

    def test_the_folder_above_runs_names_the_latest(self, net, tmp_path):
        for version in range(2):
            (tmp_path / f"version_{version}" / "checkpoints").mkdir(parents=True)
            path = save(net, tmp_path / f"version_{version}" / "checkpoints" / "last.ckpt")
            os.utime(path, (version, version))
        with pytest.raises(InputError, match=r"neither a run .* the latest is .*/version_1$"):
            read_trained(tmp_path)

    @pytest.mark.parametrize("name", ["nothing", "a/b/c", "/no/such.ckpt", "..", "a/../b"])
    def test_what_is_not_there_is_said_to_be_so(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"no such file or folder; expected a run|neither a run .* nor a package"):
            read_trained(name)


class TestRebuilding:
    def test_logits_are_those_of_the_trained_model(self, net, ckpt):
        again = rebuild(read_trained(ckpt))
        assert torch.equal(logits(again), logits(net))
        assert not again.training
        assert again.config["texts"] == TEXTS
        assert again.config["input"] == {"num_frames": 5, "image_size": 32, "normalize": "none"}

    def test_logits_are_the_same_in_a_new_process(self, net, ckpt, tmp_path):
        code = (
            "import sys, torch; from peclip import PEClip; net = PEClip.from_pretrained(sys.argv[1]);"
            "torch.set_num_threads(1); video = torch.load(sys.argv[2]);"
            "torch.save(net(video).detach(), sys.argv[3])"
        )
        torch.save(clips(), tmp_path / "video.pt")
        command = [sys.executable, "-c", code, ckpt, tmp_path / "video.pt", tmp_path / "logits.pt"]
        subprocess.run(command, check=True, capture_output=True)
        assert (torch.load(tmp_path / "logits.pt") - logits(net)).abs().max() <= 1e-6

    @pytest.mark.parametrize(
        ("adapters", "prompts"),
        [
            ({}, None),
            ({"text.mlp[1:2]": partial(TextAdapter, reduction=4)}, None),
            ({}, partial(MaPLe, length=3, depth=1)),
            (
                {"vision.attention[0:1]": SharedAdapter, "vision.attention[1:2]": partial(SharedAdapter, reduction=16)},
                None,
            ),
        ],
        ids=["zero-shot", "one block", "prompts alone", "two at a site"],
    )
    def test_any_part_may_be_missing(self, tiny_clip, tmp_path, adapters, prompts):
        net = stir(build(tiny_clip, adapters, prompts)).eval()
        assert torch.equal(logits(rebuild(read_trained(save(net, tmp_path / "a.ckpt")))), logits(net))

    def test_the_backbone_may_have_moved(self, net, ckpt, tiny_clip, tmp_path):
        trained = read_trained(ckpt)
        trained.config["backbone"] = "/home/somebody/clip"
        with pytest.raises(InputError, match=r"does not fit its backbone '/home/somebody/clip': backbone .* neither"):
            rebuild(trained)
        assert torch.equal(logits(rebuild(trained, str(tiny_clip))), logits(net))

    def test_another_backbone_of_the_same_shape_is_refused(self, ckpt, tiny_clip, other_clip):
        with pytest.raises(InputError, match=r"some.ckpt was trained on another CLIP than the one at .*other"):
            rebuild(read_trained(ckpt), str(other_clip(32)))

    def test_another_backbone_of_another_width_is_refused(self, ckpt, other_clip):
        with pytest.raises(InputError, match=r"some.ckpt was trained on another CLIP|does not fit its backbone"):
            rebuild(read_trained(ckpt), str(other_clip(16)))

    def test_a_half_precision_copy_of_the_backbone_is_the_same_one(self, ckpt, tiny_clip, tmp_path):
        from transformers import CLIPModel

        half = CLIPModel.from_pretrained(tiny_clip).half()
        half.save_pretrained(tmp_path / "half")
        write_tokenizer(tmp_path / "half")
        # fp16 is not exact for these weights, but the sum is taken in fp16
        assert rebuild(read_trained(ckpt), str(tmp_path / "half")).labels == list(LABELS)

    @pytest.mark.parametrize("change", ["missing", "extra", "shape"])
    def test_weights_that_do_not_fit_the_configuration_are_refused(self, ckpt, change):
        trained = read_trained(ckpt)
        name = "prompts.tokens.0"
        if change == "missing":
            del trained.state[name]
        else:
            trained.state[name if change == "shape" else "prompts.more"] = torch.zeros(7, 7)
        with pytest.raises(InputError, match=r"some.ckpt.*prompts\."):
            rebuild(trained)

    def test_arguments_that_no_class_takes_are_refused(self, ckpt):
        trained = read_trained(ckpt)
        trained.config["adapters"]["vision.mlp"]["init_args"] = {"reduction": "eight"}
        with pytest.raises(InputError, match=r"some.ckpt: its adapters or prompts cannot be built"):
            rebuild(trained)


@pytest.fixture
def other_clip(tmp_path):
    """Makes a CLIP with other weights than those of the tiny one."""
    from transformers import CLIPConfig, CLIPModel

    def make(width):
        (folder := tmp_path / "other").mkdir()
        vocabulary = write_tokenizer(folder)
        tower = {"hidden_size": width, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        text = {"max_position_embeddings": 160, "vocab_size": vocabulary, "eos_token_id": vocabulary - 1}
        vision = {**tower, "image_size": 32, "patch_size": 16}
        torch.manual_seed(5)
        CLIPModel(CLIPConfig(vision_config=vision, text_config={**tower, **text}, projection_dim=24)).save_pretrained(
            folder
        )
        return folder

    return make


class TestUntrusted:
    def test_a_pickle_that_runs_a_command_is_refused(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'ran'}",)

        torch.save({"peclip": {}, "state_dict": Evil()}, tmp_path / "zip.ckpt")
        (tmp_path / "raw.ckpt").write_bytes(pickle.dumps({"state_dict": Evil()}))
        torch.save(Evil(), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
        for name in ("zip", "raw", "old"):
            with pytest.raises(InputError, match=rf"{name}.ckpt: refused") as caught:
                read_trained(tmp_path / f"{name}.ckpt")
            assert "\n" not in str(caught.value)
        assert not (tmp_path / "ran").exists()

    def test_a_torn_checkpoint_is_named_wherever_it_was_cut(self, ckpt):
        whole = ckpt.read_bytes()
        for part in range(0, 100, 7):
            ckpt.write_bytes(whole[: len(whole) * part // 100])
            with pytest.raises(InputError, match=r"some.ckpt: refused, torn .*use another checkpoint"):
                read_trained(ckpt)

    def test_a_flipped_byte_is_found_wherever_it_changes_a_weight(self, net, ckpt):
        whole, refusals = ckpt.read_bytes(), []
        for place in range(0, len(whole), len(whole) // 60):
            ckpt.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            try:
                state = read_trained(ckpt).state
            except InputError as error:
                refusals.append(str(error))
            else:  # the byte stood between two tensors
                assert all(torch.equal(value, state[name]) for name, value in net.trainable_state().items())
        assert len(refusals) > 20
        assert all(refusal.startswith(str(ckpt)) for refusal in refusals)

    def test_a_flipped_byte_in_a_weight_names_the_part(self, net, ckpt):
        whole, weight = ckpt.read_bytes(), net.prompts.tokens[0].detach().numpy().tobytes()
        place = whole.index(weight) + 5
        ckpt.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"some.ckpt is corrupt: its part '.*' does not match its sum"):
            read_trained(ckpt)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"state_dict": {"net.a": torch.ones(1)}}, "was not written by peclip"),
            ([1, 2], "was not written by peclip"),
            ({"peclip": {"a": 1}, "state_dict": {}}, "is not peclip's"),
        ],
    )
    def test_a_checkpoint_of_something_else_is_refused(self, tmp_path, content, message):
        torch.save(content, tmp_path / "a.ckpt")
        with pytest.raises(InputError, match=message):
            read_trained(tmp_path / "a.ckpt")

    @pytest.mark.parametrize("state", [None, [1], {"net.a": 1}, {3: torch.ones(1)}])
    def test_a_state_of_more_than_tensors_is_refused(self, net, tmp_path, state):
        torch.save({"peclip": with_input(net.config, 5, 32, "clip"), "state_dict": state}, tmp_path / "a.ckpt")
        with pytest.raises(InputError, match="its state_dict holds more than the tensors of adapters and prompts"):
            read_trained(tmp_path / "a.ckpt")


class TestReleased:
    def test_is_rebuilt_with_the_clip_that_it_holds(self, tmp_path):
        torch.save(as_saved(small_state()), tmp_path / "a.pth")
        trained = read_trained(tmp_path / "a.pth")
        again, first = rebuild(trained), load_released(tmp_path / "a.pth")
        video = clips(2, 3, 64)
        assert torch.equal(logits(again, video), logits(first, video))
        assert trained.config["input"] == {"num_frames": 16, "image_size": 64, "normalize": "none"}
        assert len(trained.config["token_ids"]) == len(trained.config["labels"]) == 4


class TestFitting:
    def test_a_model_built_from_the_same_settings_fits(self, net, ckpt, tiny_clip):
        check_fits(read_trained(ckpt), build(tiny_clip, texts=TEXTS, logit_scale=50.0))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"texts": "names", "logit_scale": 50.0},
                "another class text for 'happiness': give model.net.texts.happiness",
            ),
            ({"texts": TEXTS}, "with logit_scale 50.0, not 100.0: give model.net.logit_scale"),
            ({"texts": TEXTS, "logit_scale": 50.0, "labels": LABELS[::-1]}, "was trained on the labels happiness, sad"),
        ],
    )
    def test_other_settings_are_refused(self, ckpt, tiny_clip, options, message):
        with pytest.raises(InputError, match=message):
            check_fits(read_trained(ckpt), build(tiny_clip, **options))

    def test_token_ids_are_compared_without_placeholders_and_padding(self, net, tiny_clip):
        trained = from_net(net)
        ids = net.token_ids.clone()
        ids[:, 1:3] = 0
        config = {key: value for key, value in trained.config.items() if key != "texts"} | {"token_ids": ids.tolist()}
        check_fits(trained._replace(config=config), net)
        ids[2, 4] += 1
        config["token_ids"] = ids.tolist()
        with pytest.raises(InputError, match="another class text for 'surprise'"):
            check_fits(trained._replace(config=config), net)


def test_a_model_in_memory_says_what_clips_it_takes(net, ckpt):
    assert from_net(net).config["input"] == {"num_frames": 16, "image_size": 32, "normalize": "clip"}
    assert from_net(PEClip.from_pretrained(ckpt)).config["input"]["num_frames"] == 5
