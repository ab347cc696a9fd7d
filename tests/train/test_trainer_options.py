"""peclip's callbacks and plugins beside those that a configuration names."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
from jsonargparse import ArgumentParser, Namespace
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    EarlyStopping,
    ModelCheckpoint,
    StochasticWeightAveraging,
    Timer,
    TQDMProgressBar,
)

from peclip.errors import InputError
from peclip.train.callbacks.console import EpochLines, Progress
from peclip.train.callbacks.evaluation import selection_of
from peclip.train.cli.before_run import say_what_differs
from peclip.train.cli.checks import check_effects, check_fractions
from peclip.train.cli.command import _trainer_defaults
from peclip.train.cli.options import dump
from peclip.train.cli.trainer import check_monitors, imply_barebones, plugins, refused, replace_bar, without_limit
from peclip.train.cli.user_errors import as_input_error
from peclip.train.runs.checkpoints import BestCheckpoint, best_checkpoint
from tests.runs import run


def trainer_with(*callbacks, **options):
    """A trainer with all of peclip's callbacks and others."""
    own = _trainer_defaults(False, None, None)["callbacks"]
    return Trainer(callbacks=[*callbacks, *own], accelerator="cpu", logger=False, **options)


# --- options without an effect ---

COSINE = {"schedule": "cosine", "warmup_epochs": 3, "lr_scheduler": None}
OWN = COSINE | {"lr_scheduler": {"class_path": "torch.optim.lr_scheduler.StepLR"}}


@pytest.mark.parametrize(
    ("option", "model", "why"),
    [
        *((f"lr_{part}", COSINE, f"the model trains no {part}") for part in ("prompts", "temporal", "norms")),
        ("lr_peft", COSINE, "the model trains no layers of PEFT"),
        *((name, OWN, "model.lr_scheduler replaces") for name in ("schedule", "warmup_epochs", "step_factor")),
        ("step_epochs", COSINE, "model.schedule is cosine"),
        ("warmup_lr", COSINE | {"warmup_epochs": 0}, "model.warmup_epochs is 0"),
    ],
)
@pytest.mark.parametrize("section", ["model", "model.init_args"])
def test_an_option_without_an_effect_is_refused_on_the_command_line(section, option, model, why):
    own = Namespace(init_args=Namespace(model)) if section != "model" else Namespace(model)
    options = Namespace(model=own)
    with pytest.raises(InputError, match=f"^{section}.{option} has no effect, because {why}"):
        check_effects(options, {f"--{section}.{option}"}, {"adapters"})
    check_effects(options, {f"--{section}.lr_adapters", "--config"}, {"adapters"})


# --- shares of the batches ---


@pytest.mark.parametrize(("split", "batches"), [("train", "3 batches"), ("val", "1 batch"), ("test", "2 batches")])
def test_a_share_of_less_than_a_batch_is_refused(split, batches):
    splits = SimpleNamespace(train=range(9), val=range(4), test=range(5))
    whole = {f"limit_{name}_batches": None for name in ("train", "val", "test")} | {"overfit_batches": 0.0}
    says = rf"^trainer\.limit_{split}_batches is 0\.3, and this share of {batches} is less than one: set a larger one"
    with pytest.raises(InputError, match=says):
        check_fractions(SimpleNamespace(**whole | {f"limit_{split}_batches": 0.3}), splits, 4, 4)
    for limit in (None, 0.0, 1, 1.0):
        check_fractions(SimpleNamespace(**whole | {f"limit_{split}_batches": limit}), splits, 4, 4)
    nothing = SimpleNamespace(train=(), val=(), test=())
    check_fractions(SimpleNamespace(**dict.fromkeys(whole, 0.3)), nothing, 4, 4)


def test_a_share_to_overfit_of_less_than_a_batch_names_the_option_that_was_set():
    splits = SimpleNamespace(train=range(40), val=range(8), test=range(8))
    lightnings = Trainer(accelerator="cpu", logger=False, overfit_batches=0.3)
    with pytest.raises(
        InputError, match=r"^trainer\.overfit_batches is 0\.3, and this share of 2 batches is less than one"
    ):
        check_fractions(lightnings, splits, 4, 4)


