"""Folders that are no backbone, or whose files contradict each other: one line names what they are."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import SiglipVisionConfig, SiglipVisionModel

from peclip.model.backbones.load import load_backbone
from tests.model.backbones.spoilt import change, refusal
from tests.model.small import build, clips
from tests.runs import run


def vision_only(folder):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=32)).save_pretrained(folder)


def unknown_type(folder):
    change(folder / "config.json", model_type="eva_clip")


def package(folder):
    build(folder).save_pretrained(folder.parent / "package")
    shutil.rmtree(folder)
    (folder.parent / "package").rename(folder)


def run_folder(folder):
    (folder / "config.json").unlink()
    (folder / "checkpoints").mkdir()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (vision_only, "it is a 'siglip_vision_model', expected CLIP, MetaCLIP 2, SigLIP or SigLIP 2"),
        (unknown_type, "it is a 'eva_clip', expected CLIP, MetaCLIP 2, SigLIP or SigLIP 2"),
        (package, "it is a package of peclip, a trained model: use it with --ckpt_path"),
        (run_folder, "it is a run of peclip, a trained model: use it with --ckpt_path"),
    ],
)
def test_a_folder_of_another_kind_is_named(copy, spoil, says):
    folder = copy("clip")
    spoil(folder)
    assert says in refusal(folder)


@pytest.mark.parametrize(
    ("kind", "entries", "says"),
    [
        ("siglip", {"vision_config__vision_use_head": False}, "its vision tower has no pooling head"),
        ("siglip", {"text_config__projection_size": 16}, "its texts have features of width 16, its frames of 32"),
        ("siglip2", {"vision_config__num_patches": 6}, "num_patches is 6, expected those of a square frame"),
        ("siglip2", {"vision_config__num_patches": 10**9}, "num_patches is 1000000000, expected 1 to"),
        (
            "siglip",
            {"vision_config__num_hidden_layers": 3},
            "is incomplete: missing or mis-shaped weights: vision_model",
        ),
        (
            "metaclip2",
            {"text_config__eos_token_id": 5},
            "a tokenizer that ends a text with the token 2, but its text tower",
        ),
        (
            "metaclip2",
            {"text_config__eos_token_id": [2, 3]},
            "a tokenizer that ends a text with the token 2, but its text tower",
        ),
        ("metaclip2", {"text_config__hidden_size": 48}, "is incomplete: missing or mis-shaped weights"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(copy, kind, entries, says):
    folder = copy(kind)
    change(folder / "config.json", **entries)
    assert says in refusal(folder)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (
            {"model_cfg__vision_cfg__timm_model_name": "vit_b"},
            "vision_cfg has timm_model_name 'vit_b', but of open_clip's",
        ),
        ({"model_cfg__text_cfg__hf_model_name": "roberta"}, "text_cfg has hf_model_name 'roberta', but"),
        ({"model_cfg__text_cfg__no_causal_mask": True}, "text_cfg has no_causal_mask True, but"),
        ({"model_cfg__vision_cfg__pool_type": "avg"}, "vision_cfg has pool_type 'avg', but"),
        ({"model_cfg__vision_cfg__layers": [3, 4, 6, 3]}, "layers is [3, 4, 6, 3], expected a whole number"),
        ({"model_cfg__vision_cfg__image_size": 64}, "vision_cfg has image_size 64, but the weights are those of 32"),
        ({"model_cfg__vision_cfg__width": 64}, "vision_cfg has width 64, but the weights are those of 32"),
        ({"model_cfg__vision_cfg__layers": 3}, "vision_cfg has layers 3, but the weights are those of 2"),
        (
            {"model_cfg__text_cfg__context_length": 77},
            "text_cfg has context_length 77, but the weights are those of 160",
        ),
        ({"model_cfg__multimodal_cfg": {"width": 32}}, "model_cfg has a multimodal_cfg"),
        ({"model_cfg": 3}, "open_clip_config.json has no model_cfg"),
        ({"preprocess_cfg__mean": [0.5, 0.5]}, "mean is (0.5, 0.5), expected three numbers"),
        ({"model_cfg__vision_cfg__head_width": 0}, "head_width is 0, expected a whole number above 0"),
    ],
)
def test_an_open_clip_folder_with_other_towers_is_refused(copy, entries, says):
    folder = copy("open_clip")
    change(folder / "open_clip_config.json", **entries)
    assert says in refusal(folder)


def without_tokenizer(folder):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    change(folder / "config.json", text_config__eos_token_id=2)  # as in OpenAI's own, where any end token passes


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_tokenizer, "it has no tokenizer files, expected tokenizer.json or vocab.json"),
        (lambda folder: (folder / "merges.txt").unlink(), "it has vocab.json alone, expected merges.txt beside it"),
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: change(folder / "config.json", vision_config__layer_norm_eps="x"), "expected float, got str"),
        (lambda folder: change(folder / "config.json", vision_config__num_attention_heads=3), "not a multiple of"),
        (lambda folder: change(folder / "config.json", vision_config__hidden_act="x"), "'x' is missing or unknown"),
    ],
)
def test_what_a_folder_lacks_or_misstates_is_named(copy, spoil, says):
    folder = copy("clip")
    spoil(folder)
    assert says in refusal(folder)


def test_a_configuration_does_not_decide_what_a_pass_returns(copy, written):
    folder = copy("clip")
    change(folder / "config.json", vision_config__return_dict=False, text_config__return_dict=False)
    assert torch.equal(build(folder)(clips()), build(written("clip"))(clips()))


def test_an_open_clip_folder_with_pickled_weights_is_read_safely(copy):
    folder = copy("open_clip")
    expected = load_backbone(str(folder)).fingerprint
    weights = folder / "open_clip_model.safetensors"
    torch.save(load_file(weights), folder / "open_clip_pytorch_model.bin")
    weights.unlink()
    assert load_backbone(str(folder)).fingerprint == expected
    (folder / "open_clip_pytorch_model.bin").unlink()
    assert "it has none of open_clip_model.safetensors" in refusal(folder)


def test_a_folder_with_both_configurations_is_hugging_faces(copy, written):
    folder = copy("clip")
    shutil.copy(written("open_clip") / "open_clip_config.json", folder)
    assert load_backbone(str(folder)).fingerprint == load_backbone(str(written("clip"))).fingerprint


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"image_mean": [0.5, 0.5]}, "preprocessor_config.json has image_mean [0.5, 0.5], expected three numbers"),
        ({"image_std": 0.5}, "preprocessor_config.json has image_std 0.5, expected three numbers"),
        ({"image_mean": [123, 116, 103]}, "mean and std of its pixels are (123.0, 116.0, 103.0) and"),
        ({"image_std": [0.5, 0.5, 0]}, "std is (0.5, 0.5, 0.0), expected three numbers above 0"),
        ({"rescale_factor": 1 / 127.5}, "preprocessor_config.json has rescale_factor 0.0078"),
        ({"do_rescale": False}, "preprocessor_config.json has do_rescale false, so that pixels are from 0 to 255"),
    ],
)
def test_a_preprocessor_that_states_no_pixels_is_refused(copy, entries, says):
    folder = copy("metaclip2")
    change(folder / "preprocessor_config.json", **entries)
    assert says in refusal(folder)


def test_a_preprocessor_that_does_not_normalise_leaves_pixels_as_they_are(copy):
    folder = copy("metaclip2")
    change(folder / "preprocessor_config.json", do_normalize=False)
    backbone = load_backbone(str(folder))
    assert (backbone.mean, backbone.std) == ((0.0,) * 3, (1.0,) * 3)


def test_the_command_says_it_in_one_line(tiny_config, tmp_path):
    (tmp_path / "farl.pth").write_text("not weights\n")
    result = run("fit", "--config", tiny_config, "--model.net.backbone", tmp_path / "farl.pth")
    assert result.status != 0
    assert "refused, not a checkpoint whose tensors can be read safely" in result.err
    assert len(result.err.strip().splitlines()) == 1
