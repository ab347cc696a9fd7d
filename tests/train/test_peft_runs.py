"""Runs with layers of Hugging Face PEFT, as a user starts them."""

import json
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from peclip.model.io import read_trained
from tests.processes import AtCall, in_a_process, send
from tests.runs import run

pytestmark = pytest.mark.usefixtures("blank_pictures")

pytest.importorskip("peft")

LORA = {
    "class_path": "peft.LoraConfig",
    "init_args": {"r": 4, "lora_dropout": 0.2, "target_modules": ["q_proj", "v_proj"]},
}
OPTIONS = {"model": {"lr_peft": 0.01, "net": {"adapters": {}, "prompts": None, "peft": LORA}}}


@pytest.fixture(scope="module")
def config(tiny_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("lora") / "lora.yaml"
    path.write_text(yaml.safe_dump(OPTIONS))
    return ["--config", str(tiny_config), "--config", str(path)]


@pytest.fixture(scope="module")
def lora_run(config, tmp_path_factory):
    """A run whose only trainable parts are those of LoRA, and its output."""
    folder = tmp_path_factory.mktemp("runs") / "lora"
    result = run("fit", *config, "--folder", folder)
    assert (result.status, result.err) == (0, ""), result.err
    return folder, result.out


def weights(folder, name="last"):
    return torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]


def refused(result, *says):
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    for part in says:
        assert part in result.err


def test_it_is_counted_has_a_rate_of_its_own_and_only_its_weights_are_saved(lora_run):
    folder, shown = lora_run
    assert "lora.Linear" in shown
    assert "8 linear layers" in shown
    assert json.loads((folder / "metrics.json").read_text())["trainable"] == 8 * 4 * 64
    state = weights(folder)
    assert all(name.startswith("net.peft.") and ".lora_" in name for name in state)
    assert sum(value.numel() for value in state.values()) == 8 * 4 * 64
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert (group["name"], group["initial_lr"]) == ("peft", 0.01)
    assert any(value.abs().sum() > 0 for name, value in state.items() if "lora_B" in name)


def test_every_command_takes_the_run_and_its_package(lora_run, tmp_path, monkeypatch, tiny_data):
    folder, _ = lora_run
    monkeypatch.chdir(tmp_path)
    assert run("export", folder, "--out", "package").status == 0
    own = json.loads((folder / "metrics.json").read_text())
    for number, source in enumerate((folder, "package")):
        data = ("--data.manifest", tiny_data) if number else ()
        result = run("test", "--ckpt_path", source, "--out", f"test_{number}", *data, "--trainer.accelerator", "cpu")
        assert result.status == 0, result.err
        assert (
            json.loads(Path(f"test_{number}/metrics.json").read_text())["per_class_recall"] == own["per_class_recall"]
        )
    assert read_trained("package").config.peft.init_args["r"] == 4
    refused(run("test", "--ckpt_path", folder, "--model.net.peft.r", "3"), "model.net.peft is ", "r=3", "omit it")


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits_with_dropout(config, lora_run, tmp_path):
    """Killed in the last of six steps, it resumes within the second epoch."""
    words = ["fit", *config, "--folder", "run", "--last.every_n_steps", "1"]
    before = AtCall("peclip.train.module:PEClipModule.training_step", 6, partial(send, signal.SIGKILL))
    assert in_a_process(tmp_path, words, before)[0] == -signal.SIGKILL
    result = in_a_process(tmp_path, [*words, "--ckpt_path", "last"])
    assert result[0] == 0, result
    found, expected = weights(tmp_path / "run"), weights(lora_run[0])
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--model.net.peft.target_modules", "[nothing]"],
            ["model.net.peft", "'nothing', which matches no linear layer"],
        ),
        (["--model.net.peft", "peft.PeftModel"], ["model.net.peft names 'peft.PeftModel'", "not a subclass"]),
        (["--model.net.peft", "torch.nn.Linear"], ["model.net.peft names 'torch.nn.Linear'", "not a subclass"]),
        (["--model.net.peft.r", "many"], ["model.net.peft"]),
        (["--model.net.peft.bias", "all"], ["of the frozen backbone"]),
        (["--model.net.peft.init_lora_weights", "eva"], ["init_lora_weights is 'eva', expected a bool, gaussian"]),
        (
            ["--model.net.peft", "{class_path: peft.LoraConfig, init_args: {rank: 3}}"],
            ["with the argument 'rank' that it does not accept"],
        ),
        (
            ["--model.net.peft", "{class_path: peft.LoraConfig, init_args: {r: 2.5}}"],
            ["names 'peft.LoraConfig', whose r is 2.5, expected an int"],
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(config, words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(run("fit", *config, *words), *says)
    assert not (tmp_path / "runs").exists()
