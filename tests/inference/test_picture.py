from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peclip.inference.picture import MOST_SHOWN, STILL, Summary, draw_timeline, drawn_classes
from peclip.inference.recognizer import Row
from peclip.inference.segments import Cells, Segments

LABELS = ["happiness", "neutral", "boredom"]


def row(track: int | None, start: float, end: float, *probabilities: float) -> Row:
    return Row("a.mp4", track, start, end, LABELS[0], dict(zip(LABELS, probabilities, strict=False)), 1.0)


def summarised(rows: Iterable[Row]) -> Summary:
    summary, cells, segments = Summary(), Cells(), Segments()
    found = []
    for one in rows:
        summary.see(one)
        found += cells.add(one)
    for cell in (*found, *cells.finish()):
        summary.add(cell)
        for segment in segments.add(cell):
            summary.label(segment)
    for segment in segments.finish():
        summary.label(segment)
    return summary


def test_overlapping_rows_share_their_time():
    cells = summarised([row(1, 0, 2, 1, 0, 0), row(1, 1, 3, 0, 1, 0), row(1, 2, 4, 0, 0, 1)]).tracks()[1]
    assert [(cell.start, cell.end) for cell in cells] == [(0, 1.5), (1.5, 2.5), (2.5, 4)]
    assert [cell.probabilities.argmax() for cell in cells] == [0, 1, 2]


def test_a_long_video_is_kept_in_bounded_memory():
    happy = [float(second < 10_000) for second in range(20_000)]
    summary = summarised(row(1, second, second + 2, value, 1 - value, 0) for second, value in enumerate(happy))
    cells = summary.tracks()[1]
    assert len(cells) < 1500
    assert cells[0].start == 0
    assert cells[-1].end == summary.end == 20_001
    assert all(cell.end == following.start for cell, following in pairwise(cells))
    for cell in cells:
        if not cell.start - 2 <= 10_000 <= cell.end + 2:
            assert cell.probabilities.tolist() == pytest.approx([float(cell.end < 10_000), float(cell.end > 10_000), 0])


def test_a_gap_stays_a_gap():
    rows = [row(1, second, second + 1, 1, 0, 0) for second in range(5000) if not 2000 <= second < 2500]
    cells = summarised(rows).tracks()[1]
    gaps = [(cell.end, following.start) for cell, following in pairwise(cells) if following.start > cell.end]
    assert gaps == [(2000, 2500)]


def test_of_many_faces_those_seen_longest_are_shown():
    rows = [row(track, track, track + (100 if track % 20 == 0 else 1), 1, 0, 0) for track in range(1, 200)]
    summary = summarised([*rows, row(None, 400, 402)])
    assert list(summary.tracks()) == [20, 40, 60, 80, 100, 120, 140, 160][:MOST_SHOWN]
    assert summary.faces == 199
    assert summary.end == 402


def colours(path) -> set[tuple[int, ...]]:
    pixels = np.array(Image.open(path).convert("RGB"))
    return set(map(tuple, np.unique(pixels.reshape(-1, 3), axis=0).tolist()))


def test_the_picture_shows_each_class_in_its_colour(tmp_path):
    one = summarised([row(1, 0, 2, 0.5, 0.5, 0.0), row(1, 3, 5, 0.5, 0.5, 0)])
    draw_timeline(tmp_path / "a.png", one, LABELS, "$odd_name$ \u4e2d.mp4")
    shown = colours(tmp_path / "a.png")
    assert {(0xDD, 0x9D, 0x0B), (0x96, 0xAB, 0xB7), (0xF3, 0xF3, 0xF3)} <= shown
    width, height = Image.open(tmp_path / "a.png").size
    draw_timeline(tmp_path / "b.png", summarised([row(1, 0, 2, 1, 0, 0), row(2, 0, 2, 0, 0, 1)]), LABELS, "b.mp4")
    assert Image.open(tmp_path / "b.png").size[0] == width
    assert Image.open(tmp_path / "b.png").size[1] > height


