"""Folders of runs and of results: nobody writes into another's, and nobody removes what is not theirs."""

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from peclip.errors import InputError
from peclip.train.cli import lightning
from peclip.train.runs.resume import remove_empty_run
from peclip.train.seeds import OPTION
from peclip.train.several import alone
from tests.processes import AtCall, in_a_process, send
from tests.runs import few_calls, run, write_config
from tests.train.test_cv import write_folds

pytestmark = pytest.mark.usefixtures("blank_pictures")


def assert_refused(result, *says):
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    for part in says:
        assert part in result.err


def test_a_run_whose_folders_are_nested_deeper_than_calls_may_be_is_not_empty(tmp_path):
    os.makedirs(tmp_path.joinpath(*["a"] * 200))
    with few_calls():
        remove_empty_run(tmp_path, tmp_path)
    assert (tmp_path / "a").is_dir()


def test_a_folder_in_which_nothing_was_trained_goes_with_those_that_were_made_for_it(tmp_path):
    (tmp_path / "kept").mkdir()
    trained_in = alone(tmp_path / "kept/made/run", busy="", leftovers=())
    with pytest.raises(InputError, match="a mistake"), trained_in:
        raise InputError("a mistake")
    assert [*tmp_path.rglob("*")] == [tmp_path / "kept"]


@pytest.fixture
def another_begins(monkeypatch, tmp_path):
    """Another command begins in the folder right after this one has chosen it."""
    monkeypatch.chdir(tmp_path)
    choose = lightning.choose_folder

    def chosen(*args):
        folder = choose(*args)
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("another: 1\n")
        (folder / "metrics.csv").write_text("step\n1\n")
        return folder

    monkeypatch.setattr(lightning, "choose_folder", chosen)


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_of_two_commands_with_one_folder_the_second_is_refused_and_leaves_it(
    another_begins, command, tiny_config, tiny_run
):
    model = () if command == "fit" else ("--ckpt_path", shutil.copytree(tiny_run, "model"))
    assert_refused(run(command, "--config", tiny_config, *model), "another command has begun there meanwhile")
    (folder,) = {path.parent for path in Path().rglob("config.yaml")} - {Path("model")}
    assert (folder / "config.yaml").read_text() == "another: 1\n"
    assert (folder / "metrics.csv").read_text() == "step\n1\n"
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("options", [(), ("--model.net.backbone", "nowhere/at/all")])
def test_a_cross_validation_leaves_a_folder_with_a_configuration_alone(options, tiny_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir()
    config = write_config(mine / "config.yaml", tiny_clip, write_folds(tmp_path / "data", folds=(1, 2)))
    before = config.read_text()
    assert_refused(run("cv", "--config", config, "--folder", mine, *options), "holds other files")
    assert config.read_text() == before


@pytest.mark.parametrize("name", ["run", "mine"])
def test_a_prediction_in_shards_needs_a_new_folder_for_its_results(name, tiny_run, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run, "run")
    Path("mine").mkdir()
    shutil.copy(tiny_config, "mine/config.yaml")
    before = {path: path.read_bytes() for path in Path(name).rglob("*") if path.is_file()}
    result = run("predict", "--ckpt_path", "run", "--data.predict", "all", "--shards", "shards", "--out", name)
    assert_refused(result, f"out {name} holds a run already")
    assert {path: path.read_bytes() for path in Path(name).rglob("*") if path.is_file()} == before
    assert not Path("shards").exists()


def test_a_second_start_of_several_seeds_leaves_the_folder_of_the_first(tiny_config, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "clips.sha256").write_text("1\n")
    holder = f"import fcntl; lock = open('{folder}/.lock', 'w'); fcntl.lockf(lock, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert_refused(run("fit", "--config", tiny_config, "--folder", folder, OPTION, "2"), "is running in")
        assert {path.name for path in folder.iterdir()} == {".lock", "clips.sha256"}
        other.communicate(b"\n")


def test_a_file_in_the_place_of_the_folder_of_several_seeds_is_one_line(tiny_config, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert_refused(run("fit", "--config", tiny_config, "--folder", tmp_path / "file", OPTION, "2"), "file")


def test_a_run_that_resumes_takes_no_other_folder(tiny_run, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run, "run")
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")}
    result = run("fit", "--config", tiny_config, "--ckpt_path", "run", "--folder", "new", "--trainer.max_epochs", "3")
    assert_refused(result, "folder is new, but the run run resumes in its own folder")
    assert not Path("new").exists()
    assert {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")} == before


def ctrl_c():
    raise KeyboardInterrupt  # a process that was started in the background may ignore the signal


@pytest.mark.parametrize(("act", "status"), [(partial(send, signal.SIGTERM), 143), (ctrl_c, 130)])
def test_an_evaluation_that_was_ended_can_be_repeated_with_the_same_command(act, status, tiny_run, tmp_path):
    command = ["test", "--ckpt_path", str(tiny_run), "--out", "out", "--data.num_workers", "0"]
    before = AtCall("peclip.train.module:PEClipModule.test_step", 1, act)
    assert in_a_process(tmp_path, command, before)[0] == status
    assert not (tmp_path / "out").exists()
    assert in_a_process(tmp_path, command) == (0, "")
    assert (tmp_path / "out/metrics.json").exists()


@pytest.fixture
def two_trainings(tiny_run, tmp_path, monkeypatch):
    """The folder ``runs/tiny`` with the trainings 9 and 10, each a copy of a run, and an evaluation of a later number."""
    monkeypatch.chdir(tmp_path)
    for version in (9, 10):
        shutil.copytree(tiny_run, Path("runs/tiny", f"version_{version}"))
    Path("runs/tiny/test_11").mkdir()
    return Path("runs/tiny")


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_an_evaluation_of_the_last_is_one_of_the_latest_training(two_trainings, command):
    result = run(command, "--ckpt_path", "last", "--name", "tiny", "--trainer.limit_predict_batches", "1")
    assert result.status == 0, result.err
    assert result.out.startswith("--ckpt_path last is runs/tiny/version_10\n")
    assert (two_trainings / f"version_10/{command}_0/predictions.csv").exists()


def test_the_last_of_no_training_is_refused(two_trainings):
    result = run("test", "--ckpt_path", "last")
    assert_refused(result, "ckpt_path is last, but runs/peclip holds no training: name its run with --name")
    shutil.rmtree(two_trainings / "version_10/checkpoints")
    (two_trainings / "version_10/checkpoints").mkdir()
    result = run("test", "--ckpt_path", "last", "--name", "tiny")
    assert_refused(result, "runs/tiny/version_10, the latest training, has no checkpoint: name another run")


@pytest.mark.parametrize(
    "command",
    [
        ("export", "last", "--out", "package"),
        ("recognize", "a.mp4", "--model", "last"),
        ("fit", "--config", "tiny.yaml", "--init_from", "last"),
    ],
)
def test_commands_of_other_models_say_which_run_to_name_in_place_of_the_last(two_trainings, command, tiny_config):
    shutil.copy(tiny_config, "tiny.yaml")
    Path("a.mp4").touch()
    for version, place in ((9, 2), (10, 1)):
        for path in (two_trainings / f"version_{version}/checkpoints").iterdir():
            os.utime(path, (place, place))
    assert_refused(
        run(*command), "last: no such file or folder; ", "name the folder of a run, such as runs/tiny/version_9"
    )
