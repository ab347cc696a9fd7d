"""Predictions in shards: the same on any ranks, with every clip once, and nothing lost or repeated."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import chdir
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch
from jsonargparse import Namespace
from pyarrow import parquet

from peclip.data.manifest import Manifest
from peclip.errors import InputError
from peclip.train.callbacks.predictions import as_table
from peclip.train.evaluation import Outputs
from peclip.train.runs.shards import Prediction, ShardFolder, check_shards_option
from tests.processes import AtCall, in_a_process, send
from tests.ranked import in_ranks
from tests.runs import LABELS, run
from tests.trees import write_clip


@pytest.fixture(scope="module")
def options(tiny_run):
    """The 18 clips in shards of 4, the last of 2, in batches of 3 and 1."""
    batches = ("--data.predict", "all", "--data.eval_batch_size", "3")
    return ["predict", "--ckpt_path", str(tiny_run), *batches, "--shards", "shards", "--clips_per_shard", "4"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, options):
    """The folder of a prediction by one process, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    with chdir(folder):
        result = run(*options)
    assert (result.status, result.err) == (0, "")
    return folder / "shards", result.out


def write_clips(folder, count, unreadable):
    """Write numbered clips, some of which cannot be read, and clips.csv, their manifest."""
    for number in range(count):
        write_clip(folder / f"{number}.mp4", number)
    for number in unreadable:
        (folder / f"{number}.mp4").write_bytes(b"no video")
    (folder / "clips.csv").write_text("path\n" + "".join(f"{number}.mp4\n" for number in range(count)))


def shards_of(folder):
    """The shards that exist, in order."""
    return sorted(folder.glob("shard-*.parquet"))


def union(folder):
    """The rows of all shards."""
    return [row for shard in shards_of(folder) for row in parquet.ParquetFile(shard).read().to_pylist()]


