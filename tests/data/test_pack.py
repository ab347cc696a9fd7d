"""Packed clips are the clips of the files, frame for frame; packing resumes where it was interrupted."""

import sys
import zipfile
from subprocess import PIPE, Popen

import pytest
import torch

from peclip.data import pack as packing
from peclip.data.manifest import Manifest
from peclip.data.media.clip import every_frame, read_clip
from peclip.data.media.shard import read_header
from peclip.data.pack import Packing, pack
from peclip.errors import InputError
from tests.data.packed import CLOSE, SIZE, assert_same_clips, batches_of, shards_of
from tests.runs import run


@pytest.mark.parametrize("workers", [0, 2])
def test_training_sees_the_same_clips_and_frames_as_from_the_files(files, packed, workers):
    assert len(shards_of(packed)) >= 3
    batches = batches_of(packed / "manifest.csv", num_workers=workers)
    assert_same_clips(batches, batches_of(files.source))
    with pytest.raises(AssertionError):
        assert_same_clips(batches, batches_of(files.source, seed=1))


def test_the_manifest_keeps_order_labels_splits_and_folds(files, packed):
    table = Manifest.read(packed / "manifest.csv").table
    for column in ("label", "split", "fold"):
        assert table[column].equals(files.table[column])
    assert table[["start", "end"]].isna().all(axis=None)


def test_every_frame_of_a_clip_is_that_which_is_read_singly(files):
    for index, frames in ((1, 41), (6, 15), (7, 20)):
        clip = files.clip(index)
        every = torch.stack(
            [torch.tensor(frame) for frame in every_frame(clip.path, SIZE, start=clip.start, end=clip.end)]
        )
        assert torch.equal(every, read_clip(clip.path, frames, SIZE, start=clip.start, end=clip.end))


def test_a_packed_clip_can_be_packed_again(packed, tmp_path):
    again = pack(Manifest.read(packed / "manifest.csv"), tmp_path / "again", Packing(SIZE, quality=95))
    clip, first = (read_clip(folder / "shard-00000.zip" / "0000001", 9, SIZE) for folder in (again.root, packed))
    assert (clip.int() - first.int()).abs().max() <= CLOSE


def test_packed_clips_show_whom_the_files_show(files, packed):
    named = Manifest(files.table.assign(subject=[*"abcabca", ""]), files.source, files.root)
    pack(named, packed, Packing(SIZE, shard_size=1))  # writes the manifest alone
    assert Manifest.read(packed / "manifest.csv").table["subject"].tolist() == [*"abcabca", ""]


def test_a_shard_is_a_zip_file_of_folders_of_frames(packed, tmp_path):
    shard = shards_of(packed)[0]
    with zipfile.ZipFile(shard) as file:
        assert file.testzip() is None
        file.extractall(tmp_path)
    folder, clip = (read_clip(path / "0000001", 6, SIZE) for path in (tmp_path, shard))
    assert (folder.int() - clip.int()).abs().max() <= CLOSE


def test_packing_resumes_where_it_was_interrupted(files, packed, tmp_path, monkeypatch):
    read, out = [], tmp_path / "ended"

    def reading(path, *args, **kwargs):
        read.append(path)
        if len(read) == 6:
            raise KeyboardInterrupt
        return every_frame(path, *args, **kwargs)

    monkeypatch.setattr(packing, "every_frame", reading)
    with pytest.raises(KeyboardInterrupt):
        pack(files, out, Packing(SIZE, shard_size=1))
    done = sum(read_header(str(shard)).clips for shard in shards_of(out))
    assert 0 < done < 6
    assert not (out / "manifest.csv").exists()
    assert not list(out.glob(".*"))
    read[:] = [None] * 10
    pack(files, out, Packing(SIZE, shard_size=1))
    assert read[10:] == [files.clip(index).path for index in range(done, len(files))]
    for name in ("manifest.csv", *(shard.name for shard in shards_of(packed))):
        assert (out / name).read_bytes() == (packed / name).read_bytes()


