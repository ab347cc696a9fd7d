"""A night over many videos: finished ones survive any end of the run, and the same command resumes."""

import csv
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from peclip.errors import InputError
from peclip.inference import answers, lay_out, timeline
from peclip.inference.answers import DONE, AnswerFolder
from peclip.inference.sources import ANNOTATED, ANSWERS
from tests.inference.nights import OPTIONS, WITH_SUBTITLES, content
from tests.inference.test_timeline import LABELS, SETTINGS
from tests.media import write_video
from tests.runs import run

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), InputError("broken")])
def test_what_is_finished_survives_and_the_same_command_gives_the_whole(night, tmp_path, monkeypatch, error):
    monkeypatch.chdir(tmp_path)
    files = ["a.mp4", "b.mp4", "c.mp4"]
    with pytest.raises(type(error)):
        night(files, "b.mp4", error)
    with (tmp_path / "out/timeline.csv").open() as table:
        assert [row["file"] for row in csv.DictReader(table)] == ["a.mp4"] * 2
    assert json.loads((tmp_path / "out/timeline.json").read_text())["rows"][1]["end"] == 3
    assert (tmp_path / "out/a.png").exists()
    assert not list((tmp_path / "out" / ANSWERS).glob(".peclip-*"))
    assert night(files) == ["b.mp4", "c.mp4"]
    resumed = content(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "before")
    assert night(files) == files
    assert content(tmp_path / "out") == resumed, "in the order of the command"
    assert night(files) == []


def test_a_killed_run_leaves_finished_videos_and_its_draft_is_removed(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AnswerFolder, "_publish", lambda self: None)  # a kill comes before
    night(["a.mp4"])
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    draft = tmp_path / "out" / ANSWERS / ".peclip-draft"
    draft.mkdir()
    assert night(["a.mp4", "b.mp4"]) == ["b.mp4"]
    assert not draft.exists()
    assert len(json.loads((tmp_path / "out/timeline.json").read_text())["rows"]) == 4


def full_disk(wrapped):
    """The error of a full disk: of a table, or of a picture, which names its temporary place."""
    error = OSError(errno.ENOSPC, "No space left on device")
    if not wrapped:
        return error
    picture = InputError("out/.videos/.peclip-x/b.png cannot be written: No space left on device")
    picture.__cause__ = error
    return picture


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_ends_the_run_in_one_line_and_keeps_what_is_finished(night, tmp_path, monkeypatch, wrapped):
    monkeypatch.chdir(tmp_path)
    line = rf"^out {tmp_path / 'out'}: cannot be written \(No space left on device\); finished videos are kept"
    with pytest.raises(InputError, match=line) as found:
        night(["a.mp4", "b.mp4"], "b.mp4", full_disk(wrapped))
    assert answers.ends_run(found.value)
    assert not answers.ends_run(InputError("broken"))
    assert night(["a.mp4", "b.mp4"]) == ["b.mp4"]


@pytest.mark.parametrize("name", ["write_format", "draw_timeline"])
def test_where_the_last_file_of_a_video_cannot_be_written_nothing_of_it_is_left(night, tmp_path, monkeypatch, name):
    def full(*_):
        raise full_disk(wrapped=name == "draw_timeline")

    night(["a.mp4"], options=WITH_SUBTITLES)
    monkeypatch.setattr(timeline, name, full)
    line = rf"^out {tmp_path / 'out'}: cannot be written \(No space left on device\); finished videos are kept"
    with pytest.raises(InputError, match=line) as found:
        night(["a.mp4", "b.mp4"], options=WITH_SUBTITLES)
    assert answers.ends_run(found.value)
    assert sorted(os.listdir(tmp_path / "out" / ANSWERS)) == ["a", "options.json", "tables.json"]
    assert [row["file"] for row in csv.DictReader((tmp_path / "out/summary.csv").open())] == ["a.mp4"]


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out.csv").touch()
    for folder in (tmp_path / "out.csv", tmp_path / "out.csv" / "below"):
        with (
            pytest.raises(InputError, match=r"out .*: .*out\.csv is a file"),
            AnswerFolder(folder, LABELS, "", OPTIONS),
        ):
            pass
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_place_that_cannot_be_written_is_named():
    with (
        pytest.raises(InputError, match="out /proc/results: cannot be written"),
        AnswerFolder(Path("/proc/results"), LABELS, "", OPTIONS),
    ):
        pass


