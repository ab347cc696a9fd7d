"""``peclip cv``: equal to separate runs, interrupted and gone on with, and refused."""

import json
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from peclip.results.evaluation import read_evaluation
from tests.processes import AtCall, in_a_process, send
from tests.runs import LABELS, blank_pictures, run, write_config
from tests.trees import write_clip

FOLDS = (1, 2, 3)
EVERY_FILE = ("metrics.json", "predictions.csv", "metrics.csv", "confusion.csv")


def write_folds(folder, folds=FOLDS, clips=2):
    """Write videos, so many of each class in each fold, and return their manifest."""
    lines = ["path,label,fold"]
    for fold in folds:
        for label in LABELS:
            for _ in range(clips):
                write_clip(folder / f"{len(lines)}.mp4", len(lines), frames=3)
                lines.append(f"{len(lines)}.mp4,{label},{fold}")
    (folder / "folds.csv").write_text("\n".join(lines) + "\n")
    return folder / "folds.csv"


def weights(run_folder):
    return torch.load(run_folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


IN_FOLD_2 = AtCall("peclip.train.module:PEClipModule.on_train_epoch_end", 4, partial(send, signal.SIGKILL))
"""Kills a cross-validation, whose folds have two epochs, at the end of the second of fold 2, before its validation."""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, tiny_clip):
    """A folder with a configuration and the cross-validation ``runs/tiny/cv_0``, killed in fold 2; not to be written to."""
    folder = tmp_path_factory.mktemp("interrupted")
    config = write_config(folder / "tiny.yaml", tiny_clip, write_folds(folder / "data"))
    assert in_a_process(folder, ["cv", "--config", config], IN_FOLD_2)[0] == -signal.SIGKILL
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, interrupted):
    """The same, gone on with to the end; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(interrupted / "runs", folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with blank_pictures():
            result = run("cv", "--config", interrupted / "tiny.yaml")
    assert (result.status, result.err) == (0, "")
    (folder / "out.txt").write_text(result.out)
    return folder


@pytest.fixture
def resuming(tmp_path, monkeypatch, interrupted):
    """A copy of the interrupted cross-validation to work in, and its configuration."""
    shutil.copytree(interrupted / "runs", tmp_path / "runs")
    config = Path(shutil.copy(interrupted / "tiny.yaml", tmp_path / "tiny.yaml"))
    monkeypatch.chdir(tmp_path)
    return config


def assert_refused(result, *says):
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert result.err.startswith("peclip: error: ")
    for part in says:
        assert str(part) in result.err


# --- what it gives ---


@pytest.mark.slow
def test_a_killed_cross_validation_resumes_with_the_unfinished_folds(interrupted, finished):
    before, after = interrupted / "runs/tiny/cv_0", finished / "runs/tiny/cv_0"
    assert [fold for fold in FOLDS if (before / f"fold_{fold}/metrics.json").exists()] == [1]
    assert (before / "fold_2/config.yaml").exists()
    assert not (before / "results.json").exists()
    for path in (before / "fold_1").rglob("*.*"):
        assert (after / path.relative_to(before)).stat().st_mtime_ns == path.stat().st_mtime_ns
    out = (finished / "out.txt").read_text()
    assert "Resuming runs/tiny/cv_0, finished before: fold 1" in out
    assert [line for line in out.splitlines() if line.startswith("Fold ")] == ["Fold 2", "Fold 3"]
    assert [path.name for path in finished.glob("runs/tiny/*")] == ["cv_0"]


@pytest.mark.slow
def test_every_fold_is_what_a_separate_run_gives_to_the_digit(
    interrupted, finished, tmp_path, monkeypatch, blank_pictures
):
    monkeypatch.chdir(tmp_path)
    results = json.loads((finished / "runs/tiny/cv_0/results.json").read_text())
    for fold, summary in zip(FOLDS, results["folds"], strict=True):
        assert run("fit", "--config", interrupted / "tiny.yaml", "--data.fold", fold).status == 0
        alone, part = tmp_path / f"runs/tiny/version_{fold - 1}", finished / f"runs/tiny/cv_0/fold_{fold}"
        for name in EVERY_FILE:
            assert (alone / name).read_text() == (part / name).read_text()
        mine, theirs = weights(part), weights(alone)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        assert read_evaluation(alone).scores.war == summary["war"]
        assert read_evaluation(alone).metrics.fold == summary["fold"] == fold


def test_the_results_are_there_as_page_json_and_pictures_and_nothing_else_is(finished):
    folder = finished / "runs/tiny/cv_0"
    assert {path.name for path in folder.glob("[!.]*")} == {
        *(f"fold_{fold}" for fold in FOLDS),
        *("config.yaml", "clips.sha256", "results.json", "results.md", "results.png", "confusion.png", "confusion.csv"),
    }
    assert not list(folder.rglob(".*"))
    results = json.loads((folder / "results.json").read_text())
    assert (results["clips"], results["selection"], len(results["folds"])) == (18, "validation", 3)
    assert sum(map(sum, results["pooled"]["confusion"])) == 18
    assert "Cross-validation tiny: 3 folds, 18 test clips" in (finished / "out.txt").read_text()


def test_a_run_of_a_fold_is_complete_by_itself(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fold = finished / "runs/tiny/cv_0/fold_3"
    assert run("test", "--ckpt_path", fold, "--out", "out").status == 0
    again = json.loads((tmp_path / "out/metrics.json").read_text())
    assert again == json.loads((fold / "metrics.json").read_text()) | {"model": str(fold)}


def test_a_finished_cross_validation_is_compared_and_not_gone_on_with(finished, monkeypatch):
    monkeypatch.chdir(finished)
    result = run("compare", "runs/tiny/cv_0", "runs/tiny/cv_0")
    assert (result.status, result.err) == (0, "")
    assert "Results on 18 test clips, mean of 3 folds" in result.out


@pytest.mark.slow
def test_the_next_cross_validation_gets_a_folder_of_its_own(finished, tmp_path, monkeypatch, tiny_clip, blank_pictures):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "runs", "runs")
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, write_folds(tmp_path / "data", (0, 1)))
    options = ("--config", config, "--trainer.max_epochs", 1, "--data.val", "test", "--model.zero_shot", "false")
    result = run("cv", *options)
    assert (result.status, result.err) == (0, "")
    assert "chosen on the test clips (val: test), so the test result is optimistic" in result.out
    page = (tmp_path / "runs/tiny/cv_1/results.md").read_text()
    assert "chosen on the test clips (val: test), so the test result is optimistic" in page
    shutil.move(tmp_path / "runs/tiny/cv_1", tmp_path / "mine")
    assert_refused(run("cv", *options, "--folder", "mine"), "mine holds a finished cross-validation: name a new one")


def test_help_says_what_it_does_and_shows_the_options_of_fit():
    result = run("cv", "--help")
    assert result.status == 0
    for text in ("usage: peclip cv", "the same command resumes", "--data.manifest", "--trainer.max_epochs"):
        assert text in result.out


# --- what it refuses ---


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--model.lr_adapters", "0.001", "was interrupted with model.lr_adapters 0.0002, which is 0.001 now"),
        ("--seed_everything", "1", "was interrupted with seed_everything 0, which is 1 now"),
        ("--trainer.max_epochs", "3", "was interrupted with trainer.max_epochs 2, which is 3 now"),
    ],
)
def test_other_options_are_not_mixed_with_finished_folds(resuming, option, value, says):
    result = run("cv", "--config", resuming, option, value)
    assert_refused(result, "runs/tiny/cv_0", says, "use the same options to resume, or another --name or --folder")
    assert not Path("runs/tiny/cv_0/fold_3").exists()


def test_workers_are_no_part_of_the_result(resuming, monkeypatch):
    begun = []
    monkeypatch.setattr("peclip.train.cv._train", lambda fold, *_: begun.append(fold) or sys.exit(7))
    before = Path("runs/tiny/cv_0/config.yaml").read_text()
    assert run("cv", "--config", resuming, "--data.num_workers", 1).status == 7
    assert begun == [2]
    assert Path("runs/tiny/cv_0/config.yaml").read_text() == before


def test_changes_are_of_one_run(resuming):
    result = run("cv", "--config", resuming, "--allow_changes", "true")
    assert_refused(result, "allow_changes belongs to one run: all runs of peclip cv have the same options")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (f",{LABELS[0]},3", f",{LABELS[1]},3"),
        ("label,fold\n", "label,fold,subject\n"),
    ],  # validation keeps subjects apart
    ids=["another label", "subjects"],
)
def test_other_clips_are_not_mixed_with_finished_folds(resuming, tiny_clip, before, now):
    data = Path(yaml.safe_load(resuming.read_text())["data"]["manifest"])
    whole = data.read_text()
    lines = whole.replace(before, now, 1).splitlines()
    changed = [line if line.count(",") == lines[0].count(",") else f"{line},{line.partition('.')[0]}" for line in lines]
    try:
        data.write_text("\n".join(changed) + "\n")
        assert_refused(
            run("cv", "--config", resuming), "folds.csv has other clips, labels, folds or subjects than when"
        )
    finally:
        data.write_text(whole)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("fold_1/metrics.json", b'{"war": [', "metrics.json cannot be read"),
        ("config.yaml", b'{"war": [', "config.yaml line 2: not valid YAML"),
        ("clips.sha256", b"\xff", "clips.sha256 cannot be read: 'utf-8' codec can't decode"),
    ],
)
def test_a_damaged_file_is_named_before_anything_is_trained(resuming, name, content, says):
    Path("runs/tiny/cv_0", name).write_bytes(content)
    assert_refused(run("cv", "--config", resuming), says)
    assert not Path("runs/tiny/cv_0/fold_3").exists()


def test_two_at_once_do_not_work_in_one_folder(resuming):
    holder = "import fcntl; lock = open('runs/tiny/cv_0/.lock', 'w'); fcntl.lockf(lock, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert_refused(run("cv", "--config", resuming), "another peclip cv is running in runs/tiny/cv_0")
        other.communicate(b"\n")


def test_a_folder_with_other_files_is_refused_and_kept(resuming):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    assert_refused(run("cv", "--config", resuming, "--folder", "mine"), "mine holds other files")
    assert Path("mine/notes.txt").read_text() == "mine"
    assert_refused(run("cv", "--config", resuming, "--folder", "mine/notes.txt"), "mine/notes.txt")


def test_a_folder_of_several_seeds_is_refused_and_kept(resuming):
    files = (Path("mine/clips.sha256"), Path("mine/seed_0/config.yaml"))
    files[1].parent.mkdir(parents=True)
    for path in files:
        path.write_text("mine")
    assert_refused(run("cv", "--config", resuming, "--folder", "mine"), "mine holds the runs of several seeds")
    assert [path for path in sorted(Path("mine").rglob("*")) if path.is_file()] == [*files]
    assert {path.read_text() for path in files} == {"mine"}


@pytest.mark.slow
def test_folds_without_a_logger_have_the_same_results_also_after_a_kill(tmp_path, monkeypatch, interrupted, finished):
    command = ["cv", "--config", interrupted / "tiny.yaml", "--trainer.logger", "false"]
    assert in_a_process(tmp_path, command, IN_FOLD_2)[0] == -signal.SIGKILL
    monkeypatch.chdir(tmp_path)
    with blank_pictures():
        result = run(*command)
    assert (result.status, result.err) == (0, "")
    assert "Resuming runs/tiny/cv_0, finished before: fold 1" in result.out
    for fold in FOLDS:
        here, there = (folder / f"runs/tiny/cv_0/fold_{fold}" for folder in (tmp_path, finished))
        assert (here / "predictions.csv").read_text() == (there / "predictions.csv").read_text()
        assert not (here / "metrics.csv").exists()


def test_data_without_folds_are_refused(tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    assert_refused(run("cv", "--config", tiny_config), "manifest.csv has no folds, peclip cv needs two or more")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--data.fold", "9"), "data.fold is 9, but peclip cv tests on every fold"),
        (("--ckpt_path", "somewhere"), "ckpt_path belongs to one run: peclip cv resumes by itself"),
        (("--trainer.fast_dev_run", "true"), "trainer.fast_dev_run leaves no results"),
        (("--trainer.limit_test_batches", "0"), "trainer.limit_test_batches 0 leaves no results"),
        (("--trainer.limit_test_batches", "0.01"), "fold 1: trainer.limit_test_batches is 0.01, and this share of 2"),
        (("--data.manifest", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--model.lr", "1"), "lr"),
        (("--data.labels", "[happiness, sadness, fear]"), "unknown label 'anger'"),
        (("--data.num_frames", "0"), "data.num_frames is 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, monkeypatch, interrupted, options, says):
    monkeypatch.chdir(tmp_path)
    assert_refused(run("cv", "--config", interrupted / "tiny.yaml", *options), says)
    assert not list(tmp_path.glob("runs/*/*"))


def test_a_class_that_only_one_fold_has_is_refused_before_anything_is_trained(tmp_path, monkeypatch, tiny_clip):
    monkeypatch.chdir(tmp_path)
    manifest = write_folds(tmp_path / "data", (1, 2, 3))
    manifest.write_text(manifest.read_text().replace("anger,1", "sadness,1").replace("anger,2", "sadness,2"))
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, manifest)
    assert_refused(run("cv", "--config", config), "fold 3: ", "class 'anger' is empty, it has no clip to train on")
    assert not Path("runs").exists()
    begun = []
    monkeypatch.setattr("peclip.train.cv._train", lambda fold, *_: begun.append(fold) or sys.exit(7))
    others = ("--data.labels", "[happiness, sadness]", "--data.other_labels", "skip")
    assert run("cv", "--config", config, *others).status == 7
    assert begun == [1], "the advice of the error helps"
