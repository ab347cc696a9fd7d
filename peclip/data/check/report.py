"""Report whether a manifest is fit to train on: its counts beside the published ones, and what is wrong with its clips."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from peclip.console import PlainConsole
from peclip.data.benchmarks import READERS
from peclip.data.benchmarks.actors import actor_of
from peclip.data.benchmarks.comparison import comparison_notes
from peclip.data.check.counts import Count, clip_counts, frame_counts
from peclip.data.check.defaults import refused_by_default, trained_labels
from peclip.data.check.duplicates import find_duplicates
from peclip.data.check.inspection import Inspected, inspect_clips
from peclip.data.check.published import PUBLISHED, Published
from peclip.data.manifest import Manifest
from peclip.data.manifest.formats import RELATIVE, list_command
from peclip.data.soft_labels import soft_remarks
from peclip.data.subjects import has_subjects, on_several_sides
from peclip.errors import InputError, counted, printable, short
from peclip.labels import MOST

SIGNS = {
    "dfew": r"(?:^|/)clip_224x224(?:_16f|_avi)?/",
    "ferv39k": r"(?:^|/)(?:2_ClipsforFaceCrop|3_ClipsforScenImages)/",
    "ravdess": r"(?:^|/)Actor_\d\d/0[12]-",
    "cremad": r"(?:^|/)VideoFlash/1\d{3}_",
}
"""The piece of a clip's path that identifies its benchmark."""

ALIKE = "classes that differ in case alone"

KINDS = (
    *("missing", "empty", "undecodable", "short", "several video streams", "duplicate"),
    *("duplicate across splits or labels", "person on both sides of a split", "empty class", ALIKE),
)
"""Kinds of findings; people are known by the column subject, or by the names of files (RAVDESS, CREMA-D)."""

SHOWN = 5  # clips that are named in a table's row


@dataclass(frozen=True)
class Finding:
    """A fact about clips that a user should know.

    Attributes:
        what: the kind (``missing``, ``short``, ...).
        clips: a sentence for each clip, group or class.
        fatal: whether the manifest is not fit to train on because of it.
    """

    what: str
    clips: Sequence[str]
    fatal: bool


