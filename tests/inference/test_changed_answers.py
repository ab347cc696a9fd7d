"""Files of answers that somebody has changed or written: they are kept, and named before anything is read."""

import os
import time

import pytest

from peclip.errors import InputError
from peclip.inference import lay_out
from peclip.inference.sources import ANNOTATED, ANSWERS
from tests.inference.nights import TABLES, WITH_SUBTITLES, content

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_something_else_is_not_replaced(night, tmp_path, table):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / table).write_text("mine")
    with pytest.raises(InputError, match=rf"holds a {table}, but no note of how it was made: name another"):
        night(["a.mp4"])
    assert (tmp_path / "out" / table).read_text() == "mine"


def test_a_picture_of_something_else_and_one_that_was_changed_are_not_replaced(night, tmp_path):
    picture = tmp_path / "out/a.png"
    picture.parent.mkdir()
    for _ in range(2):
        picture.unlink(missing_ok=True)
        picture.write_text("mine")
        with pytest.raises(
            InputError, match=r"would replace 'a\.png', which somebody has changed or written: move it away"
        ):
            night(["a.mp4"])
        assert picture.read_text() == "mine"
    picture.unlink()
    assert night(["a.mp4"]) == []
    assert picture.read_bytes() == (tmp_path / "out" / ANSWERS / "a/a.png").read_bytes()


def test_what_a_changed_video_no_longer_shows_does_not_stay(night, tmp_path):
    night(["a.mp4"])
    stale = [tmp_path / "out/people/a-9.jpg", tmp_path / "out" / ANSWERS / "a/people/a-9.jpg"]
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text("a face")
    (tmp_path / "a.mp4").write_text("changed")
    assert night(["a.mp4"]) == ["a.mp4"]
    assert not any(path.exists() for path in stale)


def save(path, text, how):
    """Add to a file as editors do: in its place, or by a new one that takes its name."""
    if how == "in place":
        with path.open("a") as file:
            file.write(text)
    else:
        path.with_name("new").write_text(path.read_text() + text)
        path.with_name("new").replace(path)


@pytest.mark.parametrize("how", ["in place", "by a new file"])
def test_a_subtitle_that_somebody_corrected_is_kept(night, tmp_path, how):
    subtitle = tmp_path / "out/a.srt"
    night(["a.mp4"], options=WITH_SUBTITLES)
    save(subtitle, "corrected", how)
    with pytest.raises(
        InputError, match=r"would replace 'a\.srt', which somebody has changed or written: move it away"
    ):
        night(["a.mp4"], options=WITH_SUBTITLES)
    (tmp_path / "a.mp4").write_text("changed")
    with pytest.raises(
        InputError, match=r"would replace 'a\.srt', which somebody has changed or written: move it away"
    ):
        night(["a.mp4"], options=WITH_SUBTITLES)
    assert subtitle.read_text().endswith("corrected")
    subtitle.unlink()
    assert night(["a.mp4"], options=WITH_SUBTITLES) == []
    assert not subtitle.read_text().endswith("corrected")


def test_of_a_film_there_is_one_copy_and_one_that_somebody_cut_is_kept(night, tmp_path):
    film = tmp_path / f"out/a{ANNOTATED}"

    def beside(folder, stem):
        (folder / f"{stem}{ANNOTATED}").write_text("a film")

    night(["a.mp4"], beside=beside)
    assert film.samefile(tmp_path / "out" / ANSWERS / "a" / film.name)
    film.write_text("cut")  # in its place, so the other copy is cut, too
    os.utime(film, (time.time() + 9, time.time() + 9))
    (tmp_path / "a.mp4").write_text("changed")
    with pytest.raises(
        InputError, match=r"would replace 'a-annotated\.mp4', which somebody has changed or written: move it away"
    ):
        night(["a.mp4"], beside=beside)
    assert film.read_text() == "cut"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("how", ["in place", "by a new file"])
def test_a_table_that_somebody_changed_is_kept_and_nothing_is_read_for_it(night, tmp_path, table, how):
    night(["a.mp4"])
    save(tmp_path / "out" / table, "my note", how)
    before = content(tmp_path / "out")
    with pytest.raises(
        InputError, match=rf"would replace '{table}', which somebody has changed or written: move it away"
    ):
        night(["a.mp4", "b.mp4"], ends_at="b.mp4", error=AssertionError("it was read"))
    assert content(tmp_path / "out") == before
    (tmp_path / "out" / table).unlink()
    assert night(["a.mp4", "b.mp4"]) == ["b.mp4"]
    assert night(["a.mp4", "b.mp4"]) == []


def test_all_tables_that_were_changed_are_named_at_once_and_a_deleted_one_is_written_again(night, tmp_path):
    night(["a.mp4"])
    save(tmp_path / "out/summary.csv", "a", "in place")
    save(tmp_path / "out/segments.csv", "b", "in place")
    (tmp_path / "out/timeline.csv").unlink()
    (tmp_path / "out/frames.csv").write_text("of somebody's own")
    with pytest.raises(
        InputError,
        match=r"would replace 'segments\.csv', 'summary\.csv', which somebody has changed or written: move it away",
    ):
        night(["a.mp4"])
    for name in ("summary.csv", "segments.csv"):
        (tmp_path / "out" / name).unlink()
    assert night(["a.mp4"]) == []
    assert (tmp_path / "out/timeline.csv").exists()
    assert (tmp_path / "out/frames.csv").read_text() == "of somebody's own"


def test_what_is_edited_after_a_kill_is_kept(night, tmp_path, monkeypatch):
    night(["a.mp4"])
    monkeypatch.setattr(lay_out, "_join_json", None)
    with pytest.raises(TypeError):
        night(["a.mp4", "b.mp4"])
    save(tmp_path / "out/summary.csv", "my note", "in place")
    with pytest.raises(
        InputError, match=r"would replace 'summary\.csv', which somebody has changed or written: move it away"
    ):
        night(["a.mp4", "b.mp4"])
    assert (tmp_path / "out/summary.csv").read_text().endswith("my note")