def test_faces_stand_above_their_strip_and_the_caution_below_the_title(tmp_path):
    red = torch.zeros(3, 64, 64, dtype=torch.uint8)
    red[0] = 200
    rows = [replace(row(1, second, second + 2, 1, 0, 0), picture=red) for second in range(300)]
    draw_timeline(tmp_path / "a.png", summarised(rows), LABELS, "a.mp4", "It means nothing.")
    picture = np.array(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    is_face = (np.abs(picture - (200, 0, 0)) < 6).all(axis=2)
    columns = np.flatnonzero(is_face.sum(axis=0) > STILL - 4)
    assert 10 * STILL < len(columns) <= 25 * STILL
    assert np.diff(columns).max() > 1, "they stand apart"
    assert (0xB3, 0x26, 0x1E) in set(map(tuple, picture.reshape(-1, 3)))


def test_answers_with_a_caution_are_hatched_and_it_stands_above_the_strip(tmp_path):
    rows = [row(1, 0, 2, 1, 0, 0), row(1, 2, 4, 1, 0, 0)]
    doubtful = summarised([rows[0], replace(rows[1], cautions=("dark face",))])
    draw_timeline(tmp_path / "a.png", doubtful, LABELS, "a.mp4", warnings={1: "dark face (2.0 s)"})
    assert (0xB3, 0x26, 0x1E) in colours(tmp_path / "a.png"), "the words"
    picture = np.array(Image.open(tmp_path / "a.png").convert("RGB"))
    middle = picture.shape[1] // 2
    strip = picture[(picture[:, middle // 2] == (0xDD, 0x9D, 0x0B)).all(axis=1)]
    is_dark = (strip == 0x1C).all(axis=2)
    assert not is_dark[:, middle // 2 : middle].any(), "the first answer needs no caution"
    assert is_dark[:, middle + middle // 4 : middle + middle // 2].sum() > 100


def test_the_pictures_of_a_face_are_few_however_long_it_is_seen():
    summary = Summary()
    for second in range(10_000):
        summary.see(replace(row(1, second, second + 2, 1, 0, 0), picture=torch.zeros(3, 8, 8, dtype=torch.uint8)))
    stills = summary.stills(1)
    assert 10 < len(stills) <= 25
    assert stills[-1].seconds > 9000


def test_a_long_path_fits_above_the_picture(tmp_path):
    rows = summarised([row(1, 0, 2, 0.5, 0.5, 0.0)])
    for name, title in (("short", "b.mp4"), ("long", "a" * 300 + "/b.mp4"), ("longer", "a" * 900 + "/b.mp4")):
        draw_timeline(tmp_path / f"{name}.png", rows, LABELS, title)
    short, long, longer = (np.array(Image.open(tmp_path / f"{name}.png")) for name in ("short", "long", "longer"))
    assert np.array_equal(long, longer)
    assert not np.array_equal(long, short)
    assert (long[:, :20, :3] == short[:, :20, :3]).all()  # the edges stay free
    assert (long[:30, -20:, :3] == 255).all()


@pytest.mark.parametrize("rows", [[], [row(None, 0, 2)], [row(1, 0, 0, 1, 0, 0)]])
def test_a_video_without_anything_to_show_has_a_picture(tmp_path, rows):
    draw_timeline(tmp_path / "a.png", summarised(rows), LABELS, "a.mp4")
    assert Image.open(tmp_path / "a.png").size[0] > 1000


@pytest.mark.filterwarnings("error")
def test_any_name_of_a_class_is_drawn(tmp_path: Path) -> None:
    labels = ["_a", "$x$", "$\\frac", "\u4e2d\u6587", "x" * 500]
    shares = [dict(zip(labels, line, strict=True)) for line in np.eye(5).tolist()]
    summary = summarised(Row("a.mp4", 1, 2 * i, 2 * i + 2, labels[i], shares[i], 1.0) for i in range(5))
    draw_timeline(tmp_path / "a.png", summary, labels, "$title")
    with Image.open(tmp_path / "a.png") as picture:
        assert max(picture.size) < 1500


def test_of_many_classes_the_most_probable_are_drawn(tmp_path: Path) -> None:
    labels = [f"class {index}" for index in range(1000)]
    rows = []
    for second in range(20):
        shares = np.full(1000, 0.4 / 998)
        shares[[3, 700]] = (0.6, 0.0) if second < 10 else (0.0, 0.6)
        rows.append(Row("a.mp4", 1, second, second + 1, "", dict(zip(labels, shares, strict=True)), 1.0))
    summary = summarised(rows)
    places, names = drawn_classes(summary.tracks(), labels)
    assert {"class 3", "class 700", "990 others"} <= {*names}
    assert len(names) == 11
    assert names[places[3]] == "class 3"
    assert sorted(set(places)) == list(range(11))
    draw_timeline(tmp_path / "a.png", summary, labels, "title")
    with Image.open(tmp_path / "a.png") as picture:
        assert max(picture.size) < 1500
