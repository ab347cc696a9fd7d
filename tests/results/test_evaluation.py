"""Reading a run back, and refusing one that is not whole."""

import numpy as np
import pytest

from peclip.errors import InputError
from peclip.results.evaluation import read_evaluation
from tests.train.evaluations import LABELS, write_run

TRUTH, PREDICTED = [0, 0, 1, 2], [0, 1, 1, 0]


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", TRUTH, PREDICTED)


def test_a_run_is_read_back_as_it_was(folder):
    found = read_evaluation(folder)
    assert (found.labels, found.seconds, found.metrics["war"]) == (LABELS, 90.0, 0.5)
    np.testing.assert_array_equal(found.truth, TRUTH)
    np.testing.assert_array_equal(found.predicted, PREDICTED)
    assert found.scores.war == 0.5
    assert found.scores.per_class_recall == {"happiness": 0.5, "sadness": 1.0, "anger": 0.0}


def test_a_real_run_is_read_back(tiny_run):
    found = read_evaluation(tiny_run)
    assert found.metrics["uar"] == found.scores.uar
    assert found.seconds > 0


def test_a_run_that_only_tested_has_no_time(tmp_path):
    assert read_evaluation(write_run(tmp_path / "run", TRUTH, PREDICTED, seconds=None)).seconds is None


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
        ("metrics.json", "[]", "metrics.json is torn"),
        ("metrics.json", '{"war": 0.5}', "metrics.json lacks split: peclip test --ckpt_path"),
        ("metrics.json", b"\xff\xfe", "metrics.json cannot be read"),
        ("training.json", "{", "training.json cannot be read"),
        ("predictions.csv", "", "predictions.csv cannot be read"),
        ("predictions.csv", "path,predicted,happiness\na,happiness,1\n", "predictions.csv has not the columns"),
        (
            "predictions.csv",
            "path,label,predicted,happiness\na,happiness,bored,1\n",
            "line 2: predicted 'bored' is none",
        ),
        ("predictions.csv", "path,label,predicted,happiness\na,happiness,happiness,1\n", "of different evaluations"),
    ],
)
def test_a_torn_file_is_named(folder, name, content, says):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=says) as caught:
        read_evaluation(folder)
    assert "\n" not in str(caught.value)


def test_missing_predictions_are_named(folder):
    (folder / "predictions.csv").unlink()
    with pytest.raises(InputError, match=r"predictions.csv is missing: peclip test --ckpt_path .* leaves a run"):
        read_evaluation(folder)
