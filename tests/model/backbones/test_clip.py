import json
import os
import shutil

import pytest
import torch
from transformers import BertConfig, BertModel

from peclip.errors import InputError
from peclip.model.backbones.load import load_backbone, load_tokenizer


@pytest.fixture(scope="module")
def backbone(tiny_clip):
    return load_backbone(str(tiny_clip))


@pytest.fixture
def copy(tiny_clip, tmp_path):
    """A copy of the tiny CLIP's folder, to be spoiled."""
    return shutil.copytree(tiny_clip, tmp_path / "clip")


def test_backbone_is_frozen_and_in_evaluation_mode_and_single_precision(backbone):
    assert not any(parameter.requires_grad for parameter in backbone.clip.parameters())
    assert not any(module.training for module in backbone.clip.modules())
    assert {parameter.dtype for parameter in backbone.clip.parameters()} == {torch.float32}


def test_half_precision_weights_are_loaded_as_single(copy):
    clip = load_backbone(str(copy)).clip
    clip.half().save_pretrained(copy)
    assert {parameter.dtype for parameter in load_backbone(str(copy)).clip.parameters()} == {torch.float32}


def test_towers_tell_widths_blocks_and_sizes(backbone):
    assert {name: (tower.width, len(tower.blocks)) for name, tower in backbone.towers.items()} == {
        "vision": (32, 2),
        "text": (32, 2),
    }
    assert (backbone.image_size, backbone.context) == (32, 160)


@pytest.mark.parametrize("load", [load_backbone, load_tokenizer])
def test_backbone_that_is_not_here_tells_how_to_get_it(load):
    with pytest.raises(InputError) as caught:
        load("someone/clip-that-is-not-here")
    message = str(caught.value)
    assert "\n" not in message
    assert "hf download someone/clip-that-is-not-here" in message
    assert message.endswith("or demo")


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def lie_about_the_header(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(b"\xff" * 8 + weights.read_bytes()[8:])


def drop_weights(folder):
    (folder / "model.safetensors").unlink()


def drop_tokenizer(folder):
    (folder / "vocab.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def break_config(folder):
    (folder / "config.json").write_text("{")


def empty(folder):
    for file in folder.iterdir():
        file.unlink()


def another_model(folder):
    empty(folder)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**sizes, vocab_size=10)).save_pretrained(folder)


def one_block_more(folder):
    change_vision(folder, "num_hidden_layers", 3)


def wider(folder):
    change_vision(folder, "intermediate_size", 65)


def change_vision(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"][key] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "incomplete metadata"),
        (lie_about_the_header, "header too large"),
        (drop_weights, "model.safetensors"),
        (drop_tokenizer, "tokenizer files"),
        (break_config, "not a valid JSON file"),
        (empty, "config.json"),
        (another_model, "it is a 'bert'"),
        (
            one_block_more,
            "is incomplete: missing or mis-shaped weights: vision_model.encoder.layers.2.layer_norm1.bias and 15 more",
        ),
        (wider, "is incomplete: missing or mis-shaped weights: vision_model.encoder.layers.0.mlp.fc1.bias and 5 more"),
    ],
)
def test_folder_without_a_complete_clip_is_refused_in_one_line(copy, spoil, reason):
    spoil(copy)
    with pytest.raises(InputError) as caught:
        load_backbone(str(copy))
    message = str(caught.value)
    assert reason in message
    assert str(copy) in message
    assert "\n" not in message


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def test_weights_that_are_a_pickle_run_nothing(copy):
    drop_weights(copy)
    marker = copy / "marker"
    torch.save({"logit_scale": Call(os.mkdir, str(marker))}, copy / "pytorch_model.bin")
    with pytest.raises(InputError, match="the weights are a pickle of more than tensors") as caught:
        load_backbone(str(copy))
    assert not marker.exists()
    assert "\n" not in str(caught.value)


def test_code_beside_a_tokenizer_is_not_run(copy):
    marker = copy / "marker"
    (copy / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Tokenizer: pass\n")
    remote = {"tokenizer_class": "Tokenizer", "auto_map": {"AutoTokenizer": ["code.Tokenizer", "code.Tokenizer"]}}
    (copy / "tokenizer_config.json").write_text(json.dumps(remote))
    with pytest.raises(InputError):
        load_backbone(str(copy))
    assert not marker.exists()
