"""``peclip table``: one table of many runs, whose seeds are replicates, for the screen, a page, a spreadsheet or a paper."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from peclip.errors import InputError, listed, printable
from peclip.files import as_cell, as_text_cell, write_text
from peclip.results.formatting import Rows, duration, giga, markdown_table, print_table, total
from peclip.results.replicates import FoundResults, Result, find_results, replicates
from peclip.results.selection import optimism_notes
from peclip.terminal import say

Format = Literal["markdown", "csv", "latex"]

ABSENT = "-"
"""Cell of a value that is not known."""

COLUMNS = (
    *("run", "method", "runs", "seeds", "clips", "war", "war_std", "uar", "uar_std"),
    *("trained_parameters", "parameters", "flops_per_clip", "training_seconds", "trained_on"),
)
"""Columns of the table as csv; rates are fractions, and a value that is not known is an empty cell."""

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}  # other signs in LaTeX's usual encoding
LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


@dataclass(frozen=True)
class Mean:
    """Mean of a rate over the runs of a row, and its standard deviation, divided by their number less one; None for one run."""

    mean: float
    std: float | None

    def __str__(self) -> str:
        """Return both in percent."""
        return f"{100 * self.mean:.2f}" + ("" if self.std is None else f" ± {100 * self.std:.2f}")


@dataclass(frozen=True)
class TableRow:
    """Runs that differ only in the seed.

    Attributes:
        name: part of the path that their folders share, and that distinguishes them from other rows.
        results: results of the runs.
    """

    name: str
    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """One of the results: what they have in common, such as the parameters."""
        return self.results[0]

    @property
    def war(self) -> Mean:
        """Weighted average recall."""
        return _mean([result.war for result in self.results])

    @property
    def uar(self) -> Mean:
        """Unweighted average recall."""
        return _mean([result.uar for result in self.results])

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs in their order, if they are known."""
        return sorted(result.seed for result in self.results if result.seed is not None)

    @property
    def clips(self) -> str:
        """Number of clips that were evaluated, or the smallest and the largest one."""
        numbers = sorted({result.clips for result in self.results})
        return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"

    @property
    def flops(self) -> int | None:
        """Floating-point operations of a clip; None if no run has them."""
        return next((result.flops for result in self.results if result.flops is not None), None)

    @property
    def seconds(self) -> float | None:
        """Mean duration of a training; None if that of a run is not known."""
        whole = total([result.seconds for result in self.results])
        return None if whole is None else whole / len(self.results)

    @property
    def devices(self) -> list[str]:
        """Devices on which the runs trained, if they are known."""
        return sorted({result.device for result in self.results if result.device})


def table(runs: list[str], format: Format | None = None, out: str | None = None) -> None:
    """Put many runs into one table: WAR and UAR, trained parameters, FLOPs of a clip and training time.

    Runs that differ only in the seed are one row, with mean and standard deviation.

    Args:
        runs: Folders of runs, of evaluations or of cross-validations, folders that hold some, and patterns such as
            'runs/*/version_0'. Runs that are not finished are omitted.
        format: markdown, csv or latex; by default that of --out's suffix (.md, .csv, .tex), or a table for the screen.
        out: File to write; by default the table is printed.

    Raises:
        InputError: there is no finished run, or one of its files is damaged.
    """
    found = find_results(runs)
    rows = make_rows(found)
    kind = format or _format_of(out)
    if kind is None:
        print_table("Runs", _cells(rows))
        say(*_notes(rows, found))
        return
    text = as_text(rows, _notes(rows, found), kind)
    if out:
        write_text(Path(out), text)
        say(f"The table is in {out}")
    else:
        say(*text.removesuffix("\n").split("\n"))
    if kind == "csv":  # it has no room for them
        say(*_notes(rows, found), error=not out)


def make_rows(found: FoundResults) -> list[TableRow]:
    """Return a row for the results that differ only in the seed.

    Raises:
        InputError: a file of a result is damaged.
    """
    groups = replicates(found.results)
    names = _names([[result.folder for result in group] for group in groups])
    return [TableRow(name, tuple(group)) for name, group in zip(names, groups, strict=True)]


def as_text(rows: Sequence[TableRow], notes: Sequence[str], kind: Format) -> str:
    """Return the table as a text of a format; csv has no notes."""
    if kind == "csv":
        return _as_csv(rows)
    if kind == "latex":
        return _as_latex(_cells(rows), notes)
    return "\n\n".join([markdown_table(_cells(rows)), *notes]) + "\n"


def _cells(rows: Sequence[TableRow]) -> Rows:
    header = ["run", "method", "runs", "clips", "WAR %", "UAR %", "trained", "GFLOPs", "time"]
    cells = [
        [
            *(row.name, row.first.method or ABSENT, str(len(row.results)), row.clips),
            *(str(row.war), str(row.uar), f"{row.first.trainable:,}"),
            ABSENT if row.flops is None else giga(row.flops),
            ABSENT if row.seconds is None else duration(row.seconds),
        ]
        for row in rows
    ]
    return header, cells


