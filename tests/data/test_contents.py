"""Clips are known by their names, times and sizes, wherever their folder is."""

import shutil

import pytest

from peclip.data.contents import CropsState, contents_digest
from peclip.data.manifest import Manifest
from peclip.data.media.shard import open_shard
from peclip.data.pack import Packing, pack
from peclip.errors import InputError
from peclip.inference import face_clips
from peclip.inference.face_clips import Cropping, crop_faces
from peclip.train.runs.shards import shardable_digest
from tests.media import write_frames, write_video


@pytest.fixture
def clips(tmp_path):
    """The manifest of a video, of a piece of it, and of a folder of frames."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "0.mp4", 4, size=(64, 48))
    write_frames(folder / "frames", 2)
    (folder / "clips.csv").write_text("path,label,start,end\n0.mp4,fear,,\n0.mp4,fear,0.1,0.2\nframes,fear,,\n")
    return Manifest.read(folder / "clips.csv")


def test_clips_that_have_moved_or_have_other_labels_are_the_same(clips, tmp_path):
    shutil.copytree(clips.root, tmp_path / "moved")
    moved = Manifest.read(tmp_path / "moved/clips.csv")
    other = Manifest(moved.table.assign(label="anger"), moved.source, moved.root)
    assert contents_digest(clips) == contents_digest(other)


@pytest.mark.parametrize("name", ["0.mp4", "frames/1.jpg"])
def test_other_files_of_the_same_names_are_other_clips(clips, name):
    before = contents_digest(clips)
    with (clips.root / name).open("ab") as file:
        file.write(b"more")
    assert contents_digest(clips) != before
    assert shardable_digest(clips) != before


def test_files_in_a_folder_that_are_no_frames_change_nothing(clips):
    before = contents_digest(clips)
    (clips.root / "frames/.DS_Store").write_bytes(b"a Mac was here")
    assert contents_digest(clips) == before


def test_packed_clips_are_known_by_their_frames(clips):
    packed = [pack(clips, clips.root / f"{quality}", Packing(48, quality)) for quality in (90, 20)]
    first, second = map(contents_digest, packed)
    assert first != second
    open_shard.cache_clear()
    assert contents_digest(packed[0]) == first


def test_frames_that_have_changed_are_not_taken_for_packed(clips, tmp_path):
    pack(clips, tmp_path / "packed", Packing(48))
    with (clips.root / "frames/1.jpg").open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match="packed: holds the clips of another manifest, or their files have changed"):
        pack(clips, tmp_path / "packed", Packing(48))


def test_crops_of_other_videos_of_the_same_names_are_refused(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(face_clips, "YuNet", lambda model: None)
    monkeypatch.setattr(face_clips, "_crop", lambda *_: iter([(row, face_clips.NO_FACE) for row in range(3)]))
    crop_faces(clips, tmp_path / "faces", Cropping(64))
    write_video(clips.root / "0.mp4", 9, size=(64, 48))
    with pytest.raises(InputError, match="begun with other clips, or their files have changed: name another folder"):
        crop_faces(clips, tmp_path / "faces", Cropping(64))


def test_crops_of_an_earlier_version_are_not_added_to():
    earlier = CropsState("1", 64, False, format=1)
    assert earlier.difference(CropsState("2", 64, False)) == "another version of peclip (1, not 2)"
