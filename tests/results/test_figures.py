"""The confusion matrix as a file and as a picture."""

import csv

import numpy as np
from PIL import Image

from peclip.results.figures import draw_confusion, write_confusion


def test_the_confusion_matrix_is_a_csv_of_counts_with_truth_in_rows(tmp_path):
    write_confusion(tmp_path / "confusion.csv", np.array([[3, 1, 0], [0, 1, 1], [0, 0, 0]]), ["happy", "sad", "fear"])
    assert (tmp_path / "confusion.csv").read_text().splitlines() == [
        "truth,happy,sad,fear", "happy,3,1,0", "sad,0,1,1", "fear,0,0,0"
    ]  # fmt: skip


def test_a_label_with_a_comma_stays_one_column(tmp_path):
    write_confusion(tmp_path / "confusion.csv", np.array([[1, 0], [0, 1]]), ["happy, very", 'the "sad"'])
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
