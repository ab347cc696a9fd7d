"""Class folders: the user's own clips, AFEW and CAER; or files named after their class."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from peclip.data.benchmarks.layout import (
    check_root,
    children,
    clip_name,
    is_frame_folder,
    is_video,
    locate,
    row_of,
    to_label,
    to_manifest,
    videos_and_folders,
)
from peclip.data.manifest import Manifest, Split
from peclip.data.manifest.reader import SPLITS
from peclip.errors import InputError
from peclip.labels import KNOWN, SEVEN, canonical


def folders(root: Path) -> Manifest:
    """Read a folder per class, or files named after their class.

    A clip is a video file or a folder of frames. In ``happy/``, every clip is happiness, and any name will do for a
    class; ``happy.mp4``, ``happy_01.mp4`` and ``01-happy.mp4`` must hold the name of a known expression. Both may lie
    in folders ``train``, ``val`` and ``test``.

    Args:
        root: folder of the clips.

    Raises:
        InputError: no such folder, no clip in it or in one of its classes, or a file whose name does not determine its class.
    """
    check_root(root)
    splits = [child for child in children(root) if child.is_dir() and child.name.lower() in SPLITS]
    if not splits:
        return to_manifest(list(_classes(root, root, "")), root)
    rows = [row for folder in splits for row in _classes(folder, root, SPLITS[folder.name.lower()])]
    others = [child for child in videos_and_folders(root) if child not in splits]
    if others:
        raise InputError(f"{others[0]}: is beside the folder {splits[0].name}: move it into the folder of its split")
    return to_manifest(rows, root)


def afew(root: Path) -> Manifest:
    """Read AFEW 7.0: ``Train/Angry/000046280.avi``, or folders of frames in place of videos.

    The labels of ``Test`` are not public, so that ``Val`` is the split that everyone tests on, and here too.

    Args:
        root: folder of the release.

    Raises:
        InputError: a folder is missing, empty, or of an unknown emotion.
    """
    return _read_splits(root, "AFEW", {"Train": "train", "Val": "test"})


def caer(root: Path) -> Manifest:
    """Read CAER: ``train/Anger/0001.avi``, and the like in ``validation`` and ``test``.

    Args:
        root: folder of the release.

    Raises:
        InputError: a folder is missing, empty, or of an unknown emotion.
    """
    return _read_splits(root, "CAER", {"train": "train", "validation": "val", "test": "test"})


def _read_splits(root: Path, benchmark: str, splits: Mapping[str, Split]) -> Manifest:
    """Read the class folders of each split; the folder of a split may be written in lower case."""
    first = next(iter(splits))
    base = locate(root, benchmark, first, first.lower(), first.capitalize()).parent
    rows = []
    for name, split in splits.items():
        for folder in children(locate(base, benchmark, name, name.lower(), name.capitalize())):
            if not folder.is_dir():
                continue
            label = to_label(folder.name, SEVEN, str(folder))
            for clip in clips_in(folder):
                rows.append(row_of(clip, base, label) | {"split": split})
    return to_manifest(rows, base)


def _classes(folder: Path, root: Path, split: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a folder that holds class folders or named clips."""
    found = videos_and_folders(folder)
    named = [child for child in found if is_video(child) or _is_named_clip(child)]
    classes = [child for child in found if child not in named]
    if named and classes:
        raise InputError(f"{named[0]}: a clip beside class folders ({classes[0].name}); move it into one of them")
    if not found:
        raise InputError(f"{folder}: nothing to read, expected a folder per class or video files named after theirs")
    for clip in named:
        yield row_of(clip, root, _label_in_name(clip)) | {"split": split}
    for child in classes:
        for clip in clips_in(child):
            yield row_of(clip, root, canonical(child.name)) | {"split": split}


def clips_in(folder: Path) -> list[Path]:
    """Return the clips of a class folder in natural order: its video files and its folders, or itself.

    Raises:
        InputError: there is none, or a folder in it holds videos or folders, where frames are expected.
    """
    clips = videos_and_folders(folder)
    for clip in clips:
        if clip.is_dir() and not is_frame_folder(clip) and (deeper := videos_and_folders(clip)):
            raise InputError(f"{deeper[0]}: too deep, expected {folder.name} to hold videos or folders of frames")
    if not clips and not is_frame_folder(folder):
        raise InputError(f"{folder}: the class folder is empty, expected video files or folders of frames in it")
    return clips or [folder]


def _is_named_clip(folder: Path) -> bool:
    """Return whether a folder is one clip, such as ``happy_01/*.jpg``, rather than a class."""
    return is_frame_folder(folder) and not videos_and_folders(folder)


def _label_in_name(path: Path) -> str:
    """Return the one known expression in a file's name."""
    words = re.findall(r"[^\W\d_]+", clip_name(path))
    found = {label for word in words if (label := canonical(word)) in KNOWN}
    if len(found) != 1:
        named = " and ".join(sorted(found)) or "no known expression"
        raise InputError(
            f"{path}: the file's name holds {named}, expected one of {', '.join(KNOWN)}, as in happy_01.mp4; "
            "or make a folder per class"
        )
    return found.pop()