def _as_csv(rows: Sequence[TableRow]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        war, uar = row.war, row.uar
        writer.writerow(
            [
                *(as_cell(_in_utf8(row.name)), as_text_cell(row.first.method or ""), len(row.results)),
                *(" ".join(map(str, row.seeds)), row.clips.replace(",", "")),
                *(war.mean, war.std, uar.mean, uar.std, row.first.trainable, row.first.parameters),
                *(row.flops, row.seconds, as_text_cell(", ".join(row.devices))),
            ]
        )
    return file.getvalue()


def _in_utf8(name: str) -> str:
    """Return the name of a folder whose bytes may not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def _as_latex(cells: Rows, notes: Sequence[str]) -> str:
    header, rows = cells
    # The braces: after \\ of the line before, LaTeX takes a star or a bracket for an argument.
    lines = ["{}" + " & ".join(map(_latex, line)) + r" \\" for line in (header, *rows)]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            *(f"% {printable(note)}" for note in notes),
            f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            *("\\toprule", lines[0], "\\midrule", *lines[1:], "\\bottomrule", "\\end{tabular}", ""),
        ]
    )


def _latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in printable(text))


def _notes(rows: Sequence[TableRow], found: FoundResults) -> list[str]:
    """Return the notes that readers of the table need."""
    notes = ["Trained: parameters. Time: of a training, validation included; of several the mean."]
    if any(len(row.results) > 1 for row in rows):
        notes.append("Mean ± standard deviation over runs that differ only in the seed.")
    if any(row.flops is not None for row in rows):
        notes.append("GFLOPs of a clip in the vision tower; the class texts are encoded once for all clips.")
    devices = sorted({device for row in rows for device in row.devices})
    if len(devices) > 1:
        notes.append(f"Training times are of different devices: {listed(devices)}.")
    if len({row.clips for row in rows}) > 1:
        notes.append("The runs were not tested on the same number of clips: compare with care.")
    for row in rows:
        if again := sorted({seed for seed in row.seeds if row.seeds.count(seed) > 1}):
            notes.append(f"{row.name}: seed {listed(map(str, again))} occurs more than once, with different results.")
        notes += [
            f"Counted once: {listed(map(str, result.repeated))} (the same seed and result as {result.folder})."
            for result in row.results
            if result.repeated
        ]
        notes += optimism_notes(row.first.selection, row.first.split, of=row.name)
        notes += [f"{row.name}: {remark}." for remark in dict.fromkeys(row.first.remarks)]
    if found.unfinished:
        notes.append(f"Not finished, omitted: {listed(map(str, found.unfinished))}.")
    return notes


def _names(groups: Sequence[Sequence[Path]]) -> list[str]:
    """Return a name for each group of folders: their path without the beginning and the end that all groups share."""
    paths = [[folder.parts or (".",) for folder in group] for group in groups]
    whole = [_common(each) for each in paths]
    whole = [_first_of(each) if whole.count(name) > 1 else name for each, name in zip(paths, whole, strict=True)]
    start = _alike(whole)
    end = _alike([parts[start:][::-1] for parts in whole])
    return [str(Path(*parts[start : len(parts) - end])) for parts in whole]


def _alike(paths: Sequence[Sequence[str]]) -> int:
    """Return how many first parts of paths are alike; at least one part of each remains, and a single path remains whole."""
    most = max(min(map(len, paths)) - 1, 0) if len(paths) > 1 else 0
    return next((place for place in range(most) if len({parts[place] for parts in paths}) > 1), most)


def _common(paths: Sequence[Sequence[str]]) -> list[str]:
    """Return the parts of paths with an asterisk for what differs, or of unlike paths the first one and their number."""
    if len({*map(len, paths)}) == 1:
        common = [_with_asterisk(parts) for parts in zip(*paths, strict=True)]
        if "*" not in common:
            return common
    return _first_of(paths)


def _first_of(paths: Sequence[Sequence[str]]) -> list[str]:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return [*paths[0][:-1], f"{paths[0][-1]}{more}"]


def _with_asterisk(names: Sequence[str]) -> str:
    if len({*names}) == 1:
        return names[0]
    start = _alike(names)
    end = _alike([name[start:][::-1] for name in names])
    return f"{names[0][:start]}*{names[0][len(names[0]) - end :]}"


def _mean(values: Sequence[float]) -> Mean:
    return Mean(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _format_of(out: str | None) -> Format | None:
    """Return the format that the suffix of a file means; None without a file.

    Raises:
        InputError: it means none.
    """
    if out is None:
        return None
    suffix = Path(out).suffix.lower()
    suffixes: dict[str, Format] = {".csv": "csv", ".tex": "latex"}
    if suffix not in (*suffixes, ".md", ".markdown", ".txt", ""):
        raise InputError(
            f"out {out}: expected a name that ends in .md, .csv or .tex, or one of these with --format", "out"
        )
    return suffixes.get(suffix, "markdown")
