"""``peclip compare`` on runs without a training."""

import json

import numpy as np
import pytest

from peclip.clip_format import ClipFormat
from peclip.results.evaluation import Limited
from tests.runs import run
from tests.train.evaluations import outcomes, write_run

TRUTH, GOOD = outcomes(90, 0.8)
_, POOR = outcomes(90, 0.5, seed=1)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A good and a poor run on the same clips."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "good", TRUTH, GOOD)
    write_run(tmp_path / "poor", TRUTH, POOR, seconds=None, selection="test")
    return tmp_path


@pytest.fixture
def crossvals(tmp_path, monkeypatch):
    """A good and a poor cross-validation of three folds."""
    monkeypatch.chdir(tmp_path)
    for name, predicted in (("good_cv", GOOD), ("poor_cv", POOR)):
        for fold in range(3):
            clips = slice(30 * fold, 30 * fold + 30)
            paths = [f"{fold}_{index}.mp4" for index in range(30)]
            write_run(tmp_path / name / f"fold_{fold}", TRUTH[clips], predicted[clips], paths=paths)
        (tmp_path / name / "results.json").write_text("{}")
    return tmp_path


def assert_refused(result, *says):
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    for part in says:
        assert part in result.err


def test_runs_stand_side_by_side_with_differences_parameters_and_time(runs):
    result = run("compare", "poor", "good", "--out", "report")
    assert (result.status, result.err) == (0, "")
    content = json.loads((runs / "report/comparison.json").read_text())
    wars = [(predicted == TRUTH).mean() for predicted in (POOR, GOOD)]
    assert [entry["war"]["value"] for entry in content["runs"]] == pytest.approx(wars)
    (change,) = content["differences"]
    assert (change["run"], change["to"]) == ("good", "poor")
    assert change["war"]["difference"] == pytest.approx(wars[1] - wars[0])
    low, high = change["war"]["interval"]
    assert 0 < low < wars[1] - wars[0] < high
    assert 0 < change["war"]["p"] < 0.05
    for text in (result.out, (runs / "report/comparison.md").read_text()):
        for part in ("Results on 90 test clips", f"{wars[0]:.2%}", "7,714", "79,587", "1 min 30 s", "unknown", "cpu"):
            assert part in text
        assert f"{100 * (wars[1] - wars[0]):+.2f}" in text
        assert "poor: the checkpoint is chosen on the test clips (val: test)" in text
        assert "good: the checkpoint" not in text


def test_the_note_states_the_formula_of_p_and_the_least_p(tmp_path):
    write_run(tmp_path / "right", TRUTH, TRUTH)
    write_run(tmp_path / "wrong", TRUTH, (TRUTH + 1) % 3)
    text = run("compare", tmp_path / "right", tmp_path / "wrong").out
    assert "N = 10,000 bootstrap draws" in text
    assert "p is 2 (r + 1) / (N + 1)" in text
    assert "so that it is at least 0.0002" in text
    assert text.count("0.0002 │") == 2, "no draw has the other sign"


def test_runs_without_test_clips_are_compared_on_validation_clips_and_called_optimistic(tmp_path):
    for name, predicted in (("one", GOOD), ("other", POOR)):
        write_run(tmp_path / name, TRUTH, predicted, split="validation")
    text = run("compare", tmp_path / "one", tmp_path / "other").out
    assert "the same validation clips are drawn" in text
    assert "test clips" not in text.replace("add test clips", "")
    assert text.count("which also choose the checkpoint and the temperature, so they are optimistic") == 2


def test_mcnemar_counts_the_clips_that_one_run_alone_recognized_and_says_what_p_means(runs):
    result = run("compare", "poor", "good", "--out", "report")
    (change,) = json.loads((runs / "report/comparison.json").read_text())["differences"]
    only = [int(((one == TRUTH) & (other != TRUTH)).sum()) for one, other in ((POOR, GOOD), (GOOD, POOR))]
    found = change["mcnemar"]
    assert [found["first_only"], found["other_only"]] == only
    assert 0 < found["p"] < 0.01
    page = (runs / "report/comparison.md").read_text()
    assert f"| good | {only[0]} | {only[1]} | < 0.0001 |" in page
    for text in (" ".join(result.out.split()), page):
        assert "a large one says that these clips do not show a difference, not that there is none." in text


