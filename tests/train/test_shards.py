"""Predictions in parts: the same whoever makes them, with every clip once, and nothing lost or done twice."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import chdir
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from jsonargparse import Namespace
from peclip.train.part_writer import PartWriter
from peclip.train.parts import WORDS, PartFolder, check_prediction
from pyarrow import parquet

from peclip.errors import InputError
from peclip.train.part_writer import PartWriter
from peclip.train.parts import WORDS, PartFolder, check_prediction
from tests.processes import AtCall, in_a_process, send
from tests.ranked import in_ranks
from tests.runs import LABELS, run
from tests.trees import write_clip


@pytest.fixture(scope="module")
def options(tiny_run):
    """The 18 clips in parts of 4, the last of 2, in batches of 3 and 1."""
    batches = ("--data.predict", "all", "--data.eval_batch_size", "3")
    return ["predict", "--ckpt_path", str(tiny_run), *batches, "--parts", "parts", "--clips_per_part", "4"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, options):
    """The folder of a prediction by one process, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    with chdir(folder):
        result = run(*options)
    assert (result.status, result.err) == (0, "")
    return folder / "parts", result.out


def parts_of(folder):
    """The parts that are there, in order."""
    return sorted(folder.glob("part-*.parquet"))


def union(folder):
    """The rows of all parts."""
    return [row for part in parts_of(folder) for row in parquet.ParquetFile(part).read().to_pylist()]


