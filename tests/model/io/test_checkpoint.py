import os
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from peclip import PEClip
from peclip.clip_format import CLIP_MEAN, CLIP_STD, UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.errors import InputError
from peclip.model import MaPLe, SharedAdapter, TextAdapter, load_released
from peclip.model.io.checkpoint import from_checkpoint, read_trained, to_checkpoint
from peclip.model.io.spec import Spec, check_import
from tests.conftest import write_tokenizer
from tests.model.released_small import as_saved, small_state
from tests.model.small import LABELS, build, clips, logits_in_a_process, stir

TEXTS = {"happiness": "a smile", "sadness": "a tear", "surprise": "an open mouth"}
OPTIONS = {"texts": TEXTS, "logit_scale": 50.0, "num_frames": 5, "normalize": "none"}


def logits(net, video=None):
    with torch.no_grad():
        return net(clips() if video is None else video)


def save(net, path):
    """Write what a checkpoint of a run holds of the model."""
    torch.save(to_checkpoint(net.to_trained()) | {"epoch": 3}, path)
    return path


def changed(trained, **entries):
    """The same with other entries of its configuration."""
    return replace(trained, config=replace(trained.config, **entries))


@pytest.fixture(scope="module")
def net(tiny_clip):
    return stir(build(tiny_clip, **OPTIONS)).eval()


@pytest.fixture
def ckpt(net, tmp_path):
    return save(net, tmp_path / "some.ckpt")


