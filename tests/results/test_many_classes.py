"""Reports of many classes stay small: numbers come first, pictures have a bounded size, screens have few lines."""

import io
import time
from contextlib import redirect_stdout

import numpy as np
import pytest
from PIL import Image

from peclip.labels import MOST_CLASSES
from peclip.results import evaluation
from peclip.results.bootstrap import Outcomes, resample
from peclip.results.compare import compare
from peclip.results.crossval import print_summary, summarise, write_summary
from peclip.results.evaluation import Metrics, read_evaluation, write_evaluation
from peclip.results.figures import draw_confusion
from peclip.results.formatting import print_metrics
from peclip.results.scores import scores
from tests.train.evaluations import outcomes, write_run

LABELS = [f"class {index}" for index in range(200)]


def metrics_of(classes):
    found = scores(np.eye(classes, dtype=np.int64), LABELS[:classes])
    return Metrics(split="test", selection="validation", trainable=1, parameters=2, scores=found)


def printed(function, *args):
    with redirect_stdout(io.StringIO()) as out:
        function(*args)
    return out.getvalue()


@pytest.fixture
def runs(tmp_path):
    """The folders of two runs on the same clips of many classes."""
    for seed in (0, 1):
        write_run(tmp_path / f"run_{seed}", *outcomes(300, 0.7, seed, len(LABELS)), labels=LABELS)
    return [str(tmp_path / "run_0"), str(tmp_path / "run_1")]


@pytest.mark.parametrize("classes", [MOST_CLASSES + 1, 200])
def test_the_picture_of_a_confusion_matrix_has_a_bounded_size(classes, tmp_path):
    matrix = np.random.default_rng(0).integers(0, 9, (classes, classes))
    begin = time.process_time()
    draw_confusion(tmp_path / "confusion.png", matrix, LABELS[:classes], "title")
    assert time.process_time() - begin < 20
    with Image.open(tmp_path / "confusion.png") as picture:
        assert max(picture.size) < 1400


def test_numbers_are_written_before_the_picture(tmp_path, monkeypatch):
    def fails(*args):
        raise MemoryError

    monkeypatch.setattr(evaluation, "draw_confusion", fails)
    with pytest.raises(MemoryError):
        write_evaluation(tmp_path, metrics_of(3))
    assert {path.name for path in tmp_path.iterdir()} == {"confusion.csv", "metrics.json"}


@pytest.mark.parametrize(("classes", "lines"), [(3, 11), (MOST_CLASSES, MOST_CLASSES + 8), (200, 9)])
def test_the_screen_shows_few_classes_one_by_one(classes, lines):
    text = printed(print_metrics, metrics_of(classes))
    assert len(text.splitlines()) == lines
    assert (f"recalls of {classes} classes: metrics.json" in text) == (classes > MOST_CLASSES)


def test_a_comparison_prints_few_lines_and_writes_every_class(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    text = printed(compare, runs, str(tmp_path / "out"))
    assert "recalls of 200 classes: --out writes them" in text
    assert len(text.splitlines()) < 40
    assert "| recall class 199 |" in (tmp_path / "out" / "comparison.md").read_text()


def test_a_cross_validation_names_the_file_of_its_matrix(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    summary = summarise({fold: read_evaluation(tmp_path / f"run_{fold}") for fold in (0, 1)}, "many")
    write_summary(tmp_path, summary)
    page = (tmp_path / "results.md").read_text()
    assert "That of 200 classes is in confusion.csv." in page
    assert "| recall class 199 |" in page
    assert len(page) < 50_000
    assert "recalls of 200 classes: results.json" in printed(print_summary, summary)
    for name in ("results.png", "confusion.png"):
        with Image.open(tmp_path / name) as picture:
            assert max(picture.size) < 1400


def test_draws_in_pieces_are_those_of_all_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    tests = [Outcomes(rng.integers(0, 5, 40), rng.random((2, 40)) < 0.5) for _ in range(3)]
    in_pieces = resample(tests, 5, draws=1_200)
    monkeypatch.setattr("peclip.results.bootstrap.PIECE", 1_200)
    for one, other in zip(in_pieces, resample(tests, 5, draws=1_200), strict=True):
        assert np.array_equal(one, other, equal_nan=True)
