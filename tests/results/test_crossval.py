"""The folds brought together: numbers by hand, and the page, the picture and the tables of them."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
from PIL import Image

from peclip.errors import InputError
from peclip.results.bootstrap import Spread
from peclip.results.crossval import print_summary, read_summary, summarise, write_summary
from peclip.results.evaluation import Limited, read_evaluation
from tests.train.evaluations import write_run

# By hand: WAR 3/4, 1/2, 1; UAR 3/4, 1/2, 1; the third fold has no angry clip.
FOLDS = {
    1: ([0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 1, 0, 2, 2, 2, 1]),
    2: ([0, 1, 2, 2], [1, 1, 2, 0]),
    3: ([0, 1], [0, 1]),
}


def summary_of(tmp_path, **options):
    runs = {fold: write_run(tmp_path / f"fold_{fold}", *clips, **options) for fold, clips in FOLDS.items()}
    return summarise({fold: read_evaluation(run) for fold, run in runs.items()}, "tiny")


@pytest.fixture
def summary(tmp_path):
    return summary_of(tmp_path)


def test_mean_and_spread_are_over_the_folds(summary):
    assert summary.war.mean == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert summary.war.std == pytest.approx(np.std([3 / 4, 1 / 2, 1], ddof=1))
    assert summary.uar.mean == pytest.approx(((1 + 1 / 2 + 3 / 4) / 3 + (0 + 1 + 1 / 2) / 3 + 1) / 3)
    assert summary.per_class_recall["happiness"].mean == pytest.approx((1 + 0 + 1) / 3)
    assert [fold.war for fold in summary.folds] == [3 / 4, 1 / 2, 1]
    assert sum(fold.seconds for fold in summary.folds) == 270


def test_a_class_counts_in_the_folds_where_it_occurs(summary):
    anger = summary.per_class_recall["anger"]
    assert anger.mean == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert [fold.per_class_recall["anger"] for fold in summary.folds] == [0.75, 0.5, None]


def test_pooled_takes_the_clips_of_all_folds_as_one_test_set(summary):
    pooled = summary.pooled
    assert pooled.confusion == ((3, 1, 0), (1, 3, 0), (1, 1, 4))
    assert pooled.war.value == pytest.approx(10 / 14)
    assert pooled.uar.value == pytest.approx((3 / 4 + 3 / 4 + 4 / 6) / 3)
    assert summary.clips == 14


def test_intervals_hold_what_they_are_of(summary):
    for spread in (summary.war, summary.uar):
        low, high = spread.interval
        assert 0 < low < spread.mean < high < 1
    for estimate in (summary.pooled.war, summary.pooled.uar):
        low, high = estimate.interval
        assert 0 < low < estimate.value < high < 1


def test_a_class_in_no_fold_has_no_recall(tmp_path):
    runs = [read_evaluation(write_run(tmp_path / str(fold), [0, 1], [0, fold])) for fold in (0, 1)]
    assert summarise(dict(enumerate(runs)), "tiny").per_class_recall["anger"] == Spread(None, None, None)


def test_the_results_are_a_page_two_pictures_and_json(tmp_path, summary):
    write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == summary
    page = (tmp_path / "results.md").read_text()
    assert "# Cross-validation tiny: 3 folds, 14 test clips" in page
    assert "WAR **75.00% ± 25.00%**" in page
    assert "| recall anger | 62.50% | 17.68% |" in page
    assert "| 2 | 4 | 50.00% | 50.00% | 1 min 30 s |" in page
    assert "| all | 14 |  |  | 4 min 30 s |" in page
    assert "| **anger** | 1 | 1 | 4 |" in page
    assert (tmp_path / "confusion.csv").read_text().splitlines()[3] == "anger,1,1,4"
    for name in ("results.png", "confusion.png"):
        assert f"({name})" in page
        with Image.open(tmp_path / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 10
    assert {path.name for path in tmp_path.glob("*") if path.is_file()} == {
        "results.md", "results.json", "results.png", "confusion.csv", "confusion.png"
    }  # fmt: skip


@pytest.mark.parametrize("selection", ["test", "validation", "none"])
def test_the_results_say_where_the_checkpoints_were_chosen_on_test_clips(tmp_path, selection):
    summary = summary_of(tmp_path, selection=selection)
    write_summary(tmp_path, summary)
    with redirect_stdout(io.StringIO()) as printed:
        print_summary(summary)
    for text in ((tmp_path / "results.md").read_text(), printed.getvalue()):
        assert ("chosen on the test clips (val: test), so the test result is optimistic" in text) == (
            selection == "test"
        )
    assert json.loads((tmp_path / "results.json").read_text())["selection"] == selection


def test_the_printed_table_fits_a_terminal_of_80_columns(summary):
    with redirect_stdout(io.StringIO()) as printed:
        print_summary(summary)
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert any("recall happiness" in line and "66.67%" in line for line in lines)


def test_results_written_by_the_version_before_are_read(tmp_path):
    spread = {"mean": 0.75, "std": 0.25, "interval": [0.5, 1.0]}
    estimate = {"value": 0.5, "interval": None}
    fold = {
        "fold": 1,
        "run": "fold_1",
        "clips": 2,
        "skipped": 0,
        "war": 1.0,
        "uar": 1.0,
        "per_class_recall": {"anger": None},
    }
    content = {
        "name": "tiny",
        "benchmark": None,
        "selection": "none",
        "clips": 4,
        "skipped": 1,
        "war": spread,
        "uar": spread,
        "per_class_recall": {"anger": {"mean": None, "std": None, "interval": None}},
        "pooled": {"war": estimate, "uar": estimate, "per_class_recall": {"anger": estimate}, "confusion": [[4]]},
        "folds": [{**fold, "seconds": None}, {**fold, "fold": 2, "seconds": 1.5}],
        "trainable": 1,
        "parameters": 2,
        "bootstrap": {"draws": 10000, "level": 0.95, "seed": 0},
    }
    (tmp_path / "results.json").write_text(json.dumps(content))
    found = read_summary(tmp_path)
    assert (found.war, found.folds[1].seconds, found.pooled.confusion) == (Spread(0.75, 0.25, (0.5, 1.0)), 1.5, ((4,),))
    content["folds"][1]["seconds"] = "long"
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"results\.json: folds: seconds is 'long', expected a number"):
        read_summary(tmp_path)
    with pytest.raises(InputError, match=r"has no results\.json, so no finished cross-validation"):
        read_summary(tmp_path / "nowhere")


def test_the_results_say_which_fold_was_evaluated_in_part(tmp_path):
    runs = [write_run(tmp_path / "1", [0, 1], [0, 1]), write_run(tmp_path / "2", [0, 1], [0, 1], limited=Limited(2, 9))]
    note = summarise({fold: read_evaluation(run) for fold, run in enumerate(runs, start=1)}, "tiny").note
    assert note.endswith("Fold 2: limited to 2 of 9 clips.")
    assert "Fold 1" not in note


def test_folds_with_other_classes_are_refused(tmp_path):
    runs = [
        read_evaluation(write_run(tmp_path / str(fold), [0, 1], [0, 1], labels=labels))
        for fold, labels in enumerate((["anger", "fear"], ["anger", "disgust"]))
    ]
    with pytest.raises(InputError, match="has the classes anger, disgust, other folds anger, fear"):
        summarise(dict(enumerate(runs)), "tiny")