class TestReading:
    def test_a_checkpoint_gives_configuration_and_weights(self, net, ckpt):
        trained = read_trained(ckpt)
        assert trained.config == net.config
        assert trained.state.keys() == net.trainable_state().keys()
        assert all(torch.equal(value, trained.state[name]) for name, value in net.trainable_state().items())
        assert trained.source == str(ckpt)

    def test_a_model_made_with_numbers_of_numpy_is_read_back(self, tiny_clip, tmp_path):
        net = build(tiny_clip, logit_scale=np.float32(50), num_frames=np.int64(8))
        for temperature in (np.float64(1.5), torch.tensor(1.5)):
            net.temperature = temperature
            net.save_pretrained(tmp_path / str(type(temperature)))
            for source in (save(net, tmp_path / "a.ckpt"), tmp_path / str(type(temperature))):
                config = read_trained(source).config
                assert (config.logit_scale, config.temperature, config.clip_format.num_frames) == (50.0, 1.5, 8)

    def test_of_a_run_the_best_checkpoint_is_read_or_the_last(self, net, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        save(net, tmp_path / "checkpoints" / "last.ckpt")
        assert read_trained(tmp_path).source.endswith("last.ckpt")
        save(net, tmp_path / "checkpoints" / "best.ckpt")
        assert read_trained(str(tmp_path)).source.endswith("best.ckpt")

    def test_a_run_of_the_command_is_read(self, tiny_run):
        trained = read_trained(tiny_run)
        assert trained.source == str(tiny_run / "checkpoints" / "best.ckpt")
        assert trained.config.clip_format.num_frames == 3
        assert PEClip.from_trained(trained).config == trained.config

    def test_the_folder_above_runs_names_the_latest(self, net, tmp_path):
        runs = tmp_path / "runs"
        for version in range(2):
            folder = runs / "demo" / f"version_{version}" / "checkpoints"
            folder.mkdir(parents=True)
            os.utime(save(net, folder / "last.ckpt"), (version, version))
        for above in (runs / "demo", runs):
            with pytest.raises(InputError, match=r"neither a run .* the latest is .*/version_1$"):
                read_trained(above)

    @pytest.mark.parametrize("name", ["nothing", "a/b/c", "/no/such.ckpt", "..", "a/../b"])
    def test_what_is_not_there_is_said_to_be_so(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"no such file or folder, expected a run|neither a run .* nor a package"):
            read_trained(name)


class TestRebuilding:
    def test_logits_are_those_of_the_trained_model(self, net, ckpt):
        again = PEClip.from_trained(read_trained(ckpt))
        assert torch.equal(logits(again), logits(net))
        assert not again.training
        assert again.config.texts == TEXTS
        assert again.clip_format == ClipFormat(5, 32, UNIT_MEAN, UNIT_STD)

    def test_logits_are_the_same_in_a_new_process(self, net, ckpt, tmp_path):
        assert (logits_in_a_process(tmp_path, ckpt) - logits(net)).abs().max() <= 1e-6

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
        net = stir(build(tiny_clip, adapters=adapters, prompts=prompts)).eval()
        assert torch.equal(logits(PEClip.from_trained(read_trained(save(net, tmp_path / "a.ckpt")))), logits(net))

    def test_the_backbone_may_have_moved(self, net, ckpt, tiny_clip, tmp_path):
        trained = changed(read_trained(ckpt), backbone="/home/somebody/clip")
        with pytest.raises(InputError, match=r"does not fit its backbone '/home/somebody/clip': backbone .* neither"):
            PEClip.from_trained(trained)
        assert torch.equal(logits(PEClip.from_trained(trained, str(tiny_clip))), logits(net))

    def test_another_backbone_of_the_same_shape_is_refused(self, ckpt, tiny_clip, other_clip):
        with pytest.raises(
            InputError,
            match=r"backbone is .*other.*, but .*some.ckpt was trained on another CLIP, .*tiny_clip.* with the fingerprint",
        ):
            PEClip.from_trained(read_trained(ckpt), str(other_clip(32)))

    def test_a_message_is_short_however_long_the_entries_of_a_file_are(self, net, ckpt):
        trained, long = read_trained(ckpt), "x" * 5000
        adapters = {site: replace(spec, init_args={"init": long}) for site, spec in trained.config.adapters.items()}
        for other in (changed(trained, fingerprint=long), changed(trained, adapters=adapters)):
            with pytest.raises(InputError, match="was trained ") as refused:
                net.load_trained(other)
            assert len(str(refused.value)) < 1000

    def test_a_class_path_of_any_length_is_named_in_a_short_message(self):
        with pytest.raises(InputError, match=r"class_path is .*, expected an import path") as refused:
            check_import("x" * 5000, torch.nn.Module)
        assert len(str(refused.value)) < 1000

    def test_another_backbone_of_another_width_is_refused(self, ckpt, other_clip):
        with pytest.raises(InputError, match=r"some.ckpt was trained on another CLIP|does not fit its backbone"):
            PEClip.from_trained(read_trained(ckpt), str(other_clip(16)))

    def test_a_half_precision_copy_of_the_backbone_is_the_same_one(self, ckpt, tiny_clip, tmp_path):
        from transformers import CLIPModel

        half = CLIPModel.from_pretrained(tiny_clip).half()
        half.save_pretrained(tmp_path / "half")
        write_tokenizer(tmp_path / "half")
        # fp16 is not exact for these weights, but the fingerprint is taken in fp16
        assert PEClip.from_trained(read_trained(ckpt), str(tmp_path / "half")).labels == list(LABELS)

    @pytest.mark.parametrize("change", ["missing", "extra", "shape"])
    def test_weights_that_do_not_fit_the_configuration_are_refused(self, ckpt, change):
        trained = read_trained(ckpt)
        name = "prompts.tokens.0"
        if change == "missing":
            del trained.state[name]
        else:
            trained.state[name if change == "shape" else "prompts.more"] = torch.zeros(7, 7)
        with pytest.raises(InputError, match=r"some.ckpt.*prompts\."):
            PEClip.from_trained(trained)

    def test_arguments_that_no_class_takes_are_refused(self, ckpt):
        wrong = {"vision.mlp": Spec("peclip.model.SharedAdapter", {"reduction": "eight"})}
        trained = changed(read_trained(ckpt), adapters=wrong)
        with pytest.raises(InputError, match=r"some.ckpt: its adapters, prompts or temporal head cannot be built"):
            PEClip.from_trained(trained)


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
            with pytest.raises(InputError, match=r"some.ckpt: refused, damaged .*use another checkpoint"):
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
        with pytest.raises(InputError, match=r"some.ckpt is corrupt: the checksum of its entry '.*' is wrong"):
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
        torch.save(to_checkpoint(net.to_trained()) | {"state_dict": state}, tmp_path / "a.ckpt")
        with pytest.raises(InputError, match="its state_dict holds more than the tensors of adapters and prompts"):
            read_trained(tmp_path / "a.ckpt")


class TestReleased:
    def test_is_rebuilt_with_the_clip_that_it_holds(self, tmp_path):
        torch.save(as_saved(small_state()), tmp_path / "a.pth")
        trained = read_trained(tmp_path / "a.pth")
        again, first = PEClip.from_trained(trained), load_released(tmp_path / "a.pth")
        video = clips(2, 3, 64)
        assert torch.equal(logits(again, video), logits(first, video))
        assert trained.config.clip_format == again.clip_format == ClipFormat(16, 64, UNIT_MEAN, UNIT_STD)
        assert len(trained.config.token_ids) == len(trained.config.labels) == 4


class TestFitting:
    def test_a_model_built_from_the_same_settings_takes_the_weights(self, net, ckpt, tiny_clip):
        other = build(tiny_clip, **OPTIONS)
        other.load_trained(read_trained(ckpt))
        assert torch.equal(logits(other), logits(net))

    @pytest.mark.parametrize(
        ("options", "argument", "message"),
        [
            (
                {"texts": "names"},
                "texts",
                "texts has 'happiness' for 'happiness', but .*some.ckpt was trained with another class text, 'a smile'",
            ),
            ({"logit_scale": 100.0}, "logit_scale", "logit_scale is 100.0, but .*some.ckpt was trained with 50.0"),
            ({"num_frames": 8}, "num_frames", "num_frames is 8, but .*some.ckpt was trained with 5"),
            (
                {"normalize": "backbone"},
                "normalize",
                r"normalize means clips with the mean \(0.48.*\), but .*some.ckpt was trained with \(0.0, 0.0, 0.0\)",
            ),
            (
                {"labels": LABELS[::-1]},
                None,
                "was trained on the labels happiness, sadness, surprise, but the data has surprise, sadness, happiness",
            ),
        ],
    )
    def test_other_settings_are_refused_in_one_line_with_both_values(self, ckpt, tiny_clip, options, argument, message):
        net = build(tiny_clip, **OPTIONS | options)
        before = logits(net)
        with pytest.raises(InputError, match=message) as caught:
            net.load_trained(read_trained(ckpt))
        assert caught.value.arguments == ((argument,) if argument else ())
        assert "\n" not in str(caught.value)
        assert torch.equal(logits(net), before)

    def test_token_ids_are_compared_without_placeholders_and_padding(self, net):
        ids = net.token_ids.clone()
        ids[:, 1:3] = 0
        trained = changed(net.to_trained(), texts=None, token_ids=as_rows(ids))
        net.load_trained(trained)
        ids[2, 4] += 1
        with pytest.raises(InputError, match=r"texts has \[.*\] for 'surprise', but .* another class text, \["):
            net.load_trained(changed(trained, token_ids=as_rows(ids)))


def as_rows(token_ids):
    return tuple(map(tuple, token_ids.tolist()))


class TestFormat1:
    """Checkpoints that peclip 0.1.0 wrote before ClipFormat."""

    @pytest.mark.parametrize(
        ("normalize", "mean", "std"), [("clip", CLIP_MEAN, CLIP_STD), ("none", UNIT_MEAN, UNIT_STD)]
    )
    def test_is_read_with_its_clips(self, net, tiny_clip, normalize, mean, std):
        entry = {
            "format": 1,
            "backbone": str(tiny_clip),
            "fingerprint": net.backbone.fingerprint,
            "labels": list(LABELS),
            "texts": TEXTS,
            "adapters": {
                "vision.attention": {
                    "class_path": "peclip.model.adapters.SharedAdapter",
                    "init_args": {"reduction": 8},
                },
                "vision.mlp": {"class_path": "peclip.model.adapters.TemporalDynamicAdapter", "init_args": {}},
                "text.attention": {"class_path": "peclip.model.SharedAdapter", "init_args": {}},
                "text.mlp": {"class_path": "peclip.model.TextAdapter", "init_args": {}},
            },
            "prompts": {"class_path": "peclip.model.prompts.MaPLe", "init_args": {"length": 2, "depth": 2}},
            "logit_scale": 50.0,
            "input": {"num_frames": 7, "image_size": 32, "normalize": normalize},
        }
        content = to_checkpoint(net.to_trained()) | {"peclip": entry}
        again = PEClip.from_trained(from_checkpoint(content, "old.ckpt"))
        assert again.clip_format == ClipFormat(7, 32, mean, std)
        assert torch.equal(logits(again), logits(net))
        assert again.config.to_plain()["format"] == 2
