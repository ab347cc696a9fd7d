"""The printed table of an evaluation, and the cells of tables."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest

from peclip.clip_format import ClipFormat
from peclip.results.evaluation import Limited, Metrics
from peclip.results.formatting import duration, markdown_table, points, print_metrics, total
from peclip.results.scores import scores
from peclip.results.selection import Validated

LABELS = ["happiness", "sadness", "fear"]

# Truth in rows. By hand: 3 of 4 happy and 1 of 2 sad clips are right, and there is no fearful one.
RESULT = scores(np.array([[3, 1, 0], [0, 1, 1], [0, 0, 0]]), LABELS)
BARE = scores(np.array([[4, 0, 0], [2, 0, 0], [0, 0, 0]]), LABELS)


def printed(**known):
    known = {"split": "test", "selection": "validation", "trainable": 1, "parameters": 2, "scores": RESULT} | known
    with redirect_stdout(io.StringIO()) as out:
        print_metrics(Metrics(**known))
    return out.getvalue()


def test_the_table_shows_every_class_and_bare_clip_beside_it():
    text = printed(zero_shot=BARE)
    assert "Results on 6 test clips" in text
    line = {entry.split("│")[1].strip(): entry.split("│")[2:4] for entry in text.splitlines() if "│" in entry}
    cells = {name: [cell.strip() for cell in row] for name, row in line.items()}
    assert cells["WAR"] == ["66.67%", "66.67%"]
    assert cells["UAR"] == ["62.50%", "50.00%"]
    assert cells["recall happiness"] == ["75.00%", "100.00%"]
    assert cells["recall fear"] == ["no clip", "no clip"]


def test_the_title_says_what_was_special_about_the_evaluation(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = printed(limited=Limited(6, 40), clip_format=ClipFormat(num_frames=8), model_format=ClipFormat(num_frames=16))
    title = "Results on 6 test clips (limited to 6 of 40 clips; num_frames 8, but the model was trained with 16)"
    assert title in " ".join(text.split())
    assert "(" not in printed(clip_format=ClipFormat(), model_format=None)


@pytest.mark.parametrize("selection", ["validation", "test", "none"])
def test_only_a_selection_on_test_clips_is_called_optimistic(selection):
    assert ("so the test result is optimistic" in printed(selection=selection)) == (selection == "test")


@pytest.mark.parametrize("selection", ["validation", "test", "none"])
def test_results_on_the_validation_clips_are_optimistic_where_these_choose_the_checkpoint(selection):
    text = printed(split="validation", selection=selection)
    assert ("optimistic" in text) == (selection != "none")
    assert ("which also choose the checkpoint and the temperature" in text) == (selection == "validation")
    assert "add test clips" in text or selection != "validation"


def test_the_title_says_what_some_validation_clips_alone_have_chosen():
    text = printed(validated=Validated(8, 1200, ("checkpoint", "temperature")))
    assert "(checkpoint and temperature chosen on 8 of 1,200 validation clips)" in " ".join(text.split())


def test_a_markdown_cell_stays_one_cell_of_one_line():
    table = (["class", "text"], [["anger", "Brow | Lowerer.\n"]])
    assert markdown_table(table, numbers=False).splitlines() == [
        "| class | text |", "| --- | --- |", "| anger | Brow \\| Lowerer. |"
    ]  # fmt: skip
    assert markdown_table(table).splitlines()[1] == "| --- | ---: |"


def test_numbers_are_written_for_people():
    assert (points(0.0123), points(-0.01, 0.02), points()) == ("+1.23", "[-1.00, +2.00]", "")
    assert [duration(seconds) for seconds in (None, 5.04, 90, 3720)] == ["unknown", "5.0 s", "1 min 30 s", "1 h 02 min"]
    assert (total([1.0, 2.0]), total([1.0, None])) == (3.0, None)
