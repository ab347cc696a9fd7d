"""MAFW: eleven emotions, five folds as text files of names, with or without captions in two languages."""

import re
from pathlib import Path
from typing import Literal

from peclip.data.benchmarks.folds import FoldList, merge_folds
from peclip.data.benchmarks.layout import finder, first_file, locate, to_label, to_manifest
from peclip.data.benchmarks.votes import add_votes
from peclip.data.manifest import Manifest, Split
from peclip.data.manifest.text import read_bytes
from peclip.errors import InputError

LABELS = (
    *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    *("contempt", "anxiety", "helplessness", "disappointment"),
)
"""The eleven emotions in the order of the release."""

ROLES: tuple[Split, ...] = ("test", "train")
"""Roles for which a fold has a list."""

FORMS = {"faces": "faces", "frames": "frames", "video": "clips"}
"""The forms of the clips and their folders below ``data``; the first that exists is read by default.

The release has no faces: they are crops of the user's own.
"""

LINE = re.compile(rb"(\S+?)(?:\.mp4)?[ \t]+([A-Za-z_]+)(?:\s|$)")
"""``00025.mp4 anger``, or ``00025.mp4<TAB>anger<TAB>captions``, whose encoding does not matter here."""


def mafw(
    root: Path,
    form: Literal["auto", "faces", "frames", "video"] = "auto",
    votes: Literal["false", "true"] = "false",
) -> Manifest:
    """Read MAFW's single-labelled clips with their five folds.

    Args:
        root: folder with ``data`` and ``Train & Test Set``.
        form: cropped faces, frames, or the videos of the release.
        votes: whether the shares of the eleven annotators become soft labels, from a table ``annotation.xlsx`` (or ``.csv``) with a column
            for the clip and one for each emotion.

    Raises:
        InputError: a folder or the votes are missing, a line is not ``NAME EMOTION``, or lists contradict each other.
    """
    sets = locate(root, "MAFW", "Train & Test Set/single", "anno/single")
    base = sets.parent.parent
    names = [folder for name, folder in FORMS.items() if form in ("auto", name)]
    clips = locate(base, "MAFW", *(f"{parent}{name}" for name in names for parent in ("data/", "")))
    lists = [
        FoldList(path, fold, role, _read_list(path))
        for role in ROLES
        for fold in range(1, 6)
        if (path := _path_of(sets, role, fold)) is not None
    ]
    if not lists:
        raise InputError(f"{sets}: no list of MAFW, expected no_caption/set_1/train.txt")
    rows, notes = merge_folds(lists, base, finder(clips))
    notes += add_votes(rows, base, LABELS) if votes == "true" else ()
    manifest = to_manifest(rows, base, notes)
    captions = next((str(one.path.relative_to(base)) for one in lists if "with_caption" in one.path.parts), None)
    if captions and (absent := [label for label in LABELS if label not in manifest.labels]):
        return manifest.with_notes(
            f"the lists with captions ({captions}) have {len(manifest.labels)} classes, no {' and no '.join(absent)}"
        )
    return manifest


def _path_of(sets: Path, role: Split, fold: int) -> Path | None:
    paths = (sets / form / f"set_{fold}" / f"{role}.txt" for form in ("no_caption", "with_caption"))
    return first_file(paths)


def _read_list(path: Path) -> dict[str, tuple[str, int]]:
    clips: dict[str, tuple[str, int]] = {}
    for line, raw in enumerate(read_bytes(path).split(b"\n"), start=1):
        if not raw.strip():
            continue
        where = f"{path} line {line}"
        found = LINE.match(raw.lstrip())
        if not found:
            raise InputError(
                f"{where}: {raw[:40]!r} is not a line of MAFW, expected NAME EMOTION as in '00025.mp4 anger'"
            )
        name, emotion = (part.decode("ascii", "backslashreplace") for part in found.groups())
        if name in clips:
            raise InputError(f"{where}: duplicate clip {name}, first in line {clips[name][1]}")
        clips[name] = (to_label(emotion, LABELS, where), line)
    return clips
