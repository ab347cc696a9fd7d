"""A video that is cut anywhere is either read as the whole video would be, or refused, and so is what Git LFS has not fetched."""

from pathlib import Path

import numpy as np
import pytest
import torch

from peclip.data.media.clip import read_clip
from peclip.errors import InputError
from tests.media import write_video

CONTAINERS = {
    "index at the end.mp4": {},
    "index first.mp4": {"container_options": {"movflags": "faststart"}},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "a.mkv": {},
    "a.webm": {"codec": "libvpx-vp9"},
    "a.avi": {},
    "a.flv": {},
    "a.ts": {},
}

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"
)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_cut_file_never_gives_other_frames(tmp_path: Path, name: str):
    path = tmp_path / name
    write_video(path, 40, **CONTAINERS[name])
    data, clip = path.read_bytes(), read_clip(path, 8, 32)
    refused = 0
    for length in np.linspace(1, len(data) - 1, 40).astype(int):
        if path.suffix == ".ts" and length % 188 == 0:
            continue  # a transport stream has no end: after any packet, it is whole
        path.write_bytes(data[:length])
        try:
            assert torch.equal(read_clip(path, 8, 32), clip), f"cut at byte {length} of {len(data)}"
        except InputError as error:
            refused += str(path) in str(error)
    assert refused >= 38


@pytest.mark.parametrize("junk", [b"\0" * 100, b"junk " * 20, b"\xff" * 7])
@pytest.mark.parametrize("name", ["index at the end.mp4", "a.mkv", "a.avi"])
def test_junk_behind_a_whole_file_does_no_harm(tmp_path: Path, name: str, junk: bytes):
    path = tmp_path / name
    write_video(path, 20, **CONTAINERS[name])
    clip = read_clip(path, 8, 32)
    path.write_bytes(path.read_bytes() + junk)
    assert torch.equal(read_clip(path, 8, 32), clip)


def test_a_live_recording_of_open_size_is_read(tmp_path: Path):
    path = tmp_path / "live.mkv"
    write_video(path, 20, container_options={"live": "1"})
    assert read_clip(path, 8, 32).shape == (8, 3, 32, 32)


def test_a_flash_file_without_back_references_is_read(tmp_path: Path):
    path = tmp_path / "a.flv"
    write_video(path, 20)
    clip, data = read_clip(path, 8, 32), path.read_bytes()
    path.write_bytes(data[:-4] + b"\0\0\0\0")
    assert torch.equal(read_clip(path, 8, 32), clip)


@pytest.mark.parametrize("name", ["a.flv", "a.mp4", "frames/1.jpg", "shard-00000.zip/0000000"])
def test_a_pointer_of_git_lfs_is_named_with_the_command_that_fetches_the_file(name, tmp_path):
    folder = name.partition("/")[0]
    file = tmp_path / (name if folder == "frames" else folder)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(POINTER)
    with pytest.raises(InputError, match=r": is a pointer of Git LFS, not the file itself: fetch it with git lfs pull"):
        read_clip(tmp_path / (folder if folder == "frames" else name), 4, 32)


def test_a_text_that_is_no_pointer_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"version 1" * 100)
    with pytest.raises(InputError, match="not a video"):
        read_clip(tmp_path / "a.mp4", 4, 32)
