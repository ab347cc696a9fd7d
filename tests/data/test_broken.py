"""Broken, odd and hostile files: each is read right or refused in one line that names it, soon and in little memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest

from peclip.data.media.clip import count_frames, every_frame, read_clip
from peclip.errors import InputError
from tests.data.broken_cases import CASES, Case
from tests.stress.guarded import MOST_MEGABYTES, Outcome, guarded

SECONDS = 10

NOBODY = 65_534


class Prepared(NamedTuple):
    """A file that is made, and how it is to be read."""

    path: Path
    frames: int
    size: int


@contextmanager
def as_nobody() -> Iterator[None]:
    """Let permissions count for root, too."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def look(file: Prepared) -> dict[str, object]:
    """Read a file in every way; what is refused gives its message."""
    path = file.path / "0000000" if file.path.name.startswith("shard-") else file.path
    ways = {
        "clip": lambda: read_clip(path, file.frames, file.size).numpy(),
        "count": lambda: count_frames(path),
        "every": lambda: np.stack([frame.copy() for frame in every_frame(path, file.size)] or [np.zeros(0)]),
    }
    found: dict[str, object] = {}
    with as_nobody():
        for name, way in ways.items():
            try:
                found[name] = way()
            except InputError as error:
                found[name] = str(error)
    return found


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, tuple[Prepared, np.ndarray | None, Outcome]]]:
    """All files, read one after another in a process of its own."""
    with TemporaryDirectory() as name:  # pytest's own folders are closed to nobody
        folder = Path(name)
        folder.chmod(0o755)
        files, truths = [], []
        for number, case in enumerate(CASES.values()):
            (folder / str(number)).mkdir()
            path = folder / str(number) / case.name
            truth = case.make(path)
            size = 16 if truth is None else min(truth.shape[1:3])
            files.append(Prepared(path, 4 if truth is None else len(truth), size))
            truths.append(truth)
        yield dict(zip(CASES, zip(files, truths, guarded(look, files, SECONDS), strict=True), strict=True))
        for number in range(len(files)):
            for entry in (folder / str(number)).iterdir():
                if entry.is_dir():
                    entry.chmod(0o755)


def error_of(clip: np.ndarray, frames: np.ndarray) -> int:
    """Largest difference of a pixel from the centre of the true frames, in grey levels."""
    side = min(frames.shape[1:3])
    top, left = ((length - side) // 2 for length in frames.shape[1:3])
    true = frames[:, top : top + side, left : left + side].transpose(0, 3, 1, 2)
    return int(np.abs(clip.astype(int) - true.astype(int)).max()) if clip.shape == true.shape else 256


def assert_refused(message: object, file: Prepared, says: str) -> None:
    assert isinstance(message, str), "it was read"
    assert message.startswith(str(file.path))
    assert "\n" not in message.removeprefix(str(file.path))
    assert says in message.removeprefix(str(file.path.parent))


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_right_or_refused_soon_and_in_little_memory(name, outcomes):
    case: Case = CASES[name]
    file, truth, outcome = outcomes[name]
    assert outcome.error == ""
    assert outcome.megabytes < MOST_MEGABYTES
    found = outcome.value
    if case.says is None:
        for way in ("clip", "every"):
            assert not isinstance(found[way], str), found[way]
            assert error_of(found[way], truth) <= case.off, way
        assert found["count"] == len(truth)
    elif case.says:
        assert_refused(found["clip"], file, case.says)
        for way in ("count", "every"):
            if isinstance(found[way], str):
                assert_refused(found[way], file, "")
    else:
        for way in ("clip", "every"):
            if isinstance(found[way], str):
                assert_refused(found[way], file, "")
            else:
                assert error_of(found[way], truth) <= case.off, way