@pytest.mark.parametrize("option", ["limit_train_batches", "limit_val_batches"])
def test_a_limit_that_overfitting_would_drop_is_refused(option, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ("--trainer.overfit_batches", "1", f"--trainer.{option}", "3")
    result = run("fit", "--config", tiny_config, *given)
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert f"trainer.{option} is 3, but trainer.overfit_batches is 1, which sets" in result.err


# --- beside callbacks that the options name ---


@pytest.mark.parametrize(
    ("command", "limit"),
    [("validate", "limit_val_batches"), ("test", "limit_test_batches"), ("predict", "limit_predict_batches")],
)
def test_an_evaluation_of_no_batch_is_refused(command, limit, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(command, "--ckpt_path", tiny_run, f"--trainer.{limit}", "0", "--out", "results")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert f"trainer.{limit} is 0: peclip {command} would evaluate no clip" in result.err
    assert not Path("results").exists()


def test_a_limit_of_time_is_kept():
    (timer,) = [each for each in trainer_with(max_time="00:00:00:02").callbacks if isinstance(each, Timer)]
    assert timer.time_remaining() == 2


def test_without_a_limit_no_number_of_epochs_is_assumed():
    """Lightning would train 1,000, and the schedule of the rates would be that long."""
    assert without_limit(Namespace(max_epochs=None, max_steps=-1)) == {"max_epochs": -1}
    assert without_limit(Namespace(max_epochs=3, max_steps=-1)) == {}
    assert without_limit(Namespace(max_epochs=None, max_steps=5)) == {}


def test_the_best_checkpoint_is_that_of_peclip_beside_others(tmp_path):
    best = BestCheckpoint(monitor="val/score")
    trainer = trainer_with(ModelCheckpoint(tmp_path, monitor="val/uar"), best)
    assert trainer.checkpoint_callback is not best
    assert best_checkpoint(trainer) is best
    assert best_checkpoint(trainer_with(enable_checkpointing=False)) is None


@pytest.mark.parametrize(
    ("monitor", "path", "selection"),
    [("val/war", "best.ckpt", "validation"), ("val/war", "", "none"), ("train/war", "x", "none"), (None, "x", "none")],
)
def test_a_report_names_the_clips_that_have_chosen_a_checkpoint(monitor, path, selection):
    best = BestCheckpoint(monitor=monitor)
    best.best_model_path = path
    trainer, data = SimpleNamespace(checkpoint_callbacks=[best]), SimpleNamespace(selection="validation")
    assert selection_of(trainer, data, is_over=True) == selection


@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint])
def test_a_metric_that_is_not_logged_is_refused_before_the_first_epoch(kind):
    module = SimpleNamespace(parameter_groups=lambda: [{"name": "adapters"}])
    check_monitors([kind(monitor="val/war"), kind(monitor="lr/adapters"), Callback()], module, ["val/war"])
    for name in ("val_acc", "lr/prompts"):
        with pytest.raises(InputError, match=f"{kind.__name__} is '{name}'.* expected one of val/war, lr/adapters$"):
            check_monitors([kind(monitor=name)], module, ["val/war"])


def test_a_progress_bar_of_the_options_replaces_that_of_peclip():
    own = [Progress(), EpochLines()]
    assert replace_bar(own, [Callback()]) == {}
    assert replace_bar(own, [TQDMProgressBar()]) == {"enable_progress_bar": True}
    assert [type(each) for each in own] == [EpochLines]


def test_another_writer_of_checkpoints_is_refused():
    with pytest.raises(InputError, match=r"trainer\.plugins names TorchCheckpointIO, but"):
        plugins([TorchCheckpointIO()])


def test_barebones_switches_off_what_it_excludes_and_nobody_has_asked_for():
    options = Namespace(barebones=True, logger=None, enable_checkpointing=None, log_every_n_steps=10)
    imply_barebones(options)
    assert (options.logger, options.enable_checkpointing, options.log_every_n_steps) == (False, False, 0)
    asked = Namespace(barebones=True, logger=[Namespace()], enable_checkpointing=True, log_every_n_steps=5)
    before = asked.clone()
    imply_barebones(asked)
    assert asked == before