def test_other_labels_need_no_packing_again(files, packed):
    before = [shard.stat().st_mtime_ns for shard in shards_of(packed)]
    table = files.table.assign(label="fear")
    pack(Manifest(table, files.source, files.root), packed, Packing(SIZE, shard_size=1))
    assert set(Manifest.read(packed / "manifest.csv").table["label"]) == {"fear"}
    assert [shard.stat().st_mtime_ns for shard in shards_of(packed)] == before


def test_a_removed_shard_is_packed_again_and_what_is_left_of_smaller_ones_goes(files, packed):
    shards_of(packed)[1].unlink()
    pack(files, packed, Packing(SIZE, shard_size=50))
    assert len(shards_of(packed)) == 2
    assert_same_clips(batches_of(packed / "manifest.csv"), batches_of(files.source))


@pytest.mark.parametrize(
    ("options", "says"),
    [({"size": 32}, "packed with size 48, not size 32"), ({"quality": 80}, "quality 90, not quality 80")],
)
def test_a_folder_with_other_frames_is_refused(files, packed, options, says):
    with pytest.raises(InputError, match=says):
        pack(files, packed, Packing(**{"size": SIZE, **options}))


def test_a_folder_with_other_clips_is_refused(files, packed):
    with pytest.raises(InputError, match="another manifest"):
        pack(files.select("train"), packed, Packing(SIZE))


def test_two_at_a_time_in_one_folder_are_refused(files, packed):
    code = "import sys; from pathlib import Path; from peclip.files import locked\nwith locked(Path(sys.argv[1]), 'busy'): print(flush=True); sys.stdin.read()"
    with Popen([sys.executable, "-c", code, packed], stdin=PIPE, stdout=PIPE) as other:
        other.stdout.readline()
        with pytest.raises(InputError, match="another peclip pack"):
            pack(files, packed, Packing(SIZE))
        other.communicate()


def test_a_clip_that_cannot_be_read_is_named_with_its_line(files, tmp_path):
    table = files.table.copy()
    table.loc[3, "path"] = "nowhere.mp4"
    with pytest.raises(InputError, match=r"nowhere\.mp4: .* \(clips\.csv line 5\); peclip check --full true names"):
        pack(Manifest(table, files.source, files.root), tmp_path, Packing(SIZE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["size", "quality", "shard_size", "workers"])
def test_numbers_out_of_range_are_refused(field):
    with pytest.raises(InputError, match=f"{field} is 0, expected 1 to"):
        Packing(**{field: 0})


# --- the command ---


def test_the_command_packs_and_the_clips_pass_the_check(files, tmp_path):
    result = run("pack", files.source, "--out", tmp_path / "packed", "--size", "48", "--workers", "2")
    assert result.status == 0, result.err
    assert "8 clips in 1 shard, " in result.out
    assert "--data.manifest" in result.out
    assert run("check", tmp_path / "packed/manifest.csv", "--full", "true").status == 0
    shard = tmp_path / "packed/shard-00000.zip"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    result = run("check", tmp_path / "packed/manifest.csv", "--full", "true")
    assert result.status == 1
    assert "checksum" in result.out


def test_fit_trains_on_packed_clips_and_refuses_those_of_another_size(tiny_config, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for size in ("32", "24"):
        assert run("pack", tiny_data, "--out", size, "--size", size, "--quality", "95").status == 0
    assert run("fit", "--config", tiny_config, "--data.manifest", "32/manifest.csv").status == 0
    before = sorted(tmp_path.glob("runs/*/*"))
    result = run("fit", "--config", tiny_config, "--data.manifest", "24/manifest.csv")
    assert result.status == 2
    assert result.err.count("\n") == 1, result.err
    assert "24/shard-00000.zip: its frames have 24 pixels, but the model needs 32: pack" in result.err
    assert sorted(tmp_path.glob("runs/*/*")) == before
