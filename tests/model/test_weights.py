"""Weights that are not finite are refused wherever they are read or written."""

import hashlib
import json
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from peclip import PEClip
from peclip.errors import InputError
from peclip.model import load_released
from peclip.model.backbones.load import load_backbone
from peclip.model.io import onnx
from peclip.model.io.checkpoint import read_trained, to_checkpoint
from peclip.model.weights import check_weights
from tests.model.released_small import as_saved, small_ids, small_state
from tests.model.small import build, stir

NAME = "prompts.tokens.1"


@pytest.fixture
def net(tiny_clip):
    return stir(build(tiny_clip)).eval()


def spoilt(state, name=NAME, value=float("nan")):
    state = {key: tensor.clone() for key, tensor in state.items()}
    state[name].view(-1)[3] = value
    return state


def write_weights(folder, state):
    """Replace the weights of a package, with the digest that belongs to them."""
    content, path = save(state), folder / "config.json"
    (folder / "adapters.safetensors").write_bytes(content)
    config = json.loads(path.read_text()) | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_package_is_refused(net, tmp_path, value, dtype):
    net.save_pretrained(tmp_path / "package")
    state = {name: tensor.to(dtype) for name, tensor in spoilt(net.trainable_state(), value=value).items()}
    write_weights(tmp_path / "package", state)
    with pytest.raises(InputError, match=rf"package: {NAME} has a value that is not finite") as caught:
        read_trained(tmp_path / "package")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_refused(net, tmp_path):
    content = to_checkpoint(net.to_trained())
    content["state_dict"] = spoilt(content["state_dict"], f"net.{NAME}")
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=rf"a\.ckpt: {NAME} has a value that is not finite"):
        read_trained(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("prompt_learner.ctx", "prompts.tokens.0"),
        ("image_encoder.proj", "visual_projection.weight"),
        ("text_encoder.ln_final.bias", "text_model.final_layer_norm.bias"),
    ],
)
def test_a_released_file_is_refused(name, ours, tmp_path):
    torch.save(as_saved(spoilt(small_state(), name)), tmp_path / "a.pth")
    with pytest.raises(InputError, match=rf"a\.pth: {re.escape(ours)} has a value that is not finite"):
        load_released(tmp_path / "a.pth", token_ids=small_ids())


def test_a_backbone_is_refused(tiny_clip, tmp_path):
    folder = shutil.copytree(tiny_clip, tmp_path / "clip")
    name = "vision_model.encoder.layers.1.mlp.fc1.weight"
    save_file(spoilt(load_file(folder / "model.safetensors"), name), folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"backbone '.*clip': {re.escape(name)} has a value that is not finite"):
        load_backbone(str(folder))


def test_no_package_is_written(net, tmp_path):
    with torch.no_grad():
        net.prompts.tokens[1][0, 0] = torch.finfo(torch.float32).max
    with pytest.raises(InputError, match=r"in bf16: prompts\.tokens\.1 has a value that is not finite"):
        net.save_pretrained(tmp_path / "package", dtype="bf16")
    with torch.no_grad():
        net.prompts.tokens[1][0, 0] = float("nan")
    with pytest.raises(InputError, match=r"this model: prompts\.tokens\.1 has a value that is not finite"):
        net.save_pretrained(tmp_path / "package")
    assert not list(tmp_path.iterdir())


def test_large_values_whose_sum_overflows_are_finite():
    check_weights({"a": torch.full((9,), torch.finfo(torch.float32).max)}, "x")
    check_weights({"a": torch.tensor([]), "b": torch.full((9,), 60_000.0).half()}, "x")


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2, dtype=torch.int64),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2).to_sparse(),
        torch.ones(2).to(torch.float8_e4m3fn),
        torch.full((2,), 1e300, dtype=torch.float64),
    ],
    ids=["whole numbers", "complex", "sparse", "float8", "too large for fp32"],
)
def test_other_tensors_are_refused(value):
    with pytest.raises(InputError, match=r"x: a (is a tensor of another kind|has a value that is not finite)"):
        check_weights({"a": value}, "x")


class Session:
    """Stands in for ONNX Runtime, and answers with NaN."""

    def __init__(self, *args, **options):
        self.InferenceSession = lambda *args, **options: self
        self.SessionOptions = SimpleNamespace

    def run(self, names, inputs):
        return [torch.full((len(inputs["video"]), 3), float("nan")).numpy()]


def test_an_onnx_file_that_gives_nan_is_not_kept(net, tmp_path):
    with (
        torch.no_grad(),
        pytest.raises(InputError, match=r"the ONNX file was not kept: .* differ from those of torch by nan"),
    ):
        onnx.compare(net, tmp_path / "a.onnx", Session())


def test_a_model_without_adapters_and_prompts_is_still_written(tiny_clip, tmp_path):
    build(tiny_clip, adapters={}, prompts=None).save_pretrained(tmp_path / "package")
    assert PEClip.from_pretrained(tmp_path / "package").trainable_state() == {}