def test_a_package_that_the_trainer_misses_is_one_line():
    options = Namespace(accelerator="cpu", devices=1, strategy="auto", precision="32-true")
    with pytest.raises(InputError, match=r"torch_xla is missing$"), refused(options):
        raise ModuleNotFoundError("torch_xla is missing")


def test_predictions_with_another_number_of_frames_say_so(capsys):
    formats = [SimpleNamespace(clip_format=SimpleNamespace(num_frames=frames), config=None) for frames in (3, 5)]
    for data in formats:
        data.all_clips = data.source = ()
        say_what_differs(formats[0], data, None)
    assert capsys.readouterr().out == "num_frames 5, but the model was trained with 3\n"


# --- callbacks that fail ---


def test_a_callback_of_lightning_that_does_not_fit_the_model_is_one_line():
    with pytest.raises(AttributeError) as raised:
        BackboneFinetuning().setup(trainer_with(), LightningModule(), "fit")
    said = str(as_input_error(raised.value))
    assert said.startswith("BackboneFinetuning of trainer.callbacks does not work here: ")
    assert said.endswith("has no attribute 'backbone'")


class Own(Callback):
    """A callback of one's own, and what it calls."""

    def on_fit_start(self, trainer, pl_module):
        raise AttributeError("a fault of one's own")


class Calling(EarlyStopping):
    on_fit_start = Own.on_fit_start


@pytest.mark.parametrize("kind", [Own, Calling])
def test_the_faults_of_ones_own_callback_keep_their_traceback(kind):
    with pytest.raises(AttributeError) as raised:
        kind.on_fit_start(object.__new__(kind), None, None)
    assert as_input_error(raised.value) is None


def test_a_device_is_written_into_the_configuration_as_it_is_read():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--average", type=Callback)
    given = ["--average", "lightning.pytorch.callbacks.StochasticWeightAveraging", "--average.swa_lrs", "0.1"]
    written = parser.dump(parser.parse_args(given))
    assert "device: cpu" in written
    average = parser.instantiate(parser.parse_string(written)).average
    assert isinstance(average, StochasticWeightAveraging)
    assert dump({"device": "cpu"}) == "device: cpu\n"


# --- the line of an epoch ---


def epoch_line(is_last=True, validates=False, epochs=5, steps=3):
    """Return the line of the first epoch, whose own scores are logged late where it ends before its last batch."""
    lines, out = EpochLines(), io.StringIO()
    known = {"val/loss": 3.0, "train/loss_epoch": 1.0 if is_last else 9.0}
    trainer = SimpleNamespace(
        is_global_zero=True, is_last_batch=is_last, sanity_checking=False, current_epoch=0, max_epochs=epochs
    )
    trainer.global_step, trainer.callback_metrics, trainer.world_size = 3 - steps, known, 1
    lines.on_train_start(trainer, None)
    lines.on_train_epoch_start(trainer, None)
    for trainer.global_step in range(4 - steps, 4):
        lines.on_train_batch_end(trainer, None, None, SimpleNamespace(draws=[0, 1]), 0)
    if validates:
        lines.on_validation_end(trainer, None)
    with redirect_stdout(out):
        lines.on_train_epoch_end(trainer, None)
        known["train/loss_epoch"] = 1.0
        lines.on_train_end(trainer, None)
    return re.sub(r"[\d.]+ clips/s", "N clips/s", out.getvalue())


def test_the_line_of_an_epoch_has_the_scores_of_this_epoch_alone():
    assert (
        epoch_line(validates=True)
        == "epoch 1/5: train/loss 1.000 val/loss 3.000, N clips/s with validation, 0 s left\n"
    )
    assert epoch_line() == "epoch 1/5: train/loss 1.000, N clips/s, 0 s left\n"
    assert epoch_line(is_last=False) == "epoch 1/5: train/loss 1.000, N clips/s\n"
    assert epoch_line(epochs=-1) == "epoch 1: train/loss 1.000, N clips/s\n"


def test_the_line_of_an_epoch_whose_last_step_was_made_before_an_interruption_has_no_rate():
    assert epoch_line(validates=True, steps=0) == "epoch 1/5: train/loss 1.000 val/loss 3.000\n"
