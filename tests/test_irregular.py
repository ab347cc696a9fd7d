"""A pipe, a device or a folder in the place of a file that a command reads: one line, and no waiting for somebody who writes into a pipe."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from peclip.errors import InputError
from peclip.files import check_regular, open_regular, read_regular_text
from peclip.model.torch_file import read_checkpoint
from tests.bad_input.mistakes import assert_refused
from tests.runs import run

PATIENCE = 60
"""Seconds after which a command counts as one that waits."""


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """End a test that waits."""
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)


def test_a_file_is_read_and_what_is_none_is_refused_at_once(tmp_path: Path):
    (tmp_path / "a.txt").write_text("text\r\n")
    assert read_regular_text(tmp_path / "a.txt") == "text\r\n"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, says in {"pipe": "is a pipe or a socket", "zero": "is a device", ".": "a folder"}.items():
        for read in (check_regular, open_regular):
            with pytest.raises((InputError, IsADirectoryError), match=rf"{says}|Is a directory"):
                read(tmp_path / name)
    check_regular(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing")


def instead(path: Path) -> None:
    """Put a pipe into the place of a file."""
    path.unlink()
    os.mkfifo(path)


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(tiny_run, tmp_path / "theirs"))


@pytest.mark.parametrize("name", ["metrics.json", "predictions.csv", "training.json"])
def test_results_of_a_run(copy: Path, tiny_run: Path, name: str):
    instead(copy / name)
    assert_refused(run("compare", tiny_run, copy), name)


def test_a_checkpoint(tmp_path: Path, tiny_data: Path):
    os.mkfifo(tmp_path / "their.ckpt")
    result = run("test", "--ckpt_path", tmp_path / "their.ckpt", "--data.manifest", tiny_data)
    assert_refused(result, "their.ckpt")
    with pytest.raises(InputError, match="is a pipe or a socket"):
        read_checkpoint(tmp_path / "their.ckpt")


@pytest.mark.parametrize("name", ["config.json", "adapters.safetensors"])
def test_a_package(tiny_run: Path, tiny_data: Path, tmp_path: Path, name: str):
    assert run("export", tiny_run, "--out", tmp_path / "package").status == 0
    instead(tmp_path / "package" / name)
    assert_refused(run("test", "--ckpt_path", tmp_path / "package", "--data.manifest", tiny_data), "package")


def test_a_configuration(tmp_path: Path):
    os.mkfifo(tmp_path / "own.yaml")
    assert_refused(run("fit", "--config", tmp_path / "own.yaml"), "own.yaml")


def test_a_manifest(tiny_config: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "own.csv")
    assert_refused(run("fit", "--config", tiny_config, "--data.manifest", tmp_path / "own.csv"), "own.csv")


def test_a_file_of_a_backbone(tiny_clip: Path, tiny_config: Path, tmp_path: Path):
    shutil.copytree(tiny_clip, tmp_path / "clip")
    instead(tmp_path / "clip" / "config.json")
    result = run("fit", "--config", tiny_config, "--model.net.backbone", tmp_path / "clip")
    assert_refused(result, "config.json", "is a pipe or a socket")


def test_the_state_of_shards(tiny_run: Path, tmp_path: Path):
    (tmp_path / "shards").mkdir()
    os.mkfifo(tmp_path / "shards" / "shards.json")
    assert_refused(run("predict", "--ckpt_path", tiny_run, "--shards", tmp_path / "shards"), "shards.json")
