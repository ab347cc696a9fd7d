"""The scripts in examples/: the plain PE-CLIP computes what peclip computes, and an adapter of one's own trains."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch

from peclip.bench.sizes import backbone_of, model_of
from tests.model.small import clips, stir
from tests.runs import trained

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    """Imports an example by its name, as a script in its folder does."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return import_module


def test_the_plain_implementation_has_the_logits_and_gradients_of_peclip(example):
    torch.manual_seed(0)
    net = stir(model_of(backbone_of("tiny"), 3))
    other = backbone_of("tiny").clip
    other.load_state_dict(net.clip.state_dict())
    other.set_attn_implementation("sdpa")
    plain = example("pe_clip_plain").PlainPEClip(other, net.token_ids, depth=2)
    assert not plain.load_state_dict(net.trainable_state(), strict=False).unexpected_keys
    video = clips()
    losses = []
    for model in (net, plain):
        logits = model(video)
        logits.logsumexp(dim=1).sum().backward()
        losses.append(logits)
    torch.testing.assert_close(*losses, atol=1e-4, rtol=1e-4)
    grads = dict(plain.named_parameters())
    for name, weight in net.named_parameters():
        if weight.requires_grad:
            torch.testing.assert_close(weight.grad, grads[name].grad, atol=1e-3, rtol=1e-3, msg=name)


def test_the_plain_implementation_shows_its_shapes_and_parameters(example, capsys):
    example("pe_clip_plain").main()
    assert "9,399,564 of 159,020,301 parameters are trained (5.91%)" in capsys.readouterr().out


def test_an_adapter_of_ones_own_trains(example, tmp_path, tiny_data):
    folder = trained(
        tmp_path, "--config", "demo", "--config", EXAMPLES / "my_adapter.yaml", "--data.manifest", tiny_data,
        "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--data.num_workers", "0", 
    )  # fmt: skip
    saved = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    assert saved["peclip"]["adapters"]["vision.mlp[2:4]"] == {
        "class_path": "my_adapter.GatedLowRank", "init_args": {"rank": 4}
    }  # fmt: skip
    gates = {name: value for name, value in saved["state_dict"].items() if name.endswith(".gate")}
    assert len(gates) == 2
    assert all(gate.item() != 0 for gate in gates.values())
    assert json.loads((folder / "metrics.json").read_text())["clips"] == 6
