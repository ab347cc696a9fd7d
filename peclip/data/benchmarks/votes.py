"""Votes of annotators: a table of a release with the number of votes for each emotion, which becomes soft labels."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peclip.data.benchmarks.layout import children, folders_below, read_lines
from peclip.data.manifest.formats import cells_of, delimiter_of
from peclip.errors import InputError, first_line, shown
from peclip.labels import canonical

CLIP_NAMES = ("order", "video_name", "clip_name", "video", "clip", "name", "file_name", "filename", "file", "id")
"""Names of the column with the clip, in lower case; if a header has several, the first of this list is used."""

STEM = "annotation"
"""Beginning of the file's name."""

DEEPEST = 2
"""Levels of folders in which the file is searched."""

DISAGREEING = 0.5
"""Share of clips whose label has fewer votes than another one, from which on the table is taken to be of other labels."""

Table = Iterator[tuple[int, Sequence[Any]]]  # the number of each line, from 1, and its values


@dataclass(frozen=True)
class Votes:
    """The votes of annotators.

    Attributes:
        path: file of the votes.
        clips: line and number of votes for each label, by the clip's number.
    """

    path: Path
    clips: Mapping[int, tuple[int, Mapping[str, float]]]


def add_votes(rows: list[dict[str, Any]], base: Path, labels: Sequence[str]) -> list[str]:
    """Add the columns ``p_LABEL`` to the rows of a release: the shares of its annotators' votes.

    Args:
        rows: rows with ``path``, which ends in the number of the clip, and ``label``; they are changed.
        base: folder of the release, with a file ``annotation.xlsx`` or ``annotation.csv``, here or in a folder of it.
        labels: the emotions, each of which the table has a column for.

    Returns:
        Sentences about clips without votes, and about labels that have fewer votes than another one.

    Raises:
        InputError: there is no such file, it cannot be read, a value is not a number of votes, or it is not that of these clips.
    """
    votes = read_votes(_find(base), labels)
    absent = other = 0
    for row in rows:
        number = _number(Path(row["path"]).name)
        line, found = (0, {}) if number is None else votes.clips.get(number, (0, {}))
        if not found:
            absent += 1
            continue
        total = sum(found.values())
        if not total:
            raise InputError(f"{votes.path} line {line}: clip {Path(row['path']).stem} has no vote")
        row |= {f"p_{label}": count / total for label, count in found.items()}
        other += found[row["label"]] < max(found.values())
    if absent == len(rows) or other > DISAGREEING * len(rows):
        what = (
            "none of the clips has votes"
            if absent == len(rows)
            else f"{other:,} of {len(rows):,} labels have fewer votes than others"
        )
        raise InputError(f"{votes.path}: is not about these clips, {what}: its columns may be mixed up")
    notes = [f"{absent:,} of {len(rows):,} clips have no votes in {votes.path.name}"] if absent else []
    return [*notes, *([f"{other:,} labels have fewer votes in {votes.path.name} than another one"] if other else [])]


def read_votes(path: Path, labels: Sequence[str]) -> Votes:
    """Read a table with a column for the clip and one for each label, such as ``1happy``.

    Raises:
        InputError: it cannot be read, a column is missing, or a value is not a number of votes.
    """
    rows = _rows(path)
    line, header = next(rows, (1, ()))
    names = [str(name or "").strip().lower() for name in header]
    by_label = {canonical(re.sub(r"^[\d_.\s]+", "", name)): place for place, name in enumerate(names)}
    clip = next((names.index(name) for name in CLIP_NAMES if name in names), None)
    if clip is None or (lacking := [label for label in labels if label not in by_label]):
        what = (
            f"a column for the clip ({CLIP_NAMES[0]})" if clip is None else f"a column for the votes for {lacking[0]}"
        )
        raise InputError(
            f"{path} line {line}: expected {what}, its columns are {', '.join(filter(None, names)) or 'empty'}"
        )
    found: dict[int, tuple[int, dict[str, float]]] = {}
    for line, values in rows:
        cells = [*values, *[None] * len(names)]
        if all(value in (None, "") for value in values):
            continue
        if (key := _number(str(cells[clip]).strip())) is None:
            raise InputError(
                f"{path} line {line}: {names[clip]} is {shown(cells[clip])}, expected the number of a clip"
            )
        if key in found:
            raise InputError(f"{path} line {line}: duplicate clip {key}, first in line {found[key][0]}")
        where = f"{path} line {line}"
        found[key] = line, {label: _count(cells[by_label[label]], where, names[by_label[label]]) for label in labels}
    return Votes(path, found)


def _number(name: str) -> int | None:
    """Return the number of a clip by the name of its file or folder; None for other names."""
    found = re.fullmatch(r"0*(\d{1,9})(?:\.\w+)?", name)
    return int(found[1]) if found else None


def _count(value: Any, where: str, column: str) -> float:
    try:
        count = float(value or 0)
    except (TypeError, ValueError):
        count = math.nan
    if not 0 <= count < math.inf:
        raise InputError(f"{where}: column {column} is {shown(value)}, expected a number of votes")
    return count


def _find(base: Path) -> Path:
    """Return the file of the votes; a table saved as csv comes before the workbook.

    Raises:
        InputError: there is none.
    """
    for suffix in (".csv", ".xlsx"):
        for folder in (base, *folders_below(base, DEEPEST)):
            for path in children(folder):
                if path.stem.lower().startswith(STEM) and path.suffix.lower() == suffix and path.is_file():
                    return path
    raise InputError(
        f"{base}: no votes of annotators, expected Annotation/{STEM}.xlsx of the release, or {STEM}.csv, in it; without them omit "
        "soft_labels",
        "soft_labels",
    )


def _rows(path: Path) -> Table:
    """Yield the lines of a csv, or of the first sheet of a workbook.

    Raises:
        InputError: openpyxl is missing, or the file cannot be read.
    """
    if path.suffix.lower() == ".csv":
        lines = list(read_lines(path))
        delimiter = delimiter_of(lines[0][1]) if lines else ","
        yield from ((number, cells_of(line, delimiter)) for number, line in lines)
        return
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise InputError(
            f"{path}: workbooks are read with openpyxl: pip install 'peclip[votes]', or save the table as {path.stem}.csv beside it"
        ) from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        rows = list(book.worksheets[0].iter_rows(values_only=True))
        book.close()
    except Exception as error:  # a damaged archive, XML or cell raises its own kind of error
        raise InputError(
            f"{path}: is not a workbook, or a damaged one ({first_line(error)}): copy it again, or save it as {path.stem}.csv"
        ) from error
    yield from enumerate(rows, start=1)
