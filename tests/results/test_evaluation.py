"""Reading a run back, and refusing one that is not whole."""

import json
from dataclasses import replace

import numpy as np
import pytest

from peclip.clip_format import ClipFormat
from peclip.errors import InputError
from peclip.labels import MOST
from peclip.results.evaluation import (
    Limited,
    Metrics,
    read_evaluation,
    read_metrics,
    write_evaluation,
)
from peclip.results.scores import Scores, scores
from peclip.results.selection import Seen, Validated
from peclip.results.training import Training, Waits, read_training, write_training
from tests.train.evaluations import LABELS, write_run

PIECES = "path,start,end,label,predicted,happiness\n"
TRUTH, PREDICTED = [0, 0, 1, 2], [0, 1, 1, 0]


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", TRUTH, PREDICTED)


def test_a_run_is_read_back_as_it_was(folder):
    found = read_evaluation(folder)
    assert (found.labels, found.seconds, found.metrics.scores.war) == (tuple(LABELS), 90.0, 0.5)
    assert [clip.path for clip in found.clips] == ["000.mp4", "001.mp4", "002.mp4", "003.mp4"]
    np.testing.assert_array_equal(found.truth, TRUTH)
    np.testing.assert_array_equal(found.predicted, PREDICTED)
    assert found.scores.war == 0.5
    assert found.scores.per_class_recall == {"happiness": 0.5, "sadness": 1.0, "anger": 0.0}


def test_a_real_run_is_read_back(tiny_run):
    found = read_evaluation(tiny_run)
    assert found.metrics.scores == found.scores
    assert found.seconds > 0


def test_a_run_that_only_tested_has_no_time(tmp_path):
    assert read_evaluation(write_run(tmp_path / "run", TRUTH, PREDICTED, seconds=None)).seconds is None


def test_an_evaluation_below_a_run_has_the_time_of_its_training(folder):
    tested = write_run(folder / "test_0", TRUTH, PREDICTED, seconds=None)
    assert read_evaluation(tested).seconds is None  # the folder above is not that of a run
    (folder / "checkpoints").mkdir()
    assert read_evaluation(tested).training == read_evaluation(folder).training


def test_the_folder_of_all_runs_names_one_of_them(tmp_path):
    run = write_run(tmp_path / "runs" / "demo" / "version_0", TRUTH, PREDICTED)
    with pytest.raises(InputError, match=f"it holds runs, such as {run}$"):
        read_evaluation(tmp_path / "runs")


def test_a_folder_that_is_no_run_is_refused(tmp_path, folder):
    for path, says in (
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path, f"has no metrics.json, so no finished evaluation; it holds runs, such as {folder}"),
    ):
        with pytest.raises(InputError, match=says):
            read_evaluation(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metrics.json", '{"war": 0.', "metrics.json cannot be read"),
        ("metrics.json", "[]", "metrics.json is damaged"),
        ("metrics.json", '{"war": 0.5}', "metrics.json lacks clips; peclip test --ckpt_path .* writes a complete one"),
        ("metrics.json", b"\xff\xfe", "metrics.json cannot be read"),
        ("training.json", "{", "training.json cannot be read"),
        ("training.json", "{}", "training.json lacks seconds"),
        ("predictions.csv", "", "predictions.csv lacks the columns path, label and predicted"),
        ("predictions.csv", b"path,label,predicted,a\n\xff", "predictions.csv line 2 has 1 cells"),
        ("predictions.csv", "path,predicted,happiness\na,happiness,1\n", "predictions.csv lacks the columns"),
        ("predictions.csv", "path,label,predicted,happiness\n", "predictions.csv holds no clip"),
        ("predictions.csv", "path,label,predicted,happiness\na,happiness,happ", "line 2 has 3 cells, expected 4"),
        (
            "predictions.csv",
            "path,label,predicted,happiness\na,happiness,bored,1\n",
            "line 2: predicted 'bored' is none",
        ),
        ("predictions.csv", "path,label,predicted,happiness\na,happiness,happiness,1\n", "of different evaluations"),
        (
            "predictions.csv",
            f"{PIECES}a,nan,,happiness,happiness,1\n",
            "line 2: start and end are 'nan' and '', expected",
        ),
        ("predictions.csv", f"{PIECES}a,0,1e999,happiness,happiness,1\n", "are '0' and '1e999', expected seconds"),
        ("predictions.csv", f"{PIECES}a,-inf,1,happiness,happiness,1\n", "are '-inf' and '1', expected seconds"),
        (
            "predictions.csv",
            f"path,label,predicted,{','.join(map(str, range(MOST + 1)))}\n",
            "has columns of 10,001 labels, expected at most 10,000",
        ),
    ],
)
def test_a_torn_file_is_named(folder, name, content, says):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=says) as caught:
        read_evaluation(folder)
    assert "\n" not in str(caught.value)


def test_missing_predictions_are_named(folder):
    (folder / "predictions.csv").unlink()
    with pytest.raises(
        InputError, match=r"predictions.csv is missing: peclip test --ckpt_path .* writes a complete one"
    ):
        read_evaluation(folder)


# --- metrics.json and training.json ---

# Truth in rows. By hand: 3 of 4 happy and 1 of 2 sad clips are right, and there is no angry one.
RESULT = scores(np.array([[3, 1, 0], [0, 1, 1], [0, 0, 0]]), LABELS)
BARE = scores(np.array([[4, 0, 0], [2, 0, 0], [0, 0, 0]]), LABELS)
METRICS = Metrics("test", "validation", trainable=10, parameters=100, scores=RESULT, zero_shot=BARE)