def test_mcnemar_counts_the_clips_of_all_folds(crossvals):
    assert run("compare", "good_cv", "poor_cv", "--out", "report").status == 0
    (change,) = json.loads((crossvals / "report/comparison.json").read_text())["differences"]
    only = [int(((one == TRUTH) & (other != TRUTH)).sum()) for one, other in ((GOOD, POOR), (POOR, GOOD))]
    assert [change["mcnemar"][name] for name in ("first_only", "other_only")] == only


def test_nothing_is_written_unless_asked_for(runs):
    assert run("compare", "poor", "good").status == 0
    assert sorted(path.name for path in runs.iterdir()) == ["good", "poor"]


def test_a_run_does_not_differ_from_itself(runs):
    assert run("compare", "good", "good", "--out", "report").status == 0
    (change,) = json.loads((runs / "report/comparison.json").read_text())["differences"]
    assert change["war"] == change["uar"] == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}


def test_three_runs_are_each_compared_to_the_first(runs):
    write_run(runs / "third", TRUTH, TRUTH)
    assert run("compare", "good", "poor", "third", "--out", "report").status == 0
    changes = json.loads((runs / "report/comparison.json").read_text())["differences"]
    assert [(change["run"], change["to"]) for change in changes] == [("poor", "good"), ("third", "good")]


def test_clips_in_another_order_are_paired_by_their_paths(runs):
    turned = [f"{index:03d}.mp4" for index in reversed(range(90))]
    write_run(runs / "turned", TRUTH[::-1], GOOD[::-1], paths=turned)
    assert run("compare", "good", "turned", "--out", "report").status == 0
    (change,) = json.loads((runs / "report/comparison.json").read_text())["differences"]
    assert change["war"]["interval"] == [0.0, 0.0]


@pytest.fixture
def pieces(runs):
    """Runs that were tested on three pieces of each of 30 videos, in one order and in the other, and on later pieces."""
    videos, starts = [f"{index // 3:03d}.mp4" for index in range(90)], np.arange(90) % 3
    for name, order, by in (("forward", 1, 0), ("back", -1, 0), ("later", 1, 1)):
        seconds = [f"{start}.0,{start + 1}.0" for start in starts + by]
        write_run(runs / name, TRUTH[::order], GOOD[::order], paths=videos[::order], pieces=seconds[::order])
    return runs


def test_pieces_of_a_video_are_paired_by_their_seconds(pieces):
    assert run("compare", "forward", "back", "--out", "report").status == 0
    (change,) = json.loads((pieces / "report/comparison.json").read_text())["differences"]
    assert change["war"]["interval"] == [0.0, 0.0]
    assert_refused(run("compare", "forward", "later"), "of which 60 have the same path, start and end")


def test_pieces_without_seconds_cannot_be_paired(runs):
    for name in ("one", "two"):
        write_run(runs / name, TRUTH, GOOD, paths=[f"{index // 3:03d}.mp4" for index in range(90)])
    assert_refused(run("compare", "one", "two"), "predictions.csv has 000.mp4 more than once", "peclip test")


def test_a_difference_of_rounding_is_none(tmp_path, monkeypatch):
    """Compare five folds of ten clips, each as often right in one run as in the other, but in other folds."""
    monkeypatch.chdir(tmp_path)
    for name, right in (("one", (7, 7, 8, 9, 9)), ("two", (9, 8, 7, 9, 7))):
        for fold, count in enumerate(right):
            predicted = np.where(np.arange(10) < count, TRUTH[:10], (TRUTH[:10] + 1) % 3)
            paths = [f"{fold}_{index}.mp4" for index in range(10)]
            write_run(tmp_path / name / f"fold_{fold}", TRUTH[:10], predicted, paths=paths)
        (tmp_path / name / "results.json").write_text("{}")
    result = run("compare", "one", "two", "--out", "report")
    assert result.status == 0, result.err
    (change,) = json.loads((tmp_path / "report/comparison.json").read_text())["differences"]
    assert str(change["war"]["difference"]) == "0.0"
    assert "-0.00" not in result.out


def test_classes_in_another_order_are_paired_by_their_names(runs):
    names = ["anger", "happiness", "sadness"]
    write_run(runs / "turned", (TRUTH + 1) % 3, (GOOD + 1) % 3, labels=names)
    assert run("compare", "good", "turned", "--out", "report").status == 0
    content = json.loads((runs / "report/comparison.json").read_text())
    assert content["differences"][0]["uar"]["interval"] == [0.0, 0.0]
    first, second = (entry["per_class_recall"] for entry in content["runs"])
    assert first == second


