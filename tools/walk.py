"""Trace one clip through the program: the files that it passes on its way to metrics.json, in order.

    python tools/walk.py test --ckpt_path runs/demo/version_0 --data.num_workers 0 --trainer.accelerator cpu

Runs the command with a profiler hook and lists the files of peclip that are entered:

- by the whole command, from its start to its end;
- by the clip, from the moment it is read until metrics.json is written, in the order in which the files pass it on: a
  file counts where its first function returns, because a function that calls others passes on their results. Functions
  that began before the clip was read do not count, nor does the sampler, which continues with other clips.

A room that the clip enters again after another one is marked; none is expected.
"""

import sys
from collections.abc import Sequence
from inspect import CO_GENERATOR, CO_OPTIMIZED
from pathlib import Path
from types import FrameType
from typing import Any

READS = "ClipDataset.__getitem__"
"""The method that reads a clip first."""

SAMPLES = "data/samplers.py"
"""The file that chooses further clips while the first one is on its way."""

WRITES = "write_evaluation"
"""The function that writes metrics.json."""


class Walk:
    """Records the files of a package as a program runs through them.

    Args:
        package: folder of the package.
    """

    def __init__(self, package: Path) -> None:
        self.package = package
        self.entered: dict[str, None] = {}
        self.handed_on: dict[str, None] = {}
        self._began_before: set[FrameType] = set()  # generators, which are entered more than once
        self._clip = self._written = False
        self._names: dict[str, str | None] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Record a call or a return; see :func:`sys.setprofile`."""
        code = frame.f_code
        name = self._name(code.co_filename) if event in ("call", "return") else None
        if name is None or not code.co_flags & CO_OPTIMIZED:  # the body of a module or of a class
            return
        if event == "call":
            self.entered.setdefault(name)
            self._clip = self._clip or code.co_qualname == READS
            if not self._clip and code.co_flags & CO_GENERATOR:
                self._began_before.add(frame)
        elif self._clip and not self._written and name != SAMPLES and frame not in self._began_before:
            self.handed_on.setdefault(name)
            self._written = code.co_qualname == WRITES

    def _name(self, path: str) -> str | None:
        if path not in self._names:
            inside = Path(path).is_relative_to(self.package)
            self._names[path] = str(Path(path).relative_to(self.package)) if inside else None
        return self._names[path]


def room_of(name: str) -> str:
    """Return the room of a file: its first folder, or ``ground`` for files beside the rooms."""
    return name.partition("/")[0] if "/" in name else "ground"


def returns(names: Sequence[str]) -> list[str]:
    """Return the files that enter a room again after another one; the ground is not counted as a room."""
    left, here, found = set(), "", []
    for name in names:
        room = room_of(name)
        if room in ("ground", here):
            continue
        if room in left:
            found.append(name)
        left.add(here)
        here = room
    return found


def main() -> None:
    """Run the command of peclip that the command line names, and print its walk."""
    print_walk(sys.argv[1:])


def print_walk(arguments: Sequence[str]) -> None:
    """Run a command of peclip, and print its walk."""
    import peclip
    from peclip.cli import main as command

    walk = Walk(Path(peclip.__file__).parent)
    sys.setprofile(walk)
    try:
        command(arguments)
    finally:
        sys.setprofile(None)
    again = set(returns(list(walk.handed_on)))
    print(f"\nThe command enters {len(walk.entered)} files. The clip is handed on by {len(walk.handed_on)}:")
    for name in walk.handed_on:
        print(f"  {room_of(name):<10} {name}{'   <- again' if name in again else ''}")
    print(f"Returns to an earlier room: {len(again)}")


if __name__ == "__main__":
    main()
