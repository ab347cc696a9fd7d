"""Trainings with several seeds: one command, one table, and the same command resumes."""

import csv
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from peclip.results.options import read_options
from tests.processes import AtCall, in_a_process, send
from tests.runs import blank_pictures, run, write_config, write_data
from tests.train.test_cv import write_folds

pytestmark = pytest.mark.usefixtures("blank_pictures")

SHORT = ("--trainer.max_epochs", "1", "--model.zero_shot", "false", "--data.num_workers", "0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_config):
    """The runs of two seeds, and what the command printed."""
    folder = tmp_path_factory.mktemp("seeds") / "runs"
    with blank_pictures():
        result = run(
            "fit", "--config", tiny_config, *SHORT, "--folder", folder, "--seed_everything", "5", "--seeds", "2"
        )
    assert (result.status, result.err) == (0, ""), result.err
    return folder, result.out


def again(folder, config, *options):
    return run("fit", "--config", config, *SHORT, "--folder", folder, "--seed_everything", "5", *options)


@pytest.mark.slow
def test_every_seed_is_a_run_of_its_own_and_a_row_of_the_table_has_them_all(runs):
    folder, printed = runs
    assert [path.name for path in sorted(folder.glob("[!.]*"))] == ["clips.sha256", "seed_5", "seed_6"]
    assert [read_options(folder / f"seed_{seed}")["seed_everything"] for seed in (5, 6)] == [5, 6]
    assert "Mean ± standard deviation over runs that differ only in the seed." in printed


def test_the_same_command_keeps_what_is_finished_and_trains_the_rest(runs, tiny_config, tmp_path):
    folder = shutil.copytree(runs[0], tmp_path / "runs")
    shutil.rmtree(folder / "seed_6")
    before = (folder / "seed_5/metrics.json").stat().st_mtime_ns
    result = again(folder, tiny_config, "--seeds", "2")
    assert result.status == 0, result.err
    assert "Seed 6" in result.out
    assert "Seed 5" not in result.out
    assert (folder / "seed_5/metrics.json").stat().st_mtime_ns == before
    assert (folder / "seed_6/predictions.csv").read_text() == (runs[0] / "seed_6/predictions.csv").read_text()


def test_other_clips_are_not_mixed_with_finished_seeds(runs, tiny_config, tiny_data, tmp_path):
    folder = shutil.copytree(runs[0], tmp_path / "runs")
    shutil.rmtree(folder / "seed_6")
    other = tmp_path / "other.csv"
    other.write_text(tiny_data.read_text().replace(",anger,train", ",sadness,train", 1))
    result = again(folder, tiny_config, "--data.manifest", other, "--seeds", "2")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert "other.csv has other clips, labels, splits or subjects than when the first seeds of" in result.err
    assert not (folder / "seed_6").exists()


def test_a_damaged_digest_of_the_clips_is_named(runs, tiny_config, tmp_path):
    folder = shutil.copytree(runs[0], tmp_path / "runs")
    shutil.rmtree(folder / "seed_6")
    (folder / "clips.sha256").write_bytes(b"\xff")
    result = again(folder, tiny_config, "--seeds", "2")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert "clips.sha256 cannot be read: 'utf-8' codec can't decode" in result.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--seeds", "0"), "--seeds is '0', expected a number of seeds from 1 to 1,000"),
        (("--seeds=many",), "--seeds is 'many', expected a number of seeds from 1 to 1,000"),
        (("--seeds",), "--seeds is '', expected a number of seeds from 1 to 1,000"),
        (("--seeds", "2", "--ckpt_path", "last"), "ckpt_path belongs to one run"),
        (("--seeds", "2", "--model.lr_adapters", "0.5"), "seed_5 has model.lr_adapters"),
        (("--seeds", "2", "--trainer.limit_test_batches", "0"), "trainer.limit_test_batches 0 leaves no results"),
        (("--seeds", "2", "--seed_everything", "4294967295"), "seed_everything is 4294967296 for the last of 2 seeds"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(runs, tiny_config, options, says):
    result = again(runs[0], tiny_config, *options)
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert says in result.err


def test_an_option_that_is_left_out_now_is_another_option(runs, tiny_config, tmp_path):
    folder = shutil.copytree(runs[0], tmp_path / "runs")
    for seed in (5, 6):
        config = folder / f"seed_{seed}/config.yaml"
        config.write_text(config.read_text().replace("class_weights: null", "class_weights: balanced"))
    result = again(folder, tiny_config, "--seeds", "2")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert "seed_5 has model.class_weights 'balanced', which is None now" in result.err


def test_a_run_that_was_killed_beside_its_previous_checkpoint_goes_on_from_it(runs, tiny_config, tmp_path):
    folder = shutil.copytree(runs[0], tmp_path / "runs")
    (folder / "seed_6/metrics.json").unlink()
    checkpoints = folder / "seed_6/checkpoints"
    (checkpoints / "last.ckpt").replace(checkpoints / "previous.ckpt")
    result = again(folder, tiny_config, "--seeds", "2")
    assert result.status == 0, result.err
    assert f"Resuming {folder / 'seed_6'} from step" in result.out
    assert (folder / "seed_6/predictions.csv").read_text() == (runs[0] / "seed_6/predictions.csv").read_text()


@pytest.mark.slow
def test_a_seed_without_a_logger_that_was_killed_goes_on_from_its_checkpoint(tiny_config, tmp_path, monkeypatch):
    options = (*SHORT, "--trainer.max_epochs", "2", "--trainer.logger", "false", "--folder", "runs", "--seeds", "2")
    killed = AtCall("peclip.train.module:PEClipModule.on_train_epoch_end", 4, partial(send, signal.SIGKILL))
    command = ["fit", "--config", tiny_config, *options]
    assert in_a_process(tmp_path, command, killed)[0] == -signal.SIGKILL
    monkeypatch.chdir(tmp_path)
    result = run(*command)
    assert (result.status, result.err) == (0, "")
    assert "Resuming runs/seed_1 from step 3\n" in result.out
    assert "Mean ± standard deviation over runs that differ only in the seed." in result.out


def test_the_number_of_seeds_belongs_to_the_command_line(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("more.yaml").write_text("seeds: 2\n")
    result = run("fit", "--config", tiny_config, "--config", "more.yaml")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "set it there with --seeds" in result.err


def test_a_mistake_in_the_first_run_leaves_no_folder(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("fit", "--config", tiny_config, "--data.manifest", "nowhere.csv", "--seeds", "2")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []


def test_seeds_that_nothing_would_evaluate_are_refused_before_the_first(tiny_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, write_data(tmp_path / "data", {"train": 4}))
    result = run("fit", "--config", config, *SHORT, "--trainer.limit_val_batches", "0", "--seeds", "2")
    assert (result.status, result.err.count("\n"), result.out) == (2, 1, "")
    assert "has no test clips, and nothing is validated: --seeds would leave no results" in result.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_seed_that_is_asked_to_end_says_that_the_same_command_resumes(tiny_config, tmp_path):
    before = AtCall("peclip.train.module:PEClipModule.training_step", 2, partial(send, signal.SIGTERM))
    status, err = in_a_process(tmp_path, ["fit", "--config", str(tiny_config), *SHORT, "--seeds", "2"], before)
    assert (status, err) == (143, "peclip: asked to end: resume with the same command\n")


# --- cross-validations ---

IN_THE_SECOND_FOLD_OF_THE_SECOND_SEED = AtCall(
    "peclip.train.module:PEClipModule.on_train_epoch_end", 4, partial(send, signal.SIGKILL)
)


@pytest.mark.stress
def test_a_killed_cross_validation_with_several_seeds_ends_as_one_that_was_not(tmp_path, tiny_clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, write_folds(tmp_path / "data", folds=(1, 2)))
    command = ["cv", "--config", config, *SHORT, "--seed_everything", "3", "--seeds", "2"]
    assert in_a_process(tmp_path, command, IN_THE_SECOND_FOLD_OF_THE_SECOND_SEED)[0] == -signal.SIGKILL
    killed = Path("runs/tiny/cv")
    assert [(killed / f"seed_{seed}/results.json").exists() for seed in (3, 4)] == [True, False]
    result = run(*command)
    assert (result.status, result.err) == (0, ""), result.err
    assert "Seed 3" not in result.out
    assert "Resuming runs/tiny/cv/seed_4, finished before: fold 1" in result.out
    assert "Mean ± standard deviation over runs that differ only in the seed." in result.out
    alone = run("cv", "--config", config, *SHORT, "--seed_everything", "4", "--name", "alone")
    assert alone.status == 0, alone.err
    for name in ("fold_1/predictions.csv", "fold_2/predictions.csv", "confusion.csv"):
        assert (killed / "seed_4" / name).read_text() == Path("runs/alone/cv_0", name).read_text()
    table = run("table", "runs/tiny/cv", "--format", "csv").out
    assert [line["seeds"] for line in csv.DictReader(table.splitlines())] == ["3 4"]


@pytest.mark.parametrize(
    ("command", "files", "says"),
    [
        ("cv", ("config.yaml", "metrics.csv"), "holds a run of peclip fit"),
        ("fit", ("config.yaml", "clips.sha256"), "holds a cross-validation"),
        ("fit", ("thesis.tex",), "holds other files"),
    ],
)
def test_a_folder_that_holds_something_else_is_kept(tiny_config, tmp_path, command, files, says):
    (tmp_path / "seed_5").mkdir()
    for name in files:
        (tmp_path / "seed_5" / name).write_text("mine")
    result = run(command, "--config", tiny_config, *SHORT, "--folder", tmp_path, "--seed_everything", "5", "--seeds=1")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert says in result.err
    assert all((tmp_path / "seed_5" / name).read_text() == "mine" for name in files)


@pytest.mark.parametrize(
    ("command", "files", "says"),
    [
        ("fit", ("checkpoints", "config.yaml", "metrics.json"), "mine holds a run of peclip fit"),
        ("cv", ("clips.sha256", "config.yaml", "results.json"), "mine holds a cross-validation"),
        ("fit", ("clips.sha256", "seed_7/clips.sha256", "seed_7/config.yaml"), "seed_7 holds a cross-validation"),
        ("cv", ("clips.sha256", "seed_7/config.yaml"), "seed_7 holds a run of peclip fit"),
    ],
)
def test_a_folder_of_another_command_is_kept(tiny_config, tmp_path, command, files, says):
    folder = tmp_path / "mine"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    result = run(command, "--config", tiny_config, *SHORT, "--folder", folder, "--seeds=1")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert says in result.err
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert [str(path.relative_to(folder)) for path in found] == sorted(files)
    assert {path.read_text() for path in found} == {"mine"}
