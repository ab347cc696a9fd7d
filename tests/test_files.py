"""Files are written as a whole, or not at all."""

import pytest

from peclip.errors import InputError
from peclip.files import atomic_write, is_not


def test_nothing_is_left_of_a_file_whose_writing_fails(tmp_path):
    (tmp_path / "metrics.json").write_text("old")

    def write():
        with atomic_write(tmp_path / "metrics.json") as path:
            path.write_text("half of the n")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"metrics\.json cannot be written: No space left"):
        write()
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "old"


def test_what_a_path_is_instead_is_said_where_there_is_something(tmp_path):
    (tmp_path / "best.ckpt").touch()
    assert is_not(tmp_path, "file") == "is a folder"
    assert is_not(tmp_path / "best.ckpt", "folder") == "is a file"
    assert [is_not(tmp_path / "x", kind) for kind in ("file", "folder")] == ["no such file", "no such folder"]
