"""Identify the clips of a manifest, so that a folder of results is not taken for that of other clips of the same names."""

from __future__ import annotations

import hashlib
import os

from peclip.data.manifest import Manifest
from peclip.data.manifest.lines import PIECE
from peclip.data.media.frame_folder import frame_files
from peclip.data.media.shard import open_shard, open_shards, split_path
from peclip.errors import InputError

FIND_UNREADABLE = "peclip check --full true names all clips that cannot be read"
"""Advice about one of them: a file that is replaced later makes the finished clips those of another manifest."""


OTHER_VERSION, OTHER_CLIPS = "another version of peclip", "other clips, or their files have changed"
"""Descriptions of a folder of results whose format, or whose digest of clips, is another one."""


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