def identity(path):
    """What changes when a file is written again."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def sent(tmp_path, options, number):
    """Predict until the sixth batch, where the process gets a signal."""
    act = partial(send, number)
    return in_a_process(tmp_path, options, AtCall("peclip.train.module:PEClipModule.predict_step", 6, act))


# --- what is there ---


def test_all_parts_together_are_predictions_csv(whole, options, tmp_path, monkeypatch):
    folder, said = whole
    assert [len(parquet.ParquetFile(part).read()) for part in parts_of(folder)] == [4, 4, 4, 4, 2]
    assert {path.name for path in folder.iterdir()} - {part.name for part in parts_of(folder)} == {
        "parts.json",
        "config.yaml",
    }
    assert said.endswith("18 clips in 5 parts: parts\n")
    monkeypatch.chdir(tmp_path)
    assert run(*options[:-4]).status == 0
    with open("runs/tiny/version_0/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = union(folder)
    assert list(found[0]) == list(rows[0]) == ["path", "predicted", *LABELS]
    for one, other in zip(found, rows, strict=True):
        assert (one["path"], one["predicted"]) == (other["path"], other["predicted"])
        assert [one[label] for label in LABELS] == pytest.approx([float(other[label]) for label in LABELS], abs=2e-6)


def test_two_ranks_write_the_same_parts(whole, options, tmp_path):
    assert [(rank.status, rank.err) for rank in in_ranks(tmp_path, options, 2)] == [(0, "")] * 2
    assert union(tmp_path / "parts") == union(whole[0])
    assert (tmp_path / "parts/parts.json").read_bytes() == (whole[0] / "parts.json").read_bytes()


def test_start_and_end_are_columns_where_the_manifest_has_them(tiny_run, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = next(tiny_data.parent.rglob("*.mp4"))
    (tmp_path / "cut.csv").write_text(f"path,start,end\n{clip},0.04,\n{clip},,0.08\n")
    options = ("--data.manifest", "cut.csv", "--data.allow_outside", "true", "--parts", "parts")
    result = run("predict", "--ckpt_path", tiny_run, *options)
    assert (result.status, result.err) == (0, "")
    assert [(row["start"], row["end"]) for row in union(tmp_path / "parts")] == [(0.04, None), (None, 0.08)]


def test_skipped_clips_are_left_out_and_counted(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        write_clip(tmp_path / f"{number}.mp4", number)
    for number in (2, 3, 4):
        (tmp_path / f"{number}.mp4").write_bytes(b"no video")
    (tmp_path / "clips.csv").write_text("path\n" + "".join(f"{number}.mp4\n" for number in range(6)))
    options = ("--data.manifest", "clips.csv", "--data.on_error", "skip", "--parts", "parts", "--clips_per_part", "2")
    result = run("predict", "--ckpt_path", tiny_run, *options)
    assert (result.status, result.err) == (0, "")
    assert result.out.endswith("3 clips in 3 parts (3 were skipped): parts\n")
    assert [len(parquet.ParquetFile(part).read()) for part in parts_of(tmp_path / "parts")] == [2, 0, 1]
    assert [row["path"] for row in union(tmp_path / "parts")] == ["0.mp4", "1.mp4", "5.mp4"]
    with open("parts/skipped.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["2.mp4", "3.mp4", "4.mp4"]


# --- interrupted ---


def test_a_killed_prediction_goes_on_with_another_number_of_ranks(whole, options, tmp_path):
    assert sent(tmp_path, options, signal.SIGKILL)[0] == -signal.SIGKILL
    folder = tmp_path / "parts"
    before = {path: identity(path) for path in parts_of(folder)}
    assert [path.name for path in before] == ["part-00000.parquet", "part-00001.parquet"]
    (folder / ".part-00002.1.parquet").write_bytes(b"half")
    ranks = in_ranks(tmp_path, [*options, "--data.num_workers", "1"], 2)
    assert [(rank.status, rank.err) for rank in ranks] == [(0, "")] * 2
    assert {path: identity(path) for path in before} == before
    assert union(folder) == union(whole[0])
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole[0].iterdir()}


def test_a_prediction_that_is_asked_to_end_goes_on(whole, options, tmp_path, monkeypatch):
    status, err = sent(tmp_path, options, signal.SIGTERM)
    assert (status, err) == (143, "peclip: asked to end: the same command goes on\n")
    assert 0 < len(parts_of(tmp_path / "parts")) < 5
    monkeypatch.chdir(tmp_path)
    result = run(*options)
    assert "Going on in parts: 3 of 5 parts are left\n" in result.out
    assert union(tmp_path / "parts") == union(whole[0])


def test_a_finished_prediction_says_so_and_is_left_alone(whole, options, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    before = {path: identity(path) for path in whole[0].iterdir()}
    result = run(*options)
    assert (result.status, result.err) == (0, "")
    assert result.out == "Nothing is left to predict of 18 clips in 5 parts: parts\n"
    assert {path: identity(path) for path in whole[0].iterdir()} == before


def test_another_prediction_is_refused_in_one_line_and_nothing_changes(whole, options, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    before = {path: identity(path) for path in whole[0].parent.rglob("*")}
    result = run(*options, "--clips_per_part", "5")
    assert result.status == 2
    (line,) = result.err.splitlines()
    assert "parts was begun with another --clips_per_part: give the same as then, or name another folder" in line
    assert {path: identity(path) for path in whole[0].parent.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clips_per_part": 0}, "clips_per_part is 0, expected at least 1"),
        ({"trainer": Namespace(limit_predict_batches=2, fast_dev_run=False)}, "with --parts all clips are predicted"),
        ({"trainer": Namespace(limit_predict_batches=None, fast_dev_run=True)}, "with --parts all clips are predicted"),
        ({"parts": "."}, "holds something else than a prediction in parts: name a new folder"),
        ({"parts": "note.txt"}, "note.txt is a file: name a folder"),
    ],
)
def test_options_that_cannot_be_are_refused(change, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("mine")
    options = {
        "parts": "new",
        "clips_per_part": 4,
        "trainer": Namespace(limit_predict_batches=None, fast_dev_run=False),
    }
    check_prediction(Namespace(**options), first=True)
    with pytest.raises(InputError, match=said):
        check_prediction(Namespace(**options | change), first=True)


def test_a_label_that_is_the_name_of_another_column_is_refused():
    module, data = SimpleNamespace(net=SimpleNamespace(labels=["path", "fear"])), SimpleNamespace(predicted=None)
    with pytest.raises(InputError, match="the label 'path' is the name of a column of the parts: rename it"):
        PartWriter(Path("parts"), data, module, "32-true", 4)


# --- the folder ---

MADE_OF = {name: 1 for name in WORDS if name != "format"} | {"clips": 5, "clips_per_part": 2}


def folder_with(path, parts=(0, 1, 2), **changes):
    folder = PartFolder(path, MADE_OF | changes)
    folder.begin()
    for part in parts:
        folder.write(part, pa.table({"path": [str(clip) for clip in folder.clips_of(part)] * 100}))
    return folder


def test_every_clip_is_in_one_part(tmp_path):
    folder = folder_with(tmp_path)
    assert [clip for part in folder.parts for clip in folder.clips_of(part)] == list(range(5))
    assert folder.begin() == []


@pytest.mark.parametrize("name", MADE_OF)
def test_a_folder_begun_with_something_else_is_refused(name, tmp_path):
    folder_with(tmp_path)
    with pytest.raises(
        InputError, match=r"was begun with (an)?other .*: give the same as then, or name another folder"
    ):
        PartFolder(tmp_path, MADE_OF | {name: 7})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}"])
def test_a_torn_state_is_refused(content, tmp_path):
    folder_with(tmp_path)
    (tmp_path / "parts.json").write_bytes(content)
    with pytest.raises(InputError, match=r"parts\.json is torn, or not peclip's"):
        PartFolder(tmp_path, MADE_OF)


def damage(path, how):
    content = path.read_bytes()
    if how == "cut off":
        path.write_bytes(content[:-10])
    elif how == "a byte flipped":
        path.write_bytes(content[:60] + bytes([content[60] ^ 255]) + content[61:])
    elif how == "of another kind":
        path.write_bytes(b"hello")
    elif how == "of another part":
        path.write_bytes((path.parent / "part-00000.parquet").read_bytes())
    else:
        folder_with(path.parent / "other", model=2)
        path.write_bytes((path.parent / "other" / path.name).read_bytes())


@pytest.mark.parametrize(
    "how", ["cut off", "a byte flipped", "of another kind", "of another part", "of another prediction"]
)
def test_a_damaged_or_foreign_part_is_named_put_aside_and_left_to_do(how, tmp_path, capsys):
    folder_with(tmp_path)
    damage(tmp_path / "part-00001.parquet", how)
    assert PartFolder(tmp_path, MADE_OF).begin() == [1]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"peclip: warning: {tmp_path / 'part-00001.parquet'}: ")
    assert line.endswith("it is part-00001.aside now, its clips are predicted anew")
    assert (tmp_path / "part-00001.aside").exists()


def test_a_full_disk_is_one_line_and_leaves_the_finished_parts(tmp_path, monkeypatch):
    folder = folder_with(tmp_path, parts=(0,))
    before = {path: identity(path) for path in tmp_path.iterdir()}

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        InputError, match=r"part-00001\.parquet cannot be written: No space left on device; .* Make room"
    ):
        folder.write(1, pa.table({"path": ["a"]}))
    assert {path: identity(path) for path in tmp_path.iterdir()} == before


def test_the_state_tells_what_is_there(tmp_path):
    folder = folder_with(tmp_path)
    folder.end()
    state = json.loads((tmp_path / "parts.json").read_text())
    assert (state["clips"], state["rows"], state["complete"]) == (5, 500, True)


# --- the command as it is given ---


@pytest.mark.slow
def test_two_processes_started_by_the_command(whole, options, tmp_path):
    ranks = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    command = [sys.executable, "-m", "peclip", *options, *ranks]
    result = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("18 clips in 5 parts: parts\n")
    assert union(tmp_path / "parts") == union(whole[0])
