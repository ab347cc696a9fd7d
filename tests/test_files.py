"""Files are written as a whole, or not at all."""

import pytest

from peclip.errors import InputError
from peclip.files import atomic_write, is_not, write_new_text


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


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_never_replaces_another(tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(
            "os.link", lambda *paths: (_ for _ in ()).throw(PermissionError(1, "Operation not permitted"))
        )
    write_new_text(tmp_path / "folder/config.yaml", "mine")
    with pytest.raises(FileExistsError):
        write_new_text(tmp_path / "folder/config.yaml", "yours")
    assert [path.read_text() for path in (tmp_path / "folder").iterdir()] == ["mine"]


def test_what_a_path_is_instead_is_said_where_there_is_something(tmp_path):
    (tmp_path / "best.ckpt").touch()
    assert is_not(tmp_path, "file") == "is a folder"
    assert is_not(tmp_path / "best.ckpt", "folder") == "is a file"
    assert [is_not(tmp_path / "x", kind) for kind in ("file", "folder")] == ["no such file", "no such folder"]
