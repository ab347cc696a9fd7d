"""Files are written as a whole, or not at all."""

import os

import pytest

from peclip.errors import InputError
from peclip.files import (
    LOCK,
    atomic_folder,
    atomic_write,
    copy_new,
    is_not,
    is_temporary,
    locked,
    move_folder,
    temporary_name,
    write_new_text,
)


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
    write_new_text(tmp_path / "mine", "mine")
    write_new_text(tmp_path / "yours", "yours")
    copy_new(tmp_path / "mine", tmp_path / "folder/config.yaml")
    with pytest.raises(FileExistsError):
        write_new_text(tmp_path / "folder/config.yaml", "yours")
    with pytest.raises(FileExistsError):
        copy_new(tmp_path / "yours", tmp_path / "folder/config.yaml")
    assert [path.read_text() for path in (tmp_path / "folder").iterdir()] == ["mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "mine", "yours"]


def test_a_new_file_whose_folder_is_a_file_is_refused_as_one_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written: File exists"):
        write_new_text(tmp_path / "file/config.yaml", "yours")
    with pytest.raises(InputError, match="cannot be written: File exists"):
        copy_new(tmp_path / "file", tmp_path / "file/start.ckpt")


def test_a_folder_gets_its_name_when_all_its_files_are_on_the_disk(tmp_path, monkeypatch):
    draft, target, synced = tmp_path / "draft", tmp_path / "target", {}
    (draft / "clips").mkdir(parents=True)
    for name in ("manifest.csv", "clips/a.mp4"):
        (draft / name).write_text(name)
    monkeypatch.setattr(os, "fsync", lambda handle: synced.setdefault(os.fstat(handle).st_ino, target.exists()))
    move_folder(draft, target)
    inside = {path.stat().st_ino: False for path in (target, *target.rglob("*"))}
    assert synced == {**inside, tmp_path.stat().st_ino: True}


def _write_twice(folder):
    with atomic_folder(folder) as first:
        (first / "a.txt").write_text("first")
        with atomic_folder(folder) as second:
            (second / "b.txt").write_text("second")


def test_two_writers_of_one_process_do_not_meet_in_their_drafts(tmp_path):
    with atomic_write(tmp_path / "a.txt") as first, atomic_write(tmp_path / "a.txt") as second:
        first.write_text("first")
        second.write_text("second")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "first"  # the last one to be ready

    with pytest.raises(InputError, match="not empty"):
        _write_twice(tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["b.txt"]


@pytest.mark.parametrize("name", ["table.csv", "a.b.mp4", "folder", ".hidden"])
def test_a_draft_is_recognized_by_its_name(tmp_path, name):
    assert all(is_temporary(temporary_name(tmp_path / name)) for _ in range(20))  # with and without letters in it
    assert is_temporary(tmp_path / f".{name}.4711")
    assert not is_temporary(tmp_path / name)


def test_what_a_path_is_instead_is_said_where_there_is_something(tmp_path):
    (tmp_path / "best.ckpt").touch()
    assert is_not(tmp_path, "file") == "is a folder"
    assert is_not(tmp_path / "best.ckpt", "folder") == "is a file"
    assert [is_not(tmp_path / "x", kind) for kind in ("file", "folder")] == ["no such file", "no such folder"]


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_a_lock_changes_and_awaits_nothing_that_lies_in_a_folder(tmp_path, kind):
    folder, other = tmp_path / "folder", tmp_path / "other.txt"
    folder.mkdir()
    if kind == "link":
        other.write_text("mine")
    if kind == "pipe":
        os.mkfifo(folder / LOCK)
    elif kind == "folder":
        (folder / LOCK).mkdir()
    else:
        (folder / LOCK).symlink_to(other)
    with pytest.raises(InputError) as refused, locked(folder, "busy"):
        pass
    assert str(folder / LOCK) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (other.read_text() if other.exists() else None) == ("mine" if kind == "link" else None)


def test_a_lock_leaves_a_file_of_its_name_as_it_is_while_it_lasts(tmp_path):
    (tmp_path / LOCK).write_text("kept")
    with locked(tmp_path, "busy"):
        assert (tmp_path / LOCK).read_text() == "kept"
    assert not (tmp_path / LOCK).exists()
