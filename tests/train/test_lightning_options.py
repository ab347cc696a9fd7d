"""Options of Lightning, tried one by one: each works as its users expect, or is refused in one line."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Union

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer

from peclip.errors import InputError
from peclip.model.io import read_trained
from peclip.model.io.checkpoint import SELECTING
from peclip.train.runs.checkpoints import BestCheckpoint
from tests.runs import run, write_config, write_data
from tests.train.one_epoch import ONE_EPOCH, callback, column

pytestmark = pytest.mark.usefixtures("blank_pictures")


# --- loggers, checkpoints, limits ---


def test_without_a_logger_a_run_leaves_all_but_metrics_csv(fit_once):
    folder, result = fit_once("--trainer.logger", "false")
    left = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "checkpoints", "metrics.json", "predictions.csv", "confusion.csv"} <= left
    assert "metrics.csv" not in left
    assert result.err == ""


REFUSED = {
    "a folder that would get nothing": (
        ("--trainer.default_root_dir", "root"),
        "trainer.default_root_dir has no effect",
    ),
    "the highest loss": (
        ("--checkpoint.monitor", "val/loss"),
        "mode is max, but the best val/loss is the minimum: set it to min",
    ),
    "the lowest score": (
        ("--checkpoint.mode", "min"),
        "mode is min, but the best val/score is the maximum: set it to max",
    ),
    "several of one name": (("--checkpoint.save_top_k", "3"), "each checkpoint would replace the one before"),
    "the name of the last": (
        ("--checkpoint.filename", "last"),
        "checkpoint.filename is last, the name of another file",
    ),
    "no batch to test": (
        ("--trainer.limit_test_batches", "0.01"),
        "trainer.limit_test_batches is 0.01, and this share of 2 batches is less than one",
    ),
    "another folder": (("--checkpoint.dirpath", "mine"), "checkpoint.dirpath has no effect"),
    "averages that nobody saves": (
        callback("StochasticWeightAveraging", swa_lrs=1e-3),
        "EMAWeightAveraging or WeightAveraging",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_option_that_would_do_another_thing_is_refused(case, tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    options, says = REFUSED[case]
    result = run("fit", "--config", tiny_config, *ONE_EPOCH, *options)
    assert (result.status, result.err.count("\n"), says in result.err) == (2, 1, True), result.err
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize(
    "named",
    [
        ("--checkpoint.filename", "{epoch}", "--checkpoint.save_top_k", "-1"),
        ("--checkpoint.filename", "null", "--checkpoint.save_top_k", "2"),
        ("--checkpoint.enable_version_counter", "true", "--checkpoint.save_top_k", "-1"),
    ],
)
def test_a_run_is_the_model_that_it_has_tested_whatever_its_checkpoints_are_called(fit_once, tmp_path, named):
    rates = ("--model.lr_adapters", "0.05", "--model.warmup_epochs", "0")
    folder, _ = fit_once(*named, *rates, "--trainer.max_epochs", "4", "--data.val", "test")
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    (best,) = (
        state["best_model_path"] for name, state in last["callbacks"].items() if name.startswith("BestCheckpoint")
    )
    assert Path(read_trained(folder).source) == Path(best).absolute()
    folder.rename(tmp_path / "moved")
    folder = tmp_path / "moved"
    assert read_trained(folder).source == str(folder / "checkpoints" / Path(best).name)
    (folder / "checkpoints" / Path(best).name).unlink()
    with pytest.raises(InputError, match="the best checkpoint of the run, is missing"):
        read_trained(folder)


def test_a_checkpoint_that_is_named_after_a_score_is_found_in_its_folder(fit_once):
    folder, _ = fit_once("--checkpoint.filename", "{epoch}-{val/score:.2f}")
    assert Path(read_trained(folder).source).parent.parent.name == "checkpoints"


@pytest.mark.slow
def test_a_run_of_an_earlier_version_resumes_with_options_that_a_new_one_may_not_have(fit_once, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr("peclip.train.cli.lightning.check_checkpoint", lambda given: None)
        folder, _ = fit_once("--checkpoint.save_top_k", "3")
    result = run("fit", "--config", folder / "config.yaml", "--ckpt_path", folder, "--trainer.max_epochs", "2")
    assert (result.status, result.err) == (0, "")


def test_the_callback_that_chooses_the_best_checkpoint_is_known_by_its_name():
    assert BestCheckpoint.__name__ == SELECTING


class Stops(Callback):
    """A callback of one's own that wants no training."""

    def on_fit_start(self, trainer, pl_module):
        trainer.should_stop = True


