"""Trace one clip through the program: the files that it passes on its way to metrics.json, in order.

    python tools/walk.py test --ckpt_path runs/demo/version_0 --data.num_workers 0 --trainer.accelerator cpu

Runs the command with a profiler hook and lists the files of peclip that are entered:

- by the whole command, from its start to its end;
- by the clip, from the moment it is read until its result is written, in the order in which the files pass it on: a
  file counts where its first function returns, because a function that calls others passes on their results.

A room that the clip enters again after another one is marked; none is expected.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

READS = ("ClipDataset", "__getitem__")
"""Class and method that read a clip first."""


class Walk:
    """Records the files of a package as a program runs through them.

    Args:
        package: folder of the package.
    """

    def __init__(self, package: Path) -> None:
        self.package = package
        self.entered: dict[str, None] = {}
        self.handed_on: dict[str, None] = {}
        self._clip = False
        self._names: dict[str, str | None] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Record a call or a return; see :func:`sys.setprofile`."""
        if event not in ("call", "return"):
            return
        name = self._name(frame.f_code.co_filename)
        if name is None or frame.f_code.co_name == "<module>":
            return
        if event == "call":
            self.entered.setdefault(name)
            self._clip = self._clip or (READS[1] == frame.f_code.co_name and READS[0] in frame.f_code.co_qualname)
        elif self._clip:
            self.handed_on.setdefault(name)

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
    """Run the command of peclip that the command line names, and print the walk."""
    import peclip
    from peclip.cli import main as command

    walk = Walk(Path(peclip.__file__).parent)
    sys.setprofile(walk)
    try:
        command(sys.argv[1:])
    finally:
        sys.setprofile(None)
    again = set(returns(list(walk.handed_on)))
    print(f"\nThe command enters {len(walk.entered)} files. The clip is handed on by {len(walk.handed_on)}:")
    for name in walk.handed_on:
        print(f"  {room_of(name):<10} {name}{'   <- again' if name in again else ''}")
    print(f"Returns to an earlier room: {len(again)}")


if __name__ == "__main__":
    main()
