"""DFEW: five folds as csv files of numbered labels, clips as frames in three forms and as the original videos."""

from pathlib import Path
from typing import Literal

from peclip.data.benchmarks.folds import FoldList, merge_folds
from peclip.data.benchmarks.layout import finder, first_file, locate, read_lines, to_manifest
from peclip.data.manifest import Manifest
from peclip.errors import InputError
from peclip.labels import SEVEN

FORMS = {
    "frames": "clip_224x224",
    "frames_16": "clip_224x224_16f",
    "avi": "clip_224x224_avi",
    "video": "original",
}
"""The forms of the clips and their folders below ``Clip``; the first that exists is read by default."""

OFFICIAL = (
    "EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv",
    "EmoLabel_DataSplit/{part}(single_labeled)/set_{fold}.csv",
)
"""The lists of the release; they count labels from 1."""

REEXPORTED = ("EmoLabel_DataSplit/{part}_set_{fold}.csv", "{part}_set_{fold}.csv")
"""The form in which other programs pass the lists on; they count from 0."""

Numbers = dict[int, tuple[int, int]]  # by the clip's number: its label as written, and the line


def dfew(root: Path, form: Literal["auto", "frames", "frames_16", "avi", "video"] = "auto") -> Manifest:
    """Read DFEW's single-labelled clips with their five folds.

    The lists number the labels in the order happiness, sadness, neutral, anger, surprise, disgust, fear, from 1 or
    from 0: a file with a 0 counts from 0, a file with a 7 from 1, and one with neither as those beside it.

    Args:
        root: folder with ``EmoLabel_DataSplit`` and ``Clip``.
        form: aligned frames, the same interpolated to 16, aligned videos, or the original videos.

    Raises:
        InputError: a folder is missing, a line is not ``CLIP,LABEL``, or lists contradict each other.
    """
    base = locate(root, "DFEW", "EmoLabel_DataSplit", "train_set_1.csv", "test_set_1.csv").parent
    names = [folder for name, folder in FORMS.items() if form in ("auto", name)]
    clips = locate(base, "DFEW", *(f"{parent}{name}" for name in names for parent in ("Clip/", "")))
    found = {
        (part, fold, path): _read_list(path)
        for part in ("test", "train")
        for fold in range(1, 6)
        if (path := _path_of(base, part, fold)) is not None
    }
    if not found:
        raise InputError(f"{base}: no list of DFEW, expected {OFFICIAL[0].format(part='train', fold=1)}")
    bases = {path: _counts_from(numbers) for (_, _, path), numbers in found.items()}
    known = next((base for base in bases.values() if base is not None), None)
    lists = []
    for (part, fold, path), numbers in found.items():
        first = next(base for base in (bases[path], known, 0 if "_set_" in path.name else 1) if base is not None)
        named = {f"{clip:05d}": (SEVEN[label - first], line) for clip, (label, line) in numbers.items()}
        lists.append(FoldList(path, fold, part == "test", named))
    return to_manifest(merge_folds(lists, base, finder(clips)), base)


def _path_of(base: Path, part: str, fold: int) -> Path | None:
    paths = (base / template.format(part=part, fold=fold) for template in (*OFFICIAL, *REEXPORTED))
    return first_file(paths)


def _read_list(path: Path) -> Numbers:
    """Return a list as it is written."""
    numbers: Numbers = {}
    for line, text in read_lines(path):
        values = [value.strip() for value in text.split(",")]
        if line == 1 and values == ["video_name", "label"]:
            continue
        if len(values) != 2 or not all(value.isdecimal() for value in values):
            raise InputError(f"{path} line {line}: {text!r} is not a line of DFEW, expected CLIP,LABEL as in '1,6'")
        clip, label = map(int, values)
        if label > len(SEVEN):
            raise InputError(f"{path} line {line}: unknown label {label}, expected 1 to 7 (or 0 to 6)")
        if clip in numbers:
            raise InputError(f"{path} line {line}: duplicate clip {clip}, first in line {numbers[clip][1]}")
        numbers[clip] = (label, line)
    if _counts_from(numbers) == 0 and (sevens := [line for label, line in numbers.values() if label == len(SEVEN)]):
        raise InputError(f"{path} line {sevens[0]}: label 7 in a list with a label 0; are two lists mixed?")
    return numbers


def _counts_from(numbers: Numbers) -> int | None:
    """Return whether a list's labels count from 0 or from 1, or None if that is open."""
    labels = {label for label, _ in numbers.values()}
    return 0 if 0 in labels else 1 if len(SEVEN) in labels else None