def test_a_callback_may_stop_a_training_before_it_begins(fit_once):
    folder, _ = fit_once("--trainer.callbacks+", json.dumps({"class_path": f"{__name__}.Stops"}))
    assert not (folder / "training.json").exists()


def test_a_schedule_that_reads_a_validation_waits_for_it(fit_once):
    reads = (
        "--model.lr_scheduler",
        "lightning.pytorch.cli.ReduceLROnPlateau",
        "--model.lr_scheduler.monitor",
        "val/loss",
    )
    folder, _ = fit_once(*reads, "--trainer.check_val_every_n_epoch", "2", "--trainer.max_epochs", "3")
    assert json.loads((folder / "training.json").read_text())["epochs"] == 3


@pytest.mark.slow
def test_a_training_that_a_callback_has_ended_is_not_continued(fit_once, tmp_path):
    stop = callback("EarlyStopping", monitor="train/loss_epoch", mode="max", patience=0, min_delta=1e9)
    folder, _ = fit_once(*stop, "--trainer.max_epochs", "5")
    before = content(folder)
    again = ("--config", folder / "config.yaml", "--ckpt_path", "last")
    for _ in range(2):
        assert run("fit", *again).status == 0
    assert content(folder) == before
    assert not list(folder.glob("ended_at_*"))
    data = Path(yaml.safe_load((folder / "config.yaml").read_text())["data"]["manifest"]).parent
    shutil.copytree(data, tmp_path / "moved")
    assert run("fit", *again, "--data.manifest", tmp_path / "moved/manifest.csv").status == 0
    assert content(folder) == before
    assert run("fit", *again[:2], "--ckpt_path", folder / "checkpoints/last.ckpt", "--folder", "continued").status == 0
    assert json.loads(Path("continued/training.json").read_text())["epochs"] == 3
    assert run("fit", *again, "--trainer.max_epochs", "6").status == 0
    assert json.loads((folder / "training.json").read_text())["epochs"] == 3


def content(folder):
    """The epochs and the scores of a run, and the weights that it ended with."""
    known = (json.loads((folder / name).read_text()) for name in ("training.json", "metrics.json"))
    weights = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    training, metrics = known
    return training["epochs"], metrics["war"], {name: weight.tolist() for name, weight in weights.items()}


def test_without_checkpoints_the_last_weights_are_tested(fit_once):
    folder, result = fit_once("--trainer.enable_checkpointing", "false")
    assert not (folder / "checkpoints").exists()
    assert json.loads((folder / "metrics.json").read_text())["clips"] == 6
    assert "\nNo checkpoint is kept: the results are those of the last weights.\n" in result.out
    assert "choose the" not in result.out


def test_without_checkpoints_and_results_no_later_test_is_promised(fit_once):
    result = fit_once("--trainer.enable_checkpointing", "false", "--trainer.limit_test_batches", "0")[1]
    said = "trainer.limit_test_batches is 0, so nothing is evaluated at the end, and no checkpoint is kept\n"
    assert said in result.out
    assert "peclip test does it later" not in result.out


def test_where_no_best_checkpoint_is_saved_no_clips_choose_it(fit_once):
    folder, result = fit_once("--checkpoint.save_top_k", "0")
    assert "No validation or test clips choose the weights, which are the last ones by default.\n" in result.out
    assert json.loads((folder / "metrics.json").read_text())["selection"] == "none"