@dataclass(frozen=True)
class Report:
    """Findings of `check`.

    Attributes:
        manifest: file or folder that names the clips.
        benchmark: benchmark whose published counts were compared; None if there is none.
        counts: numbers of clips, classes, folds and frames.
        findings: the kinds that occurred.
        notes: remarks of the reader and about the published counts.
        conditions: why a training with the default options refuses the manifest, and which options it needs.
    """

    manifest: str
    benchmark: str | None
    counts: Sequence[Count]
    findings: Sequence[Finding] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    conditions: Sequence[str] = ()

    @property
    def fit_to_train(self) -> bool:
        """True if every clip can be read and no clip or person is on both sides of a split; see also ``conditions``."""
        return not any(finding.fatal for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The answer to whether the manifest is fit to train on, in words."""
        if fatal := ", ".join(finding.what for finding in self.findings if finding.fatal):
            return f"no ({fatal})"
        return "yes, but not with the default options of peclip fit: see the notes" if self.conditions else "yes"

    def print(self, console: PlainConsole) -> None:
        """Print the counts, the findings and the verdict."""
        title = f"{printable(self.manifest)}: {self.benchmark or 'clips'}"
        counts = Table("count", "found", "published", "", title=title)
        for count in self.counts:
            published = "" if count.published is None else f"{count.published:,}"
            counts.add_row(Text(count.what), f"{count.found:,}", published, count.verdict)
        console.print(counts)
        if self.findings:
            findings = Table("finding", "number", "which", title="findings")
            for finding in self.findings:
                more = [f"... and {len(finding.clips) - SHOWN} more"] if len(finding.clips) > SHOWN else []
                what = Text(finding.what, style="red" if finding.fatal else "yellow")
                which = "\n".join([*map(printable, finding.clips[:SHOWN]), *more])
                findings.add_row(what, f"{len(finding.clips):,}", which)
            console.print(findings)
        kinds = {finding.what for finding in self.findings}
        console.print(f"none of these: {', '.join(kind for kind in KINDS if kind not in kinds)}")
        for note in (*self.notes, *self.conditions):
            console.print(f"note: {printable(note)}", soft_wrap=True)
        console.print(f"fit to train on: {self.verdict}", soft_wrap=True)


def check(
    manifest: Manifest,
    benchmark: str | None = None,
    *,
    num_frames: int = 16,
    full: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Count a manifest's clips against the published counts and inspect every clip.

    Args:
        manifest: the clips.
        benchmark: benchmark whose published counts to compare with; by default detected from the manifest's name (``dfew.csv``) or
            the paths in it, if possible.
        num_frames: T; a clip with fewer frames counts as short.
        full: decode every frame, not only those that a test of the model reads.
        workers: clips inspected at a time; by default one for each core.
        progress: shows the progress of the inspection.

    Returns:
        The report; its ``fit_to_train`` is the verdict.

    Raises:
        InputError: the benchmark is unknown, the clips are those of several benchmarks, or a number is below 1.
    """
    for name, number in {"num_frames": num_frames, "workers": 1 if workers is None else workers}.items():
        if number < 1:
            raise InputError(f"{name} is {number}, expected at least 1")
    if benchmark is not None and benchmark not in READERS:
        raise InputError(f"unknown benchmark {benchmark!r}, expected one of {', '.join(READERS)}")
    benchmark = benchmark or _detect_benchmark(manifest)
    published = PUBLISHED.get(benchmark or "", Published())
    task = progress.add_task("inspecting clips", total=len(manifest)) if progress else None

    def done() -> None:
        if progress is not None and task is not None:
            progress.advance(task)

    seen = inspect_clips(manifest, num_frames, full, workers or os.cpu_count() or 1, done)
    return Report(
        manifest=str(manifest.source),
        benchmark=benchmark,
        counts=[
            *clip_counts(manifest, published),
            *frame_counts(manifest, [one.frames for one in seen], num_frames, published),
        ],
        findings=[*_problems(manifest, seen, num_frames), *_classes(manifest), *_both_sides(manifest, benchmark)],
        notes=[
            *dict.fromkeys([*manifest.notes, *_remarks(manifest, benchmark, seen), *filter(None, [published.note])]),
            *soft_remarks(manifest),
        ],
        conditions=[*refused_by_default(manifest)],
    )


def _detect_benchmark(manifest: Manifest) -> str | None:
    """Return the benchmark that the paths, or the manifest's own name, identify."""
    detected = {}
    for name, sign in SIGNS.items():
        match = manifest.table["path"].str.contains(sign, regex=True)
        if match.any():
            detected[name] = manifest.where(int(match.to_numpy().argmax()))
    if len(detected) > 1:
        which = " and ".join(f"{name} ({where})" for name, where in detected.items())
        raise InputError(f"{manifest.source}: clips of several benchmarks are mixed: {which}; check each by itself")
    name = re.split(r"[\W_]", manifest.source.stem.lower())[0]
    return next(iter(detected), name if name in PUBLISHED else None)


def _remarks(manifest: Manifest, benchmark: str | None, seen: Sequence[Inspected]) -> Iterator[str]:
    """Yield sentences on the published results that compare, and advice if no clip is found."""
    yield from comparison_notes(benchmark, manifest.labels)
    if all(one.problem == "missing" for one in seen):
        command = list_command(manifest.source, columns=manifest.written_columns)
        yield f"no clip is there; if the paths are of another machine: {command or RELATIVE}"


def _problems(manifest: Manifest, seen: Sequence[Inspected], num_frames: int) -> Iterator[Finding]:
    """Yield what is wrong with single clips, and the clips with few frames."""
    found: dict[str, list[str]] = defaultdict(list)
    for index, one in enumerate(seen):
        if one.problem:
            found[one.problem].append(f"{manifest.where(index)}: {one.message}")
        elif one.frames is not None and one.frames < num_frames:
            found["short"].append(f"{manifest.where(index)}: {counted(one.frames, 'frame')}, the last is repeated")
        if one.choice:
            found["several video streams"].append(f"{manifest.where(index)}: {one.choice}")
    for what in ("missing", "empty", "undecodable", "short", "several video streams"):
        if found[what]:
            yield Finding(what, found[what], fatal=what not in ("short", "several video streams"))


def _classes(manifest: Manifest) -> Iterator[Finding]:
    """Yield classes that cannot be learnt, in every fold (fatal) or in some, and classes that may be the same one."""
    choices: list[int | None] = list(manifest.folds) or [None]
    without: dict[str, list[int | None]] = defaultdict(list)
    for fold, trained in trained_labels(manifest, choices).items():
        for label in manifest.labels:
            if label not in trained:
                without[label].append(fold)
    never = [f"{label}: no clip to train on" for label, folds in without.items() if len(folds) == len(choices)]
    some = [
        f"{label}: no clip to train on in fold {', '.join(map(str, folds))}"
        for label, folds in without.items()
        if len(folds) < len(choices)
    ]
    if never:
        yield Finding("empty class", never, fatal=True)
    if some:
        yield Finding("class empty in a fold", some, fatal=False)
    number = len(manifest.labels)
    if number < 2:
        yield Finding("too few classes", [f"{number} in all, training needs two"], fatal=True)
    if number > MOST:
        yield Finding("too many classes", [f"{number:,} in all, training takes at most {MOST:,}"], fatal=True)
    alike: dict[str, list[str]] = defaultdict(list)
    for label in manifest.labels:
        alike[label.casefold()].append(label)
    if twins := [" and ".join(names) for names in alike.values() if len(names) > 1]:
        yield Finding(ALIKE, twins, fatal=False)


def _both_sides(manifest: Manifest, benchmark: str | None) -> Iterator[Finding]:
    """Yield duplicate clips, and people who are trained and tested on."""
    divisions = _divisions(manifest)
    harmless, harmful = find_duplicates(manifest, divisions)
    if harmless:
        yield Finding("duplicate", harmless, fatal=False)
    if harmful:
        yield Finding("duplicate across splits or labels", harmful, fatal=True)
    clips, people = _with_actors(manifest, benchmark), dict[str, dict[str, int]]()
    for side in divisions:
        found = on_several_sides(clips.select(pd.Series(side).ne("")), [name for name in side if name])
        people = found | people
    who = "actor" if benchmark in ("ravdess", "cremad") else "subject"
    if both := [f"{who} {short(name)}: {', '.join(sorted(sides))}" for name, sides in people.items()]:
        yield Finding("person on both sides of a split", both, fatal=True)


def _with_actors(manifest: Manifest, benchmark: str | None) -> Manifest:
    """Return the manifest with the actors of a benchmark as subjects, if it has no subjects."""
    if has_subjects(manifest) or not benchmark:
        return manifest
    actors = [actor_of(benchmark, Path(path)) or "" for path in manifest.table["path"]]
    return Manifest(manifest.table.assign(subject=actors), manifest.source, manifest.root)


def _divisions(manifest: Manifest) -> list[list[str]]:
    """Return the side of each row (its fold, or else its split) in each division; with roles by fold, each fold is a division.

    Two sides of a division may not share clips or people, except the empty side.
    """
    if manifest.fold_columns:
        return [[f"fold {fold} {role}" if role else "" for role in manifest.roles(fold)] for fold in manifest.folds]
    split, fold = manifest.table["split"], manifest.table["fold"]
    if (split.eq("val") & fold.notna()).any():  # they validate in every fold but their own
        return [[f"fold {number} {role}" for role in manifest.roles(number)] for number in manifest.folds]
    return [
        [(name or "train") if pd.isna(number) else f"fold {number}" for name, number in zip(split, fold, strict=True)]
    ]
