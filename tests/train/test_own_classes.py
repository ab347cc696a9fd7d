"""Optimizer, loss, schedule and module by class path: each is used as its users expect, or refused in one line."""

import pytest
import torch
import yaml
from torch import nn

from peclip.train import PEClipModule
from tests.runs import run
from tests.train.one_epoch import ONE_EPOCH, column

pytestmark = pytest.mark.usefixtures("blank_pictures")


class Squared(nn.Module):
    """A loss that knows nothing of torch's ``reduction``: the mean squared distance to the label."""

    def forward(self, logits, labels):
        return ((logits.softmax(1) - nn.functional.one_hot(labels, logits.shape[1])) ** 2).sum(1).mean()


class Own(PEClipModule):
    """A module of one's own."""

    def __init__(self, *args, penalty: float = 0.0, **options) -> None:
        super().__init__(*args, **options)
        self.penalty = penalty


class Unannotated(PEClipModule):
    """Its arguments are not known to the parser."""

    def __init__(self, net) -> None:
        super().__init__(net)


def test_an_argument_of_ones_own_module_without_an_annotation_is_refused_with_what_to_do(
    tmp_path, monkeypatch, tiny_config
):
    monkeypatch.chdir(tmp_path)
    result = run("fit", "--config", tiny_config, *ONE_EPOCH, "--model", f"{__name__}.Unannotated")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert "model.init_args.net names " in result.err
    assert "annotate it there, as in net: PEClip" in result.err


def test_another_optimizer_keeps_the_rates_of_the_groups(fit_once):
    folder, _ = fit_once("--model.optimizer", "torch.optim.SGD", "--model.optimizer.momentum", "0.9")
    content = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    groups = content["optimizer_states"][0]["param_groups"]
    assert [(group["name"], group["initial_lr"], group["momentum"]) for group in groups] == [
        ("adapters", 2e-4, 0.9),
        ("prompts", 3e-5, 0.9),
    ]


def test_a_weight_decay_beside_another_optimizer_is_refused(tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    options = ("--model.optimizer", "torch.optim.SGD", "--model.weight_decay", "0.5")
    result = run("fit", "--config", tiny_config, *ONE_EPOCH, *options)
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert (
        "model.weight_decay is 0.5, but belongs to AdamW, the default: set it in the options of model.optimizer"
        in result.err
    )


def test_another_schedule_steps_once_an_epoch(fit_once):
    schedule = ("--model.lr_scheduler", "torch.optim.lr_scheduler.StepLR")
    options = ("--model.lr_scheduler.step_size", "1", "--model.lr_scheduler.gamma", "0.1", "--trainer.max_epochs", "2")
    folder, _ = fit_once(*schedule, *options)
    assert column(folder, "lr/adapters") == pytest.approx([2e-4] * 3 + [2e-5] * 3)
    assert column(folder, "lr/prompts") == pytest.approx([3e-5] * 3 + [3e-6] * 3)


@pytest.mark.slow
def test_another_loss_of_torch_is_used(fit_once, plain_fit):
    def losses(folder, *options):
        return column(fit_once("--folder", folder, *options)[0].parents[2] / folder, "train/loss")

    loss = ("--model.loss", "torch.nn.CrossEntropyLoss", "--model.loss.label_smoothing")
    usual, same, smooth = (
        column(plain_fit[0], "train/loss"),
        losses("same", *loss, "0.0"),
        losses("smooth", *loss, "0.3"),
    )
    assert same == pytest.approx(usual, rel=1e-5)
    assert smooth != pytest.approx(usual, rel=1e-5)


def test_a_loss_of_ones_own_is_used(fit_once):
    assert 0 < max(column(fit_once("--model.loss", f"{__name__}.Squared")[0], "train/loss")) <= 2


@pytest.mark.slow
def test_a_module_of_ones_own_is_named_by_its_class(tmp_path, monkeypatch, tiny_config, fit_once):
    options = yaml.safe_load(tiny_config.read_text())
    options["model"] = {"class_path": f"{__name__}.Own", "init_args": {"penalty": 0.5, **options["model"]}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(options))
    result = run("fit", "--config", "own.yaml", "--trainer.max_epochs", "1")
    assert result.status == 0, result.err
    saved = yaml.safe_load((tmp_path / "runs/tiny/version_0/config.yaml").read_text())["model"]
    assert (saved["class_path"], saved["init_args"]["penalty"]) == (f"{__name__}.Own", 0.5)
    resumed = run("fit", "--config", "own.yaml", "--trainer.max_epochs", "1", "--ckpt_path", "last")
    assert resumed.status == 0, resumed.err
