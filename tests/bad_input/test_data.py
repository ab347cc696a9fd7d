"""Mistakes in manifests, folders and clips: one line each, status 2, and nothing half done."""

import os
import shutil
from functools import partial

import av
import pytest

from peclip.cli import main
from tests.bad_input.mistakes import assert_no_run, assert_refused, change, truncated
from tests.processes import called
from tests.runs import LABELS, run


def test_a_missing_root(place, config):
    assert_refused(run("fit", "--config", config, "--data.root", "nowhere"), "nowhere: no such folder")
    assert_no_run(place)


def test_a_missing_manifest(place, config):
    assert_refused(run("fit", "--config", config, "--data.manifest", "nowhere.csv"), "nowhere.csv: no such file")
    assert_no_run(place)


def test_no_source_at_all(place, config):
    assert_refused(run("fit", "--config", change(config, data__manifest=None)), "set data.manifest FILE")
    assert_no_run(place)


def test_a_benchmark_without_its_folder(place, config):
    config = change(config, data__manifest=None, data__benchmark="ferv39k")
    assert run("fit", "--config", config).err == "peclip: error: no data: set data.root DIR, the folder of ferv39k\n"


def test_a_root_that_is_no_benchmark(place, config):
    result = run("fit", "--config", config, "--data.root", "data", "--data.benchmark", "ferv39k")
    assert_refused(result, "data: not the released layout of FERV39K, expected")
    assert_no_run(place)


def test_an_unknown_benchmark(place, config):
    result = run("fit", "--config", config, "--data.root", "data", "--data.benchmark", "imagenet")
    assert_refused(result, "unknown benchmark 'imagenet'", "ferv39k")


def test_an_unknown_label(place, config, data):
    data.write_text(data.read_text().replace(",sadness,train", ",bored,train", 1))
    labels = ("--data.labels", "[happiness, sadness, anger]")
    assert_refused(run("fit", "--config", config, *labels), "manifest.csv line 4: unknown label 'bored'", *LABELS)
    assert_no_run(place)


def test_a_label_without_a_text(place, config, data):
    data.write_text(data.read_text().replace(",sadness,", ",bored,"))
    assert_refused(run("fit", "--config", config), "model.net.texts is missing 'bored'")
    assert_no_run(place)


def test_an_empty_class(place, config, data):
    lines = [line for line in data.read_text().splitlines() if not line.endswith(",anger,train")]
    data.write_text("\n".join(lines) + "\n")
    assert_refused(run("fit", "--config", config), "manifest.csv", "class 'anger' is empty")
    assert_no_run(place)


def test_an_empty_class_folder(place, config):
    shutil.rmtree(place / "data/train/anger")
    (place / "data/train/anger").mkdir()
    assert_refused(run("fit", "--config", config, "--data.root", "data"), "data/train/anger", "empty")
    assert_no_run(place)


def test_a_bad_column(place, config, data):
    data.write_text(data.read_text().replace("path,label,split", "path,emotion,split"))
    assert_refused(run("fit", "--config", config), "manifest.csv line 1: unknown column 'emotion'")
    assert_no_run(place)


def test_a_person_in_training_and_test(place, config, data):
    head, *lines = data.read_text().splitlines()
    data.write_text(
        "\n".join([f"{head},subject", *(f"{line},{'Anna' if n % 2 else 'Ben'}" for n, line in enumerate(lines))]) + "\n"
    )
    says = "manifest.csv line 2: subject 'Ben' is in train here and in test in manifest.csv line 8"
    assert_refused(run("fit", "--config", config), says, "peclip check")
    assert_no_run(place)


def test_a_bad_split(place, config, data):
    data.write_text(data.read_text().replace(",test", ",exam", 1))
    assert_refused(run("fit", "--config", config), "manifest.csv line 8: unknown split 'exam'")
    assert_no_run(place)


def test_a_clip_outside_the_folder_of_the_manifest(place, config, data):
    data.write_text(data.read_text() + "../secret.mp4,anger,train\n")
    assert_refused(run("fit", "--config", config), "manifest.csv line 11", "../secret.mp4", "data.allow_outside")
    assert_no_run(place)


def test_a_manifest_without_labels(place, config, data):
    data.write_text("path\n" + "".join(f"{line.split(',')[0]}\n" for line in data.read_text().splitlines()[1:]))
    assert_refused(run("fit", "--config", config), "manifest.csv has no labels", "at least two")
    assert_no_run(place)


def test_a_manifest_of_one_class(place, config, data):
    data.write_text("".join(line for line in data.read_text().splitlines(True) if "s," not in line))
    assert_refused(run("fit", "--config", config), "manifest.csv has only the label 'anger'", "at least two")
    assert_no_run(place)


def test_a_fold_that_leaves_nothing_to_train_on(place, config, data):
    data.write_text(data.read_text().replace("split", "fold").replace("train\n", "1\n").replace("test\n", "1\n"))
    result = run("fit", "--config", config, "--data.fold", "1")
    assert_refused(result, "manifest.csv has no training clips beside fold 1")
    assert_no_run(place)


def test_a_split_that_is_empty(place, config, data, tiny_run):
    data.write_text(data.read_text().replace(",test", ",train"))
    assert_refused(run("test", "--config", config, "--ckpt_path", tiny_run), "manifest.csv has no test clips")
    assert_no_run(place)


def no_video(path):
    path.write_text("not a video at all\n" * 100)


def empty(path):
    path.write_bytes(b"")


def without_frames(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        file.start_encoding()
    assert path.stat().st_size < 2000


def missing(path):
    path.unlink()


def unreadable(path):
    path.chmod(0)


BROKEN = [no_video, truncated, empty, without_frames, missing]


@pytest.mark.parametrize(
    ("break_it", "workers"),
    [
        *((break_it, 0) for break_it in BROKEN),
        (truncated, 1),
        *(pytest.param(break_it, 1, marks=pytest.mark.stress) for break_it in BROKEN if break_it != truncated),
    ],
)
def test_a_clip_that_cannot_be_read(break_it, workers, place, config):
    broken = place / "data/train/sadness/3.mp4"
    break_it(broken)
    result = run("fit", "--config", config, "--data.num_workers", str(workers))
    assert_refused(result, broken, "manifest.csv line 4")
    assert_no_run(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_clip_without_permission(place, config):
    broken = place / "data/train/sadness/3.mp4"
    unreadable(broken)
    assert_refused(run("fit", "--config", config), broken, "permission")


@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_clip_that_cannot_be_evaluated(command, place, config, tiny_run):
    broken = place / "data/test/sadness/8.mp4"
    truncated(broken)
    result = run(command, "--config", config, "--ckpt_path", tiny_run)
    assert_refused(result, broken, "manifest.csv line 9")
    assert_no_run(place)


@pytest.mark.slow
def test_a_process_says_one_line_and_ends_with_status_2(place, config):
    truncated(place / "data/train/sadness/3.mp4")
    result = called(place, partial(main, ["fit", "--config", str(config), "--data.num_workers", "1"]))
    assert_refused(result, "3.mp4", "manifest.csv line 4")