def identity(path):
    """Return the properties of a file that change when it is written again."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def sent(tmp_path, options, number):
    """Predict until the seventh batch, where the process gets a signal; the one before it is not looked at yet."""
    act = partial(send, number)
    return in_a_process(tmp_path, options, AtCall("peclip.train.module:PEClipModule.predict_step", 7, act))


# --- what is there ---


def test_all_shards_together_are_predictions_csv(whole, options, tmp_path, monkeypatch):
    folder, said = whole
    assert [len(parquet.ParquetFile(shard).read()) for shard in shards_of(folder)] == [4, 4, 4, 4, 2]
    assert {path.name for path in folder.iterdir()} - {shard.name for shard in shards_of(folder)} == {
        "shards.json",
        "config.yaml",
    }
    assert said.endswith("18 clips in 5 shards: shards\n")
    monkeypatch.chdir(tmp_path)
    assert run(*options[:-4], "--out", "predicted").status == 0
    with open("predicted/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = union(folder)
    assert list(found[0]) == list(rows[0]) == ["path", "predicted", *LABELS]
    for one, other in zip(found, rows, strict=True):
        assert (one["path"], one["predicted"]) == (other["path"], other["predicted"])
        assert [one[label] for label in LABELS] == pytest.approx([float(other[label]) for label in LABELS], abs=2e-6)


def test_two_ranks_write_the_same_shards(whole, options, tmp_path):
    assert [(rank.status, rank.err) for rank in in_ranks(tmp_path, options, 2)] == [(0, "")] * 2
    assert union(tmp_path / "shards") == union(whole[0])
    assert (tmp_path / "shards/shards.json").read_bytes() == (whole[0] / "shards.json").read_bytes()


def test_start_and_end_are_columns_where_the_manifest_has_them(tiny_run, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = next(tiny_data.parent.rglob("*.mp4"))
    (tmp_path / "cut.csv").write_text(f"path,start,end\n{clip},0.04,\n{clip},,0.08\n")
    options = ("--data.manifest", "cut.csv", "--data.allow_outside", "true", "--shards", "shards")
    result = run("predict", "--ckpt_path", tiny_run, *options)
    assert (result.status, result.err) == (0, "")
    assert [(row["start"], row["end"]) for row in union(tmp_path / "shards")] == [(0.04, None), (None, 0.08)]


def test_skipped_clips_are_omitted_and_counted(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path, 6, unreadable=(2, 3, 4))
    options = (
        "--data.manifest",
        "clips.csv",
        "--data.on_error",
        "skip",
        "--shards",
        "shards",
        "--clips_per_shard",
        "2",
    )
    result = run("predict", "--ckpt_path", tiny_run, *options)
    assert (result.status, result.err) == (0, "")
    assert result.out.endswith("3 clips in 3 shards (3 were skipped): shards\n")
    assert [len(parquet.ParquetFile(shard).read()) for shard in shards_of(tmp_path / "shards")] == [2, 0, 1]
    assert [row["path"] for row in union(tmp_path / "shards")] == ["0.mp4", "1.mp4", "5.mp4"]
    with open("shards/skipped.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["2.mp4", "3.mp4", "4.mp4"]


def test_a_restart_whose_missing_shards_have_no_readable_clip_ends_as_one_process_does(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path, 4, unreadable=(3,))
    skipping = (
        "--data.manifest",
        "clips.csv",
        "--data.on_error",
        "skip",
        "--shards",
        "shards",
        "--clips_per_shard",
        "1",
    )
    assert run("predict", "--ckpt_path", tiny_run, *skipping).status == 0
    Path("shards/shard-00003.parquet").unlink()  # of a finished prediction, as a copy may lack it
    result = run("predict", "--ckpt_path", tiny_run, *skipping)
    assert (result.status, result.err) == (0, "")
    assert "Resuming in shards: 1 of 4 shards are missing" in result.out
    assert result.out.endswith("3 clips in 4 shards (1 were skipped): shards\n")
    assert len(shards_of(Path("shards"))) == 4


# --- interrupted ---


@pytest.mark.slow
def test_a_killed_prediction_resumes_with_another_number_of_ranks(whole, options, tmp_path):
    assert sent(tmp_path, options, signal.SIGKILL)[0] == -signal.SIGKILL
    folder = tmp_path / "shards"
    before = {path: identity(path) for path in shards_of(folder)}
    assert [path.name for path in before] == ["shard-00000.parquet", "shard-00001.parquet"]
    (folder / ".shard-00002.1.parquet").write_bytes(b"half")
    ranks = in_ranks(tmp_path, [*options, "--data.num_workers", "1"], 2)
    assert [(rank.status, rank.err) for rank in ranks] == [(0, "")] * 2
    assert {path: identity(path) for path in before} == before
    assert union(folder) == union(whole[0])
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole[0].iterdir()}


def test_a_prediction_that_is_asked_to_end_resumes(whole, options, tmp_path, monkeypatch):
    status, err = sent(tmp_path, options, signal.SIGTERM)
    assert (status, err) == (143, "peclip: asked to end: resume with the same command\n")
    assert 0 < len(shards_of(tmp_path / "shards")) < 5
    monkeypatch.chdir(tmp_path)
    result = run(*options)
    assert "Resuming in shards: 3 of 5 shards are missing\n" in result.out
    assert union(tmp_path / "shards") == union(whole[0])


def test_a_finished_prediction_says_so_and_is_kept(whole, options, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    before = {path: identity(path) for path in whole[0].iterdir()}
    result = run(*options)
    assert (result.status, result.err) == (0, "")
    assert result.out == "Nothing to predict, all shards exist: 18 clips in 5 shards: shards\n"
    assert {path: identity(path) for path in whole[0].iterdir()} == before


def test_another_prediction_is_refused_in_one_line_and_nothing_changes(whole, options, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    before = {path: identity(path) for path in whole[0].parent.rglob("*")}
    for name, other in (("--clips_per_shard", "5"), ("--model.calibrate", "false")):
        result = run(*options, name, other)
        assert result.status == 2
        (line,) = result.err.splitlines()
        assert (
            f"shards was begun with another {name.replace('--model', 'model')}: use the same, or name another folder"
            in line
        )
    assert {path: identity(path) for path in whole[0].parent.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clips_per_shard": 0}, "clips_per_shard is 0, expected at least 1"),
        ({"trainer": Namespace(limit_predict_batches=2, fast_dev_run=False)}, "--shards predicts all clips"),
        ({"trainer": Namespace(limit_predict_batches=None, fast_dev_run=True)}, "--shards predicts all clips"),
        ({"shards": "."}, "holds other files than predictions in shards: name a new folder"),
        ({"shards": "note.txt"}, "note.txt is a file: name a folder"),
        ({"out": "."}, "out . is not empty: name a new one"),
    ],
)
def test_options_that_cannot_be_are_refused(change, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("mine")
    options = {
        "shards": "new",
        "out": None,
        "clips_per_shard": 4,
        "trainer": Namespace(limit_predict_batches=None, fast_dev_run=False),
    }
    check_shards_option(Namespace(**options), first=True)
    with pytest.raises(InputError, match=said):
        check_shards_option(Namespace(**options | change), first=True)


def test_a_label_that_is_the_name_of_another_column_has_a_column_of_its_own():
    clips = Manifest(pd.DataFrame({"path": ["a", "b"], "start": [0.5, 1.0]}), Path("clips"), "clips")
    outputs = Outputs(torch.tensor([0, 1]), torch.tensor([[0.0, 100.0, 0.0], [0.0, 0.0, 100.0]]))
    table = as_table(clips, ["path", "fear", "start"], outputs)
    assert table.column_names == ["path", "start", "predicted", "path_", "fear", "start_"]
    assert table["predicted"].to_pylist() == ["fear", "start"]
    assert table["start_"].to_pylist() == pytest.approx([0, 1])


# --- the folder ---

MADE_OF = Prediction(clips=5, manifest="1", clips_per_shard=2, labels=["a"], num_frames=1, precision="1", model="1")


def folder_with(path, shards=(0, 1, 2), **changes):
    folder = ShardFolder(path, replace(MADE_OF, **changes))
    folder.begin()
    for shard in shards:
        folder.write(shard, pa.table({"path": [str(clip) for clip in folder.clips_of(shard)] * 100}))
    return folder


def test_every_clip_is_in_one_shard(tmp_path):
    folder = folder_with(tmp_path)
    assert [clip for shard in folder.shards for clip in folder.clips_of(shard)] == list(range(5))
    assert folder.begin() == []


@pytest.mark.parametrize("name", [field.name for field in fields(MADE_OF)])
def test_a_folder_begun_with_something_else_is_refused(name, tmp_path):
    folder_with(tmp_path)
    with pytest.raises(InputError, match=r"was begun with (an)?other .*: use the same, or name another folder"):
        ShardFolder(tmp_path, replace(MADE_OF, **{name: 7}))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"complete": 1}', b'{"complete": true}'),
        *(b'{"complete": true, "rows": %b}' % rows for rows in (b'"5"', b"[]", b"1e999", b"Infinity", b"null", b"2.5")),
    ],
)
def test_a_damaged_state_is_refused(content, tmp_path):
    folder_with(tmp_path)
    (tmp_path / "shards.json").write_bytes(content)
    with pytest.raises(InputError, match=r"shards\.json.*: remove .*, or name another folder with --shards") as refused:
        ShardFolder(tmp_path, MADE_OF)
    assert "\n" not in str(refused.value)


def damage(path, how):
    content = path.read_bytes()
    if how == "cut off":
        path.write_bytes(content[:-10])
    elif how == "a byte flipped":
        path.write_bytes(content[:60] + bytes([content[60] ^ 255]) + content[61:])
    elif how == "of another kind":
        path.write_bytes(b"hello")
    elif how == "of another shard":
        path.write_bytes((path.parent / "shard-00000.parquet").read_bytes())
    else:
        folder_with(path.parent / "other", model=2)
        path.write_bytes((path.parent / "other" / path.name).read_bytes())


@pytest.mark.parametrize(
    "how", ["cut off", "a byte flipped", "of another kind", "of another shard", "of another prediction"]
)
def test_a_damaged_or_foreign_shard_is_named_set_aside_and_missing(how, tmp_path, capsys):
    folder_with(tmp_path)
    damage(tmp_path / "shard-00001.parquet", how)
    assert ShardFolder(tmp_path, MADE_OF).begin() == [1]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"peclip: warning: {tmp_path / 'shard-00001.parquet'}: ")
    assert line.endswith("it is shard-00001.aside now, its clips are predicted again")
    assert (tmp_path / "shard-00001.aside").exists()


@pytest.mark.parametrize("how", ["cut off", "a byte flipped", "of another prediction", "a folder", "of other rows"])
def test_a_finished_prediction_is_so_only_while_its_shards_are_whole(how, tmp_path, capsys):
    folder = folder_with(tmp_path)
    folder.end()
    shard = tmp_path / "shard-00001.parquet"
    if how == "a folder":
        shard.unlink()
        shard.mkdir()
    elif how == "of other rows":
        folder.write(1, pa.table({"path": ["2"]}))
    else:
        damage(shard, how)
    again = ShardFolder(tmp_path, MADE_OF)
    assert (again.rows, capsys.readouterr().err) == (None, "")  # other ranks look at the same shards
    assert again.begin() == ([] if how == "of other rows" else [1])


def test_a_full_disk_is_one_line_and_leaves_the_finished_shards(tmp_path, monkeypatch):
    folder = folder_with(tmp_path, shards=(0,))
    before = {path: identity(path) for path in tmp_path.iterdir()}

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        InputError, match=r"shard-00001\.parquet cannot be written: No space left on device; .* Free some space"
    ):
        folder.write(1, pa.table({"path": ["a"]}))
    assert {path: identity(path) for path in tmp_path.iterdir()} == before


def test_the_state_tells_what_is_there(tmp_path):
    folder = folder_with(tmp_path)
    folder.end()
    state = json.loads((tmp_path / "shards.json").read_text())
    assert (state["clips"], state["rows"], state["complete"]) == (5, 500, True)
    assert ShardFolder(tmp_path, MADE_OF).rows == 500
    shards_of(tmp_path)[1].unlink()
    assert ShardFolder(tmp_path, MADE_OF).rows is None


# --- the command as it is given ---


@pytest.mark.stress
def test_two_processes_started_by_the_command(whole, options, tmp_path):
    ranks = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    command = [sys.executable, "-m", "peclip", *options, *ranks]
    result = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("18 clips in 5 shards: shards\n")
    assert union(tmp_path / "shards") == union(whole[0])