@pytest.mark.parametrize(("epochs", "validated"), [(1, ["0"]), (3, ["1", "2"]), (4, ["1", "3"])])
def test_the_last_epoch_is_validated_however_seldom_epochs_are(epochs, validated, fit_once):
    options = ("--trainer.max_epochs", str(epochs), "--trainer.check_val_every_n_epoch", "2")
    folder, _ = fit_once(*options, "--trainer.limit_train_batches", "1")
    with open(folder / "metrics.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file) if row["val/war"]] == validated
    assert (folder / "checkpoints/best.ckpt").exists()


def test_a_dry_run_says_so_and_leaves_nothing(fit_once):
    folder, result = fit_once("--trainer.fast_dev_run", "true")
    assert "fast_dev_run: a dry run of a few batches, in one epoch; nothing is saved\n" in result.out
    assert "The run is in" not in result.out
    assert "checkpoint is chosen" not in result.out
    assert not folder.exists()


def test_a_dry_run_without_a_logger_leaves_nothing_either(fit_once):
    folder, _ = fit_once("--trainer.fast_dev_run", "true", "--trainer.logger", "false")
    assert not folder.exists()


@pytest.mark.parametrize("options", [(), ("--trainer.logger", "false")])
@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_a_dry_evaluation_says_so_and_leaves_nothing(command, options, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(command, "--ckpt_path", tiny_run, "--trainer.fast_dev_run", "1", "--out", "results", *options)
    assert result.status == 0, result.err
    assert "fast_dev_run: a dry run of 1 batch; nothing is saved\n" in result.out
    assert "results are in" not in result.out
    assert not (tmp_path / "results").exists()


def test_limited_predictions_say_how_many_clips_there_are(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limit = ("--trainer.limit_predict_batches", "1", "--data.eval_batch_size", "4")
    result = run("predict", "--ckpt_path", tiny_run, "--out", "results", *limit)
    assert result.status == 0, result.err
    assert re.search(r"^4 of \d+ clips: results/predictions\.csv$", result.out, re.MULTILINE), result.out


def test_a_training_that_evaluates_nothing_at_its_end_says_so(fit_once):
    folder, result = fit_once("--trainer.limit_test_batches", "0")
    assert "trainer.limit_test_batches is 0, so nothing is evaluated at the end" in result.out
    assert "read once, at the end" not in result.out
    assert not (folder / "metrics.json").exists()


def test_overfitting_trains_on_the_same_clips_in_every_epoch(fit_once):
    folder, _ = fit_once("--trainer.overfit_batches", "1", "--trainer.max_epochs", "12", "--model.lr_adapters", "0.01")
    losses = column(folder, "train/loss")
    assert len(losses) == 12
    assert min(losses[-3:]) < losses[0]


def test_a_limited_evaluation_says_so_and_which_clips_it_saw(fit_once, monkeypatch):
    # As where rich is imported before Lightning: typing then gives Lightning the order in which rich has named the types.
    monkeypatch.setitem(Trainer.__init__.__annotations__, "limit_test_batches", Union[float, int, None])  # noqa: UP007
    folder, result = fit_once("--trainer.limit_test_batches", "1", "--trainer.limit_val_batches", "1")
    assert json.loads((folder / "metrics.json").read_text())["limited"] == {"clips": 4, "of": 6}
    assert "limited to 4 of 6 clips" in " ".join(result.out.split())
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert {row["label"] for row in rows} == {"happiness", "sadness", "anger"}  # the manifest lists them by class
    assert rows == sorted(rows, key=lambda row: int(Path(row["path"]).stem))  # in the order of the manifest


def test_a_selection_on_some_validation_clips_is_in_the_report_of_the_run_and_of_later_tests(
    tmp_path, monkeypatch, tiny_clip
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    data = write_data(tmp_path / "data", {"train": 2, "val": 3, "test": 1})
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, data)
    limit = ("--trainer.limit_val_batches", "2", "--model.lr_adapters", "0.01")
    result = run("fit", "--config", config, *ONE_EPOCH, *limit)
    assert result.status == 0, result.err
    folder = Path("runs/tiny/version_0")
    later = run("test", "--ckpt_path", folder, "--out", "later")
    last = run("test", "--ckpt_path", folder / "checkpoints/last.ckpt", "--out", "last")
    for printed, place in ((result, folder), (later, Path("later")), (last, Path("last"))):
        content = json.loads((place / "metrics.json").read_text())
        chosen = ["temperature"] if printed is last else ["checkpoint", "temperature"]
        assert content["validated"] == {"clips": 8, "of": 9, "chose": chosen}
        assert f"({' and '.join(chosen)} chosen on 8 of 9 validation clips)" in " ".join(printed.out.split())


def test_a_validation_of_all_clips_is_no_remark(plain_fit):
    assert "validated" not in json.loads((plain_fit[0] / "metrics.json").read_text())


def test_a_training_of_fewer_batches_has_as_many_steps(fit_once):
    folder, _ = fit_once("--trainer.limit_train_batches", "2")
    assert len(column(folder, "train/loss")) == 2


def test_gradients_are_clipped(fit_once):
    folder, _ = fit_once("--trainer.gradient_clip_val", "1e-12", "--trainer.precision", "bf16-mixed")
    clipped = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    moments = [state["exp_avg"] for state in clipped["optimizer_states"][0]["state"].values()]
    assert 0 < max(float(moment.abs().max()) for moment in moments) < 1e-11


def test_a_profiler_prints_what_it_was_asked_for(fit_once):
    result = fit_once("--trainer.profiler", "simple")[1]
    assert "run_training_epoch" in result.out + result.err


# --- callbacks of Lightning ---


@pytest.mark.slow
def test_averaged_weights_are_those_that_are_saved_and_tested(fit_once):
    average = callback("EMAWeightAveraging", decay=0.5)
    folder, result = fit_once(*average, "--data.val", "test", "--model.lr_adapters", "1e-2")
    assert column(folder, "test/loss") == column(folder, "val/loss")
    assert result.err == ""
    content = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert content["state_dict"].keys() == content["current_model_state"].keys()  # and nothing of CLIP
    resumed = run("fit", "--config", folder / "config.yaml", "--trainer.max_epochs", "2", "--ckpt_path", "last")
    assert resumed.status == 0, resumed.err


def test_averages_that_no_checkpoint_would_hold_are_refused(tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    options = (*callback("EMAWeightAveraging"), "--checkpoint.save_weights_only", "true")
    result = run("fit", "--config", tiny_config, *ONE_EPOCH, *options)
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "checkpoint.save_weights_only is true, but EMAWeightAveraging needs" in result.err


def test_a_callback_is_added_to_those_of_peclip(fit_once):
    stop = callback("EarlyStopping", monitor="train/loss_epoch", mode="max", patience=0, min_delta=1e9)
    save = callback("ModelCheckpoint", dirpath="mine", filename="{epoch}", save_top_k=-1, save_last=True)
    folder, _ = fit_once(*stop, *save, "--trainer.max_epochs", "5", "--checkpoint.save_last", "link")
    assert json.loads((folder / "training.json").read_text())["epochs"] == 2
    assert {path.name for path in Path("mine").iterdir()} == {"epoch=0.ckpt", "epoch=1.ckpt", "last.ckpt"}
    left = {path.name: path.is_symlink() for path in (folder / "checkpoints").iterdir()}
    assert left == dict.fromkeys(("best.ckpt", "last.ckpt", "previous.ckpt"), False)


@pytest.mark.parametrize(
    "reader",
    [
        callback("EarlyStopping", monitor="val/uar"),
        ("--model.lr_scheduler", "lightning.pytorch.cli.ReduceLROnPlateau", "--model.lr_scheduler.monitor", "val/uar"),
    ],
)
def test_a_score_of_a_validation_that_there_is_not_is_refused_before_the_first_epoch(
    tmp_path, monkeypatch, tiny_config, reader
):
    monkeypatch.chdir(tmp_path)
    result = run("fit", "--config", tiny_config, *ONE_EPOCH, "--trainer.limit_val_batches", "0", *reader)
    assert (result.status, result.err.count("\n"), "val/uar" in result.err) == (2, 1, True)
    assert not Path("runs").exists()


def test_the_console_shows_the_means_of_an_epoch(plain_fit):
    folder, result = plain_fit
    (line,) = [line for line in result.out.splitlines() if line.startswith("epoch ")]
    losses, sizes = column(folder, "train/loss"), [4, 4, 1]
    mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / 9
    assert f"train/loss {mean:.3f} train/war {column(folder, 'train/war')[0]:.3f}" in line
    assert column(folder, "train/loss_epoch") == pytest.approx([mean], rel=1e-5)
