"""The note that ``peclip faces`` leaves beside its manifest of crops: which clips they are of, and what they look like."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from peclip.data.contents import OTHER_CLIPS, OTHER_VERSION
from peclip.errors import InputError
from peclip.files import read_regular_text
from peclip.json_text import parse_json

STATE = "faces.json"
"""Name of the note."""

WORDS = {
    "format": OTHER_VERSION,
    "manifest": OTHER_CLIPS,
    "size": "another size",
    "upright": "another --upright",
}
"""Descriptions of a difference between two notes; the format first, because the digests of two formats always differ."""

FORMAT = 2
"""Version of the files; crops of another one are used, but not added to."""


@dataclass(frozen=True)
class CropsState:
    """Facts about the crops of a folder.

    Attributes:
        manifest: digest of the paths, times and sizes of the clips.
        size: side of the crops in pixels.
        upright: whether faces are turned so that the eyes are level.
        format: version of the files.
    """

    manifest: str
    size: int
    upright: bool
    format: int = FORMAT

    @classmethod
    def read(cls, folder: Path) -> CropsState | None:
        """Read the note of a folder; None if there is none.

        Raises:
            InputError: it is damaged, or not what ``peclip faces`` writes.
        """
        file = folder / STATE
        try:
            found = parse_json(read_regular_text(file))
            state = cls(found["manifest"], found["size"], found["upright"], found["format"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: is damaged, or not what peclip faces writes: crop into a new folder") from error
        if [*map(type, astuple(state))] != [str, int, bool, int]:
            raise InputError(f"{file}: is damaged, or not what peclip faces writes: crop into a new folder")
        return state

    def difference(self, other: CropsState) -> str:
        """Return how another note differs, in words."""
        mine, others = asdict(self), asdict(other)
        name = next(name for name in WORDS if mine[name] != others[name])
        values = f" ({mine[name]}, not {others[name]})" if name != "manifest" else ""
        return f"{WORDS[name]}{values}"


def check_crops(manifest: Path, upright: bool) -> None:
    """Check that crops look like those that a model takes; other manifests are not checked.

    Args:
        manifest: file that names the clips.
        upright: whether the model takes faces that are turned so that the eyes are level.

    Raises:
        InputError: they do not.
    """
    state = CropsState.read(manifest.parent)
    if state is not None and state.upright != upright:
        here, there = ("are", "does not take") if state.upright else ("are not", "takes")
        raise InputError(
            f"{manifest}: its faces {here} upright ({STATE}), but the model {there} such: set model.net.upright in a new "
            f"training, or crop with peclip faces --upright {str(upright).lower()}"
        )
