"""RAVDESS and CREMA-D: acted clips whose names hold the emotion and the actor; no two folds share an actor."""

import re
from pathlib import Path
from typing import Any

from peclip.data.benchmarks.layout import children, clip_name, locate, row_of, to_label, to_manifest, videos_and_folders
from peclip.data.manifest import Manifest
from peclip.errors import InputError, counted

RAVDESS_LABELS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
"""The emotions of RAVDESS by their codes, 01 to 08."""

RAVDESS_NAME = re.compile(r"(?P<modality>0[123])-(?P<channel>0[12])-(?P<emotion>\d\d)-\d\d-\d\d-\d\d-(?P<actor>\d\d)")
"""Modality (01 picture and sound, 02 picture, 03 sound), channel (01 speech, 02 song), emotion, ..., actor."""

CREMAD_LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")

CREMAD_NAME = re.compile(r"(?P<actor>1\d{3})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_(?:LO|MD|HI|XX|X)")

CREMAD_BROKEN = ("1076_MTI_NEU_XX", "1076_MTI_SAD_XX", "1064_TIE_SAD_XX", "1064_IEO_DIS_MD")
"""Four files of the release that are known not to be usable."""


def ravdess(root: Path) -> Manifest:
    """Read the speech clips of RAVDESS with six actor-disjoint folds of four actors each (two women and two men).

    Song is skipped. Of a clip with sound and its copy without, the former is read.

    Args:
        root: folder of the release.

    Raises:
        InputError: no folder ``Actor_01`` and so on, or a video whose name is not one of RAVDESS.
    """
    first = locate(root, "RAVDESS", *(f"Actor_{actor:02d}" for actor in range(1, 25)))
    base = first.parent
    clips = [
        clip for folder in children(base) if folder.name.startswith("Actor_") for clip in videos_and_folders(folder)
    ]
    rows: dict[str, dict[str, Any]] = {}
    for clip in clips:
        found = RAVDESS_NAME.fullmatch(clip_name(clip))
        if not found:
            raise InputError(f"{clip}: not a name of RAVDESS, expected seven numbers as in 01-01-03-01-01-01-01.mp4")
        code = int(found["emotion"])
        if not 1 <= code <= len(RAVDESS_LABELS):
            raise InputError(f"{clip}: unknown emotion {found['emotion']}, expected 01 to 08")
        if found["modality"] == "03" or found["channel"] == "02":
            continue
        performance = clip_name(clip)[2:]
        if performance not in rows or found["modality"] == "01":
            rows[performance] = row_of(clip, base, RAVDESS_LABELS[code - 1]) | {"subject": found["actor"]}
    return to_manifest(_with_folds(list(rows.values()), 6, blocks=True), base)


def cremad(root: Path) -> Manifest:
    """Read CREMA-D with five subject-disjoint folds; four broken files of the release are skipped, with a note.

    Actors go to the folds in turn: the first, the sixth, ... to fold 1.

    Args:
        root: folder of the release.

    Raises:
        InputError: no folder ``VideoFlash``, or a video in it whose name is not one of CREMA-D.
    """
    folder = locate(root, "CREMA-D", "VideoFlash")
    base = folder.parent
    rows, broken = [], []
    for clip in videos_and_folders(folder):
        found = CREMAD_NAME.fullmatch(clip_name(clip))
        if not found:
            raise InputError(
                f"{clip}: not a name of CREMA-D, expected ACTOR_SENTENCE_EMOTION_LEVEL as in 1019_DFA_ANG_XX"
            )
        if clip_name(clip) in CREMAD_BROKEN:
            broken.append(clip_name(clip))
            continue
        label = to_label(found["emotion"], CREMAD_LABELS, str(clip))
        rows.append(row_of(clip, base, label) | {"subject": found["actor"]})
    known = f"skipped {counted(len(broken), 'file')} known to be broken"
    notes = [f"{known}: {', '.join(broken)}"] if broken else []
    return to_manifest(_with_folds(rows, 5, blocks=False), base, notes)


def actor_of(benchmark: str, path: Path) -> str | None:
    """Return the actor in a clip's name, None for other data."""
    pattern = {"ravdess": RAVDESS_NAME, "cremad": CREMAD_NAME}.get(benchmark)
    found = pattern.fullmatch(clip_name(path)) if pattern else None
    return found["actor"] if found else None


def _with_folds(rows: list[dict[str, Any]], folds: int, blocks: bool) -> list[dict[str, Any]]:
    """Give each row the fold of its actor: actors in order, a block of neighbours to each fold or one after another."""
    actors = sorted({row["subject"] for row in rows})
    folds = min(folds, len(actors))
    fold_of = {
        actor: 1 + (place * folds // len(actors) if blocks else place % folds) for place, actor in enumerate(actors)
    }
    return [{**row, "fold": fold_of[row["subject"]]} for row in rows]
