"""Backbones from anyone: absurd sizes are refused before memory is taken, and transformers says nothing."""

import json
import re
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig
from transformers.utils import logging

from peclip.errors import InputError
from peclip.model.backbones.checks import check_sizes
from peclip.model.backbones.load import load_backbone


@pytest.fixture
def copy(tiny_clip, tmp_path):
    """A copy of the tiny CLIP, which a test may change."""
    return shutil.copytree(tiny_clip, tmp_path / "clip")


def change_config(folder, section, **entries):
    config = json.loads((folder / "config.json").read_text())
    (config[section] if section else config).update(entries)
    (folder / "config.json").write_text(json.dumps(config))


def change_weights(folder, change):
    state = load_file(folder / "model.safetensors")
    save_file(change(state), folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("text_config", "num_hidden_layers", 10**9),
        ("text_config", "vocab_size", 10**9),
        ("text_config", "max_position_embeddings", 10**9),
        ("text_config", "hidden_size", 2**40),
        ("vision_config", "num_hidden_layers", 0),
        ("vision_config", "image_size", 10**9),
        ("vision_config", "patch_size", 0),
        (None, "projection_dim", 10**9),
    ],
)
def test_an_absurd_size_is_named(copy, section, name, value):
    change_config(copy, section, **{name: value})
    with pytest.raises(
        InputError, match=rf"backbone '.*clip' cannot be loaded as a CLIP .*: {name} is {value}, expected 1 to"
    ) as caught:
        load_backbone(str(copy))
    assert "\n" not in str(caught.value)


def test_large_sizes_need_as_many_bytes(copy):
    tower = {"hidden_size": 8192, "intermediate_size": 8192, "num_hidden_layers": 20}
    with pytest.raises(
        ValueError, match=r"config.json describes 8,\d+,\d+,\d+ parameters, but the weights have \d+,\d+ bytes"
    ):
        check_sizes(CLIPConfig(text_config=tower), copy)
    with pytest.raises(ValueError, match="these are sizes of 108 billion parameters, more than any CLIP has"):
        check_sizes(CLIPConfig(text_config=tower | {"num_hidden_layers": 200, "intermediate_size": 16_384}))
    with pytest.raises(ValueError, match=r"config.json describes 13,\d+,\d+,\d+ parameters, but the weights have"):
        check_sizes(CLIPConfig(vision_config={"image_size": 4096, "patch_size": 1}), copy)
    check_sizes(CLIPConfig(), copy)  # small enough to be built, and then compared with its weights


def test_a_compressed_file_of_weights_is_refused(copy):
    torch.save(load_file(copy / "model.safetensors"), copy / "stored.zip")
    (copy / "model.safetensors").unlink()
    with (
        zipfile.ZipFile(copy / "stored.zip") as stored,
        zipfile.ZipFile(copy / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in stored.infolist():
            packed.writestr(entry.filename, stored.read(entry))
    with pytest.raises(InputError, match="is compressed, which no checkpoint of PyTorch is"):
        load_backbone(str(copy))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.complex64])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_are_no_floating_point_numbers_are_refused(copy, dtype, name):
    state = load_file(copy / "model.safetensors")
    key = "visual_projection.weight"
    places = {"vision_model.embeddings.position_ids": torch.arange(5)[None]}  # whole numbers, as older files have them
    (copy / "model.safetensors").unlink()
    save = save_file if name.endswith("safetensors") else torch.save
    save(state | places, copy / name)
    load_backbone(str(copy))
    save(state | places | {key: state[key].to(dtype)}, copy / name)
    with pytest.raises(InputError, match=rf"{key} in {name} is \w+, expected fp16, bf16, fp32 or fp64$"):
        load_backbone(str(copy))


def test_a_file_that_is_not_read_does_not_matter(copy):
    state = load_file(copy / "model.safetensors")
    torch.save({name: value.char() for name, value in state.items()}, copy / "pytorch_model.bin")
    load_backbone(str(copy))


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda state: state | {f"extra.{index}": torch.ones(2) for index in range(90)}, None),
        (lambda state: dict(list(state.items())[::2]), "text_model.embeddings.position_embedding.weight and 38 more"),
        (lambda state: state | {"visual_projection.weight": torch.ones(3, 3)}, "visual_projection.weight"),
    ],
    ids=["further weights", "half of the weights", "another shape"],
)
def test_transformers_reports_nothing(copy, change, missing, capfd):
    change_weights(copy, change)
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    if missing is None:
        load_backbone(str(copy))
    else:
        with pytest.raises(InputError, match=f"is incomplete: missing or mis-shaped weights: {re.escape(missing)}$"):
            load_backbone(str(copy))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