def test_cross_validations_are_compared_fold_by_fold(crossvals):
    result = run("compare", "good_cv", "poor_cv", "--out", "report")
    assert (result.status, result.err) == (0, "")
    content = json.loads((crossvals / "report/comparison.json").read_text())
    assert (content["clips"], content["folds"]) == (90, [0, 1, 2])
    assert content["runs"][0]["war"]["value"] == pytest.approx((TRUTH == GOOD).mean())
    assert content["runs"][0]["seconds"] == 270
    assert content["differences"][0]["war"]["interval"][1] < 0
    assert "Results on 90 test clips, mean of 3 folds" in result.out


def test_a_fold_is_compared_with_a_run(crossvals):
    paths = [f"0_{index}.mp4" for index in range(30)]
    write_run(crossvals / "single", TRUTH[:30], POOR[:30], paths=paths)
    assert run("compare", "good_cv/fold_0", "single").status == 0


def test_a_run_and_a_cross_validation_are_refused(runs, crossvals):
    result = run("compare", "good", "good_cv")
    assert_refused(
        result, "good is a single run, good_cv is a cross-validation with folds 0, 1, 2", "no common test set"
    )


def test_other_test_clips_are_refused(runs):
    write_run(runs / "fewer", TRUTH[:60], GOOD[:60])
    assert_refused(
        run("compare", "good", "fewer"), "good and fewer were tested on different clips: 90 and 60, of which 60"
    )
    write_run(runs / "elsewhere", TRUTH, GOOD, paths=[f"other/{index:03d}.mp4" for index in range(90)])
    assert_refused(run("compare", "good", "elsewhere"), "of which 0 have the same path")
    write_run(runs / "relabelled", (TRUTH + 1) % 3, GOOD)
    assert_refused(run("compare", "good", "relabelled"), "tested on different clips")


def test_other_labels_are_refused(runs):
    write_run(runs / "fearful", TRUTH, GOOD, labels=["happiness", "sadness", "fear"])
    assert_refused(run("compare", "good", "fearful"), "good has the labels happiness, sadness, anger, fearful has")


def test_a_cross_validation_that_is_not_finished_is_refused(crossvals):
    (crossvals / "poor_cv/results.json").unlink()
    assert_refused(run("compare", "good_cv", "poor_cv"), "poor_cv is a cross-validation that is not finished")


def test_what_is_no_run_is_refused(runs):
    (runs / "empty").mkdir()
    (runs / "poor/metrics.json").write_text('{"war": 0.')
    assert_refused(run("compare", "good"), "two or more runs")
    assert_refused(run("compare"), "runs")
    assert_refused(run("compare", "good", "nowhere"), "nowhere: no such folder")
    assert_refused(run("compare", "good", "empty"), "empty has no metrics.json, so no finished evaluation")
    assert_refused(run("compare", "good", "poor"), "poor/metrics.json cannot be read")


def test_a_place_that_cannot_be_written_is_refused(runs):
    (runs / "taken").write_text("")
    assert_refused(run("compare", "good", "poor", "--out", "taken"), "taken")


def test_clips_that_one_of_them_skipped_are_reported(runs):
    for name in ("good", "poor"):
        path = runs / name / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"skipped": 2 if name == "poor" else 0}))
    result = run("compare", "good", "poor", "--out", "there")
    assert result.status == 0, result.err
    assert "poor: skipped 2 clips of the test set that could not be read" in " ".join(result.out.split())
    assert [entry["skipped"] for entry in json.loads((runs / "there/comparison.json").read_text())["runs"]] == [0, 2]
    write_run(runs / "fewer", TRUTH[:88], GOOD[:88])
    path = runs / "fewer" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"skipped": 2}))
    assert_refused(run("compare", "good", "fewer"), "90 and 88", "besides 0 and 2 skipped")


def test_a_limited_evaluation_and_another_number_of_frames_are_reported(runs):
    write_run(
        runs / "short", TRUTH, POOR, limited=Limited(90, 900), clip_format=ClipFormat(8), model_format=ClipFormat(16)
    )
    result = run("compare", "good", "short", "--out", "there")
    assert (result.status, result.err) == (0, "")
    for text in (result.out, (runs / "there/comparison.md").read_text()):
        assert "short: limited to 90 of 900 clips." in text
        assert "short: num_frames 8, but the model was trained with 16." in text
    assert "good: " not in result.out