# As version 0.1.0 wrote it.
WRITTEN_BEFORE = """{
  "split": "test", "selection": "validation", "benchmark": "demo", "fold": null, "skipped": 0,
  "trainable": 176132, "parameters": 2992261, "clips": 4, "war": 0.75, "uar": 0.75,
  "per_class_recall": {"happiness": 0.5, "sadness": 1, "anger": null},
  "zero_shot": {"clips": 4, "war": 0.5, "uar": 0.5, "per_class_recall": {"happiness": 1.0, "sadness": 0.0, "anger": null}}
}"""


def test_metrics_are_fractions_by_label(tmp_path):
    write_evaluation(tmp_path, METRICS)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "split": "test",
        "selection": "validation",
        "benchmark": None,
        "fold": None,
        "skipped": 0,
        "trainable": 10,
        "parameters": 100,
        "clips": 6,
        "war": pytest.approx(4 / 6),
        "uar": pytest.approx((3 / 4 + 1 / 2) / 2),
        "per_class_recall": {"happiness": 0.75, "sadness": 0.5, "anger": None},
        "zero_shot": {
            "clips": 6,
            "war": pytest.approx(4 / 6),
            "uar": 0.5,
            "per_class_recall": {"happiness": 1.0, "sadness": 0.0, "anger": None},
        },
    }


def test_metrics_written_by_the_version_before_are_read(tmp_path):
    (tmp_path / "metrics.json").write_text(WRITTEN_BEFORE)
    assert read_metrics(tmp_path) == Metrics(
        split="test",
        selection="validation",
        benchmark="demo",
        trainable=176132,
        parameters=2992261,
        scores=Scores(4, 0.75, 0.75, {"happiness": 0.5, "sadness": 1.0, "anger": None}),
        zero_shot=Scores(4, 0.5, 0.5, {"happiness": 1.0, "sadness": 0.0, "anger": None}),
    )
    assert read_metrics(tmp_path).as_json() == json.loads(WRITTEN_BEFORE)


def test_metrics_say_what_was_evaluated_on_what(tmp_path):
    special = Metrics(
        "validation",
        "none",
        trainable=1,
        parameters=2,
        scores=RESULT,
        model="runs/demo/version_0",
        clip_format=ClipFormat(num_frames=8),
        model_format=ClipFormat(),
        limited=Limited(6, 40),
        seen=Seen(3, 1, 40),
        validated=Validated(8, 90, ("checkpoint", "temperature")),
    )
    write_evaluation(tmp_path, special)
    again = read_metrics(tmp_path)
    assert again == special
    assert again.remarks[:2] == [
        f"{count} of the 40 clips are {kind} clips of this model"
        for count, kind in ((3, "training"), (1, "validation"))
    ]
    assert again.remarks[2:] == [
        "limited to 6 of 40 clips",
        "checkpoint and temperature chosen on 8 of 90 validation clips",
        "num_frames 8, but the model was trained with 16",
    ]
    assert METRICS.remarks == []
    unknown = replace(special, seen=Seen(0, 0, 40, unknown=True)).remarks
    assert unknown[0] == "it is not known which of the 40 clips are training or validation clips of this model"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"war": "high"}, "metrics.json: war is 'high', expected a number"),
        ({"war": 1.5}, "metrics.json: war is 1.5, expected 0 to 1"),
        ({"war": None}, "metrics.json: war is None, expected a number"),
        ({"clips": 0}, "metrics.json: clips is 0, expected at least 1"),
        ({"clips": True}, "metrics.json: clips is True, expected a whole number"),
        ({"per_class_recall": {"anger": -1}}, "metrics.json: recall of anger is -1.0, expected 0 to 1"),
        ({"per_class_recall": []}, r"metrics.json: per_class_recall is \[\], expected an object"),
        ({"selection": "luck"}, "selection is 'luck', expected 'validation' or 'test' or 'none'"),
        ({"zero_shot": {"clips": 1}}, "metrics.json: zero_shot lacks war"),
        ({"zero_shot": "<script>"}, "metrics.json: zero_shot is '<script>', expected an object"),
        ({"limited": {"clips": 1, "of": 2.5}}, "metrics.json: limited: of is 2.5, expected a whole number"),
        ({"clip_format": {"num_frames": 0}}, "metrics.json: clip_format: num_frames is 0, expected 1 to"),
        ({"clip_format": {"mean": [1, 2]}}, r"metrics.json: clip_format: mean is \[1, 2\], expected a list"),
    ],
)
def test_an_entry_of_another_kind_is_named(tmp_path, change, says):
    (tmp_path / "metrics.json").write_text(json.dumps(json.loads(WRITTEN_BEFORE) | change))
    with pytest.raises(InputError, match=says) as caught:
        read_metrics(tmp_path)
    assert "\n" not in str(caught.value)


def test_entries_of_a_later_version_are_ignored(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS.as_json() | {"invented": {"later": 1}}))
    assert read_metrics(tmp_path) == METRICS


def test_a_training_is_read_back(tmp_path):
    assert read_training(tmp_path) is None
    write_training(tmp_path, Training(1.5, 3, "cpu", 2))
    assert read_training(tmp_path) == Training(1.5, 3, "cpu", 2)
    waited = Training(1.5, 3, "cpu", 2, Waits(input=0.3, validation=0.6))
    write_training(tmp_path, waited)
    assert read_training(tmp_path) == waited
    assert waited.waits.shares(1.5) == pytest.approx({"input": 0.2, "validation": 0.4, "checkpoints": 0, "logging": 0})
