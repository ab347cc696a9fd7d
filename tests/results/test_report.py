"""What an evaluation leaves behind."""

import csv
import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
from PIL import Image

from peclip.errors import InputError
from peclip.files import atomic_write
from peclip.results.figures import draw_confusion
from peclip.results.report import as_json, print_scores, write_report
from peclip.results.scores import scores

LABELS = ["happiness", "sadness", "fear"]

# Truth in rows. By hand: 3 of 4 happy and 1 of 2 sad clips are right, and there is no fearful one.
RESULT = scores(np.array([[3, 1, 0], [0, 1, 1], [0, 0, 0]]), LABELS)
BARE = scores(np.array([[4, 0, 0], [2, 0, 0], [0, 0, 0]]), LABELS)


def test_metrics_are_fractions_by_label(tmp_path):
    write_report(tmp_path, RESULT, {"split": "test", "selection": "validation"}, zero_shot=BARE)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content == {
        "split": "test",
        "selection": "validation",
        "clips": 6,
        "war": pytest.approx(4 / 6),
        "uar": pytest.approx((3 / 4 + 1 / 2) / 2),
        "per_class_recall": {"happiness": 0.75, "sadness": 0.5, "fear": None},
        "zero_shot": {
            "clips": 6,
            "war": pytest.approx(4 / 6),
            "uar": 0.5,
            "per_class_recall": {"happiness": 1.0, "sadness": 0.0, "fear": None},
        },
    }


def test_zero_shot_is_there_only_where_asked_for(tmp_path):
    write_report(tmp_path, RESULT, {"split": "test"}, zero_shot=None)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert list(content) == ["split", *as_json(RESULT)]


def test_the_confusion_matrix_is_a_csv_of_counts_with_truth_in_rows(tmp_path):
    write_report(tmp_path, RESULT, {}, zero_shot=None)
    assert (tmp_path / "confusion.csv").read_text().splitlines() == [
        "truth,happiness,sadness,fear",
        "happiness,3,1,0",
        "sadness,0,1,1",
        "fear,0,0,0",
    ]


def test_a_label_with_a_comma_stays_one_column(tmp_path):
    odd = scores(np.array([[1, 0], [0, 1]]), ["happy, very", 'the "sad"'])
    write_report(tmp_path, odd, {}, zero_shot=None)
    with (tmp_path / "confusion.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["truth", "happy, very", 'the "sad"'], ["happy, very", "1", "0"], ['the "sad"', "0", "1"]]


def test_the_picture_shows_the_matrix(tmp_path):
    draw_confusion(tmp_path / "right.png", np.diag([9, 9]), ["a", "b"], "all right")
    draw_confusion(tmp_path / "wrong.png", np.diag([9, 9])[::-1], ["a", "b"], "all wrong")
    with Image.open(tmp_path / "right.png") as right, Image.open(tmp_path / "wrong.png") as wrong:
        assert right.format == "PNG"
        assert right.size == wrong.size
        right, wrong = (np.asarray(image.convert("L"), float) for image in (right, wrong))
    height, width = right.shape
    # The colour of a class that is always right is dark; find it in the upper left quarter of the one picture only.
    corner = (slice(height // 8, height // 2), slice(width // 4, width // 2))
    assert np.median(right[corner]) < 128 < np.median(wrong[corner])


def test_the_table_shows_every_class_and_bare_clip_beside_it():
    out = io.StringIO()
    with redirect_stdout(out):
        print_scores(RESULT, "test", BARE)
    text = out.getvalue()
    assert "Results on 6 test clips" in text
    line = {entry.split("│")[1].strip(): entry.split("│")[2:4] for entry in text.splitlines() if "│" in entry}
    cells = {name: [cell.strip() for cell in row] for name, row in line.items()}
    assert cells["WAR"] == ["66.67%", "66.67%"]
    assert cells["UAR"] == ["62.50%", "50.00%"]
    assert cells["recall happiness"] == ["75.00%", "100.00%"]
    assert cells["recall fear"] == ["no clip", "no clip"]


def test_nothing_is_left_of_a_file_whose_writing_fails(tmp_path):
    (tmp_path / "metrics.json").write_text("old")

    def write():
        with atomic_write(tmp_path / "metrics.json") as path:
            path.write_text("half of the n")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"metrics\.json cannot be written: No space left"):
        write()
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "old"