def test_a_video_whose_files_do_not_reach_the_disk_is_not_finished(night, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fail_from_now(folder, stem):
        monkeypatch.setattr(os, "fsync", full)
        monkeypatch.setattr(answers, "write_json", lambda path, content: path.write_text(json.dumps(content)))

    with pytest.raises(InputError, match=r"out .*: cannot be written \(No space left on device\)"):
        night(["a.mp4"], beside=fail_from_now)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert night(["a.mp4"]) == ["a.mp4"]


def test_videos_of_one_name_have_pictures_of_their_own_and_changed_ones_are_read_again(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    night(["a.mp4"])
    night(["a.mp4", "x/a.mp4"])
    assert {"a.png", "a-2.png"} <= set(os.listdir(tmp_path / "out"))
    (tmp_path / "a.mp4").write_bytes(b"longer")
    assert night(["a.mp4", "x/a.mp4"]) == ["a.mp4"]
    assert {"a.png", "a-2.png"} <= set(os.listdir(tmp_path / "out"))


def test_answers_are_never_mixed(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    night(["a.mp4"])
    with pytest.raises(InputError, match=r"holds answers with window 2\.0, not 4\.0: name another folder$"):
        night(["a.mp4"], options=replace(OPTIONS, settings=replace(SETTINGS, window=4.0)))
    with pytest.raises(InputError, match=r"holds answers about 'a\.mp4', which this command does not name"):
        night(["b.mp4"])
    (tmp_path / "out" / ANSWERS / "options.json").unlink()
    with pytest.raises(InputError, match="but no note of how it was made"):
        night(["a.mp4"])


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", '{"rows": 1e999}', '{"file": [], "stem": 1}', "{"])
@pytest.mark.parametrize("name", ["options.json", "a/done.json", "tables.json"])
def test_a_note_that_peclip_has_not_written_is_no_traceback(night, tmp_path, name, content):
    night(["a.mp4"])
    (tmp_path / "out" / ANSWERS / name).write_text(content)
    if name != "options.json":
        assert night(["a.mp4"]) == (["a.mp4"] if name == "a/done.json" else [])
        return
    with pytest.raises(
        InputError, match=r"options\.json: is damaged: name another folder|holds answers with"
    ) as refused:
        night(["a.mp4"])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("same", [5, "x", [1], [[1, []]], [[1, 2, 3]]])
def test_options_of_another_kind_are_named_as_they_are(night, tmp_path, same):
    night(["a.mp4"])
    (tmp_path / "out" / ANSWERS / "options.json").write_text(json.dumps(OPTIONS.to_plain() | {"same": same}))
    with pytest.raises(InputError, match=r"holds answers with same .*, not none: name another folder"):
        night(["a.mp4"])


def test_a_run_that_finds_another_one_there_leaves_its_folder_alone(night, tmp_path, monkeypatch):
    def busy(folder, message):
        raise InputError(message)

    with AnswerFolder(tmp_path / "out", LABELS, "", OPTIONS):
        with monkeypatch.context() as other:  # the lock is that of a process
            other.setattr(answers, "locked", busy)
            with pytest.raises(InputError, match="another run is writing there"):
                night(["a.mp4"])
        assert (tmp_path / "out" / ANSWERS / "options.json").exists()
    assert not (tmp_path / "out").exists(), "nothing was finished"


def test_the_command_resumes_and_names_the_option_that_differs(checkpoint, tmp_path):
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", 10)
    command = ("recognize", tmp_path / "a.mp4", "--model", checkpoint, "--faces", "none", "--out", tmp_path / "out")
    assert run(*command).status == 0
    result = run(*command[:2], tmp_path / "b.mp4", *command[2:])
    assert result.status == 0, result.err
    assert "1 of 2 videos are finished" in result.err
    assert "2 faces in 2 videos, 2 rows" in result.out
    note = tmp_path / "out" / ANSWERS / "a" / DONE
    known = json.loads(note.read_text())
    del known["cautions"], known["not_followed"]  # as an earlier version left it
    note.write_text(json.dumps(known))
    result = run(*command[:2], tmp_path / "b.mp4", *command[2:])
    assert "1 of 2 videos are finished" in result.err
    assert "holds 1 video by another version of peclip, which counted no cautions: answered again\n" in result.err
    assert "cautions" in json.loads(note.read_text())
    result = run(*command, "--stride", "0.5")
    assert result.err.count("\n") == 1
    assert "holds answers with stride 1.0, not 0.5" in result.err


def test_an_address_is_refused_with_advice(checkpoint, tmp_path):
    result = run(
        "recognize", "https://example.org/a.mp4", "--model", checkpoint, "--faces", "none", "--out", tmp_path / "o"
    )
    assert result.status == 2
    assert result.err.endswith(
        "https://example.org/a.mp4: is an address: download the video first, then name its file\n"
    )
    assert not (tmp_path / "o").exists()


def test_a_video_may_have_the_name_of_the_options(night):
    assert night(["options.json.mp4"]) == ["options.json.mp4"]
    assert night(["options.json.mp4"]) == []


def test_no_name_of_a_video_leads_out_of_its_folder_or_is_too_long(night, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    names = ["a.mp4", "..mp4", "...mp4", ".peclip-b.mp4", "é" * 125 + ".mp4"]
    assert night(names) == names
    assert night(names) == []
    assert {"mine.txt", "a.png", "video.png", "video-2.png", "peclip-b.png"} <= set(os.listdir(tmp_path / "out"))


def test_videos_have_names_of_their_own_where_upper_and_lower_case_are_one(night, tmp_path):
    night(["A.mp4", "x/a.mp4"])
    assert {"A.png", "a-2.png"} <= set(os.listdir(tmp_path / "out"))


def test_tables_of_a_run_that_was_killed_while_it_wrote_them_are_written_again(night, tmp_path, monkeypatch):
    night(["a.mp4"])
    monkeypatch.setattr(lay_out, "_join_json", None)
    with pytest.raises(TypeError):
        night(["a.mp4", "b.mp4"])
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert night(["a.mp4", "b.mp4"]) == []
    assert [row["file"] for row in csv.DictReader((tmp_path / "out/summary.csv").open())] == ["a.mp4", "b.mp4"]


def test_options_that_differ_are_named_as_people_write_them(night):
    night(["a.mp4"], options=replace(OPTIONS, video=True, same={1: 1, 3: 1, 4: 4, 9: 4}))
    with pytest.raises(
        InputError, match="holds answers with same 1,3 4,9, not none, video true, not false: name another"
    ):
        night(["a.mp4"])


def test_a_folder_that_was_copied_is_resumed(night, tmp_path):
    """Its files have other times then."""
    night(["a.mp4"])
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (1, 1))
    assert night(["a.mp4", "b.mp4"]) == ["b.mp4"]


def test_a_kill_while_a_video_is_removed_blocks_nothing(night, tmp_path):
    def beside(folder, stem):
        (folder / f"{stem}{ANNOTATED}").write_text("a film")

    night(["a.mp4"], beside=beside)
    (tmp_path / "out" / ANSWERS / "a" / DONE).unlink()
    with pytest.raises(
        InputError, match=r"would replace 'a-annotated\.mp4', which somebody has changed or written: move it away"
    ):
        night(["a.mp4"], beside=lambda folder, stem: (folder / f"{stem}{ANNOTATED}").write_text("another film"))
    (tmp_path / f"out/a{ANNOTATED}").unlink()
    assert night(["a.mp4"]) == []
