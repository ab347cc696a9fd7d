"""Votes of annotators beside a release, as csv and as workbook, become soft labels."""

import csv
import sys
import zipfile

import numpy as np
import pytest

from peclip.data.benchmarks import prepare, read_benchmark
from peclip.data.benchmarks.votes import read_votes
from peclip.data.manifest import Manifest
from peclip.data.soft_labels import soft_targets
from peclip.errors import InputError
from tests.lacking import needs
from tests.trees import DFEW_ORDER, MAFW_ORDER, dfew_tree, mafw_tree

DFEW_HEADER = ["1happy", "2sad", "3neutral", "4angry", "5surprise", "6disgust", "7fear", "order", "label"]


def votes_of(clips, classes, most=6, all_votes=10):
    """Votes for the label of each clip, the rest for the class after it."""
    for number in range(1, clips + 1):
        label = (number - 1) % classes
        yield [
            most if place == label else all_votes - most if place == (label + 1) % classes else 0
            for place in range(classes)
        ]


def rows_of_dfew():
    return [[*DFEW_HEADER], *([*votes, number, 0] for number, votes in enumerate(votes_of(14, 7), start=1))]


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return
    book = pytest.importorskip("openpyxl", reason=needs("openpyxl")).Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


@pytest.fixture(scope="module")
def dfew(tmp_path_factory):
    return dfew_tree(tmp_path_factory.mktemp("dfew"))


@pytest.fixture
def table(dfew):
    path = dfew / "Annotation/annotation.csv"
    write(path, rows_of_dfew())
    yield path
    path.unlink()


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_the_ten_votes_of_dfew_are_soft_labels(dfew, suffix, tmp_path):
    path = dfew / f"Annotation/annotation{suffix}"
    write(path, rows_of_dfew())
    prepare("dfew", dfew, tmp_path / "dfew.csv", votes="true")
    path.unlink()
    clips = Manifest.read(tmp_path / "dfew.csv", allow_outside=True)
    expected = {label: [0.0] * 7 for label in DFEW_ORDER}
    for place, label in enumerate(DFEW_ORDER):
        expected[label][place], expected[label][(place + 1) % 7] = 0.6, 0.4
    assert np.allclose(soft_targets(clips, DFEW_ORDER), [expected[label] for label in clips.table["label"]])


def test_the_eleven_annotators_of_mafw_are_soft_labels(tmp_path):
    root = mafw_tree(tmp_path / "mafw")
    votes = votes_of(22, 11, most=8, all_votes=11)
    write(
        root / "labels/annotation.csv",
        [["clip", *MAFW_ORDER], *([f"{n:05d}.mp4", *row] for n, row in enumerate(votes, 1))],
    )
    clips = read_benchmark("mafw", root, votes="true")
    assert np.allclose(soft_targets(clips, clips.labels).max(axis=1), 8 / 11)
    assert not any(name.startswith("p_") for name in read_benchmark("mafw", root).table)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[3].__setitem__(1, -1), "line 4: column 2sad is '-1', expected a number of votes"),
        (lambda rows: rows[3].__setitem__(1, "two"), "line 4: column 2sad is 'two', expected a number of votes"),
        (lambda rows: rows[3].__setitem__(7, "x"), "line 4: order is 'x', expected the number of a clip"),
        (lambda rows: rows[3].__setitem__(7, 1), "line 4: duplicate clip 1, first in line 2"),
        (lambda rows: rows[3].__setitem__(slice(0, 7), [0] * 7), "line 4: clip 00003 has no vote"),
        (lambda rows: rows[0].__setitem__(6, "bored"), "line 1: expected a column for the votes for fear"),
        (lambda rows: rows[0].__setitem__(7, "x"), "line 1: expected a column for the clip (order)"),
        (
            lambda rows: [row.__setitem__(7, row[7] + 99) for row in rows[1:]],
            "is not about these clips, none of the clips has votes",
        ),
        (
            lambda rows: rows[0].__setitem__(slice(0, 7), DFEW_HEADER[1:7] + DFEW_HEADER[:1]),
            "is not about these clips, 14 of 14",
        ),
    ],
)
def test_a_table_that_is_not_of_these_clips_is_refused_with_line_and_column(dfew, table, change, says):
    rows = rows_of_dfew()
    change(rows)
    write(table, rows)
    with pytest.raises(InputError) as error:
        read_benchmark("dfew", dfew, votes="true")
    assert str(error.value).startswith(f"{table} {says}".replace(" is not about", ": is not about"))


def test_clips_without_votes_are_counted_and_labels_against_the_votes_too(dfew, table):
    rows = rows_of_dfew()
    rows[2][:3] = [6, 4, 0]
    write(table, rows[:-3])
    notes = read_benchmark("dfew", dfew, votes="true").notes
    assert notes[1:] == (
        "3 of 14 clips have no votes in annotation.csv",
        "1 labels have fewer votes in annotation.csv than another one",
    )


def test_without_votes_the_place_of_the_file_is_said(dfew):
    with pytest.raises(InputError, match=r"expected Annotation/annotation.xlsx of the release"):
        read_benchmark("dfew", dfew, votes="true")


def test_what_reads_workbooks_is_said_where_it_is_missing(dfew, monkeypatch):
    path = dfew / "Annotation/annotation.xlsx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"pip install 'peclip\[votes\]', or save the table as annotation.csv"):
        read_benchmark("dfew", dfew, votes="true")
    path.unlink()


def test_a_damaged_workbook_is_refused(dfew):
    pytest.importorskip("openpyxl", reason=needs("openpyxl"))
    path = dfew / "Annotation/annotation.xlsx"
    write(path, rows_of_dfew())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is not a workbook, or a damaged one"):
        read_benchmark("dfew", dfew, votes="true")
    path.unlink()


def damaged(path, target, how):
    """Copy a workbook with damage: a part cut, a part with the bytes of others, or another compression than there is."""
    with zipfile.ZipFile(path) as opened:
        parts = {name: opened.read(name) for name in opened.namelist()}
    name = "xl/worksheets/sheet1.xml"
    if how == "cut":
        parts[name] = parts[name][: len(parts[name]) // 2]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as written:
        for part, content in parts.items():
            written.writestr(part, content)
        info = written.getinfo(name)
    content = bytearray(target.read_bytes())
    data = info.header_offset + 30 + len(name)
    if how == "bytes":
        content[data : data + 20] = b"\xff" * 20
    if how == "compression":
        central = content.rindex(name.encode()) - 46
        content[info.header_offset + 8 : info.header_offset + 10] = b"\x63\x00"
        content[central + 10 : central + 12] = b"\x63\x00"
    target.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "bytes", "compression"])
def test_a_damaged_workbook_is_one_line(how, tmp_path):
    write(tmp_path / "a/whole.xlsx", rows_of_dfew())
    assert len(read_votes(tmp_path / "a/whole.xlsx", DFEW_ORDER).clips) == 14
    damaged(tmp_path / "a/whole.xlsx", tmp_path / "bad.xlsx", how)
    with pytest.raises(
        InputError, match=r"bad\.xlsx: is not a workbook, or a damaged one \(.+\): copy it again"
    ) as error:
        read_votes(tmp_path / "bad.xlsx", DFEW_ORDER)
    assert "\n" not in str(error.value)
