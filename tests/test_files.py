"""Files are written as a whole, or not at all."""

import pytest

from peclip.errors import InputError
from peclip.files import atomic_write


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
