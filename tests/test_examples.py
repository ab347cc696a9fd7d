"""The scripts in examples/: the plain PE-CLIP computes what peclip computes, and an adapter of one's own trains."""

import csv
import json
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from peclip.bench.sizes import backbone_of, model_of
from tests.lacking import needs
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


@pytest.mark.slow
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


@pytest.fixture
def optuna_search(example, tmp_path, monkeypatch):
    """The script that searches with Optuna, in a folder of its own."""
    pytest.importorskip("optuna", reason=needs("Optuna"))
    monkeypatch.chdir(tmp_path)
    return example("optuna_search")


def test_a_search_finds_the_best_values_and_resumes(optuna_search, tmp_path, monkeypatch, capsys):
    started = []

    def train(words):
        """Write what a training leaves that is the better, the nearer its rate is to one."""
        options = dict(word[2:].split("=") for word in words if "=" in word)
        folder = tmp_path / words[words.index("--folder") + 1]
        folder.mkdir(exist_ok=words[words.index("--ckpt_path") + 1] == "last")
        uar = 1 / (1 + abs(float(options["model.lr_adapters"]) - 1e-3) * 1e3)
        (folder / "metrics.csv").write_text(f"step,val/uar\n1,0.1\n2,{uar}\n3,\n")
        started.append((folder.name, uar))
        if len(started) in (3, 4):
            raise KeyboardInterrupt

    monkeypatch.setattr(optuna_search, "main", train)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            optuna_search.search(4, ["--config", "demo"])
    study = optuna_search.search(4, ["--config", "demo"])
    assert [folder for folder, _ in started] == ["000", "001", "002", "002", "002", started[-1][0]]
    assert len({*started}) == 4, "other values in a folder, or the same in two"
    assert study.best_value == max(uar for _, uar in started)
    best = next(folder for folder, uar in started if uar == study.best_value)
    printed = capsys.readouterr().out
    assert f"runs/optuna/{best}\n" in printed
    assert f"--model.lr_adapters {study.best_params['model.lr_adapters']}" in printed


def test_a_search_needs_a_number_of_trainings(optuna_search):
    assert optuna_search.words(["20", "--config", "demo"]) == (20, ["--config", "demo"])
    for args in ([], ["--config", "demo"], ["0"]):
        with pytest.raises(SystemExit, match=r"^a number of trainings is missing: "):
            optuna_search.words(args)


@pytest.mark.stress
def test_a_search_trains_with_what_optuna_suggests(optuna_search, tmp_path, tiny_config):
    study = optuna_search.search(2, ["--config", str(tiny_config), "--trainer.max_epochs", "1"])
    for trial in study.trials:
        folder = tmp_path / f"runs/optuna/{trial.number:03d}"
        saved = yaml.safe_load((folder / "config.yaml").read_text())["model"]
        assert saved["lr_adapters"] == trial.params["model.lr_adapters"]
        assert saved["net"]["prompts"]["init_args"]["length"] == trial.params["model.net.prompts.init_args.length"]
        with (folder / "metrics.csv").open(newline="") as file:
            assert trial.value in [float(row["val/uar"]) for row in csv.DictReader(file) if row["val/uar"]]
