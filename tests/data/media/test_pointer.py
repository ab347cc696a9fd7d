"""Files that Git LFS has not fetched are named as such, for every kind of file."""

import pytest

from peclip.data.media.clip import read_clip
from peclip.errors import InputError

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"
)


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
