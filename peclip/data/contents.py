"""Identify the clips of a manifest, so that a folder of results is not taken for that of other clips of the same names.

A digest stands for the clips. ``peclip faces`` leaves it in a note beside its manifest of crops, with what they look like.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from peclip.data.manifest import Manifest
from peclip.data.manifest.lines import PIECE
from peclip.data.media.frame_folder import frame_files
from peclip.data.media.shard import open_shard, open_shards, split_path
from peclip.errors import InputError
from peclip.files import read_regular_text
from peclip.json_text import parse_json

FIND_UNREADABLE = "peclip check --full true names all clips that cannot be read"
"""Advice about one of them: a file that is replaced later makes the finished clips those of another manifest."""

OTHER_VERSION, OTHER_CLIPS = "another version of peclip", "other clips, or their files have changed"
"""Descriptions of a folder of results whose format, or whose digest of clips, is another one."""

FACES_NOTE = "faces.json"
"""Name of the note of ``peclip faces``."""

DIFFERENCES = {
    "format": OTHER_VERSION,
    "manifest": OTHER_CLIPS,
    "size": "another size",
    "upright": "another --upright",
}
"""Descriptions of a difference between two notes; the format first, because the digests of two formats always differ."""

CROPS_FORMAT = 2
"""Version of the files; crops of another one are used, but not added to."""


def contents_digest(clips: Manifest) -> str:
    """Return a digest of the paths, times and sizes of clips, computed piece by piece to save memory.

    Paths are relative, so that clips may move; their sizes distinguish them from those of the same name in another folder.
    Labels and splits are not part of it.

    Raises:
        InputError: a shard of packed clips is missing or damaged.
    """
    open_shards(os.path.join(clips.root, path) for path in clips.table["path"])
    total = hashlib.sha256()
    for first in range(0, len(clips), PIECE):
        piece = clips.table[["path", "start", "end"]].iloc[first : first + PIECE]
        sizes = [_size(os.path.join(clips.root, path)) for path in piece["path"]]
        text = piece.assign(size=sizes).to_csv(index=False, header=first == 0)
        total.update(text.encode("utf-8", "surrogateescape"))
    return total.hexdigest()


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
    format: int = CROPS_FORMAT

    @classmethod
    def read(cls, folder: Path) -> CropsState | None:
        """Read the note of a folder; None if there is none.

        Raises:
            InputError: it is damaged, or not what ``peclip faces`` writes.
        """
        file = folder / FACES_NOTE
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
        name = next(name for name in DIFFERENCES if mine[name] != others[name])
        values = f" ({mine[name]}, not {others[name]})" if name != "manifest" else ""
        return f"{DIFFERENCES[name]}{values}"


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
            f"{manifest}: its faces {here} upright ({FACES_NOTE}), but the model {there} such: set model.net.upright in a new "
            f"training, or crop with peclip faces --upright {str(upright).lower()}"
        )


def _size(path: str) -> int:
    """Return the bytes of a file, of the images in a folder or of a packed clip, or -1 if there is none of them."""
    if place := split_path(path):
        shard = open_shard(place[0])
        frames = shard.frames(place[1])
        return int(shard.sizes[frames.start : frames.stop].sum())
    try:
        files = frame_files(path) if os.path.isdir(path) else [path]
        return sum(os.stat(file).st_size for file in files)
    except (InputError, OSError, ValueError):
        return -1
