"""Figures: the confusion matrix as a file and as a picture, and the worst mistakes."""

import csv

import numpy as np
import pytest
from PIL import Image

from peclip.results.figures import MOST_MISTAKES, Mistake, _name, draw_confusion, draw_mistakes, worst, write_confusion


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


def mistake(path: str, probability: float) -> Mistake:
    frames = np.full((6, 64, 64, 3), (200, 30, 30), np.uint8)
    return Mistake(path, "$fear$", "anger", probability, 1 - probability, frames)


def test_the_surest_mistakes_are_the_worst():
    found = worst([mistake(f"{n:02d}.mp4", probability) for n, probability in enumerate(np.linspace(0.5, 1, 40))])
    assert [each.path for each in found] == [f"{n}.mp4" for n in range(39, 39 - MOST_MISTAKES, -1)]
    assert [each.path for each in worst([mistake("b", 0.9), mistake("a", 0.9)])] == ["a", "b"]


def test_clips_of_one_name_in_the_folders_of_two_classes_are_distinguished():
    assert _name("/data/test/fear/011.mp4") == "fear/011.mp4"
    assert _name("011.mp4") == "011.mp4"
    assert _name(f"a/{'b' * 300}/011.mp4").endswith("b/011.mp4")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [0, 1, MOST_MISTAKES])
def test_every_mistake_has_its_frames(tmp_path, number):
    draw_mistakes(tmp_path / "a.png", [mistake("a.mp4", 0.9)] * number, "test clips")
    pixels = np.array(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    is_frame = (np.abs(pixels - (200, 30, 30)) < 6).all(axis=2).any(axis=1)
    assert np.count_nonzero(np.diff(is_frame.astype(int)) == 1) == number
