"""Count a manifest's clips, classes, folds and frames beside the published numbers of its benchmark."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from peclip import labels
from peclip.data.check.published import Published
from peclip.data.manifest import Manifest


@dataclass(frozen=True)
class Count:
    """One number of the manifest, and the published one (None if there is none)."""

    what: str
    found: int
    published: int | None = None

    @property
    def verdict(self) -> str:
        """``equal`` or ``differs``; empty without a published number."""
        return "" if self.published is None else "equal" if self.found == self.published else "differs"


def clip_counts(manifest: Manifest, published: Published) -> Iterator[Count]:
    """Yield the numbers of clips, by fold or split, and by class."""
    yield Count("clips", len(manifest), published.clips)
    folds = manifest.folds
    if folds or published.folds:
        yield Count("folds", len(folds), len(published.folds) or None)
    for fold in folds:
        train, test = published.folds.get(fold, (None, None))
        role = manifest.roles(fold)
        yield Count(f"fold {fold}: train", int(role.eq("train").sum()), train)
        yield Count(f"fold {fold}: test", int(role.eq("test").sum()), test)
    if not folds:
        for split, rows in _splits(manifest).items():
            yield Count(split, int(rows.sum()), published.splits.get(split))
    yield Count("classes", len(manifest.labels), published.labels)
    everything = {"all": pd.Series(True, index=manifest.table.index)} if "all" in published.classes else {}
    expected = {} if folds and folds[0] != 1 else published.classes
    for split, rows in {**everything, **_splits(manifest)}.items():
        yield from _count_classes(manifest.select(rows), _name(manifest, split), expected.get(split, {}))


def frame_counts(
    manifest: Manifest, frames: Sequence[int | None], num_frames: int, published: Published
) -> Iterator[Count]:
    """Yield numbers of frames, and of the clips that have fewer than a model reads.

    Args:
        manifest: the clips.
        frames: number of frames of each clip; None if unknown.
        num_frames: T, the frames that a model reads of a clip.
        published: the published numbers; those of short clips are for clips under 16 frames.
    """
    known = sorted(number for number in frames if number is not None)
    if not known:
        return
    yield Count("frames", sum(known))
    yield Count("frames of the shortest clip", known[0])
    yield Count("frames of the median clip", known[len(known) // 2])
    yield Count("frames of the longest clip", known[-1])
    is_short = pd.Series([number is not None and number < num_frames for number in frames], dtype=bool)
    for split, rows in _splits(manifest).items():
        expected = published.short.get(split) if num_frames == 16 else None
        yield Count(
            f"{_name(manifest, split)}: clips under {num_frames} frames", int((rows & is_short).sum()), expected
        )


def _splits(manifest: Manifest) -> dict[str, "pd.Series[bool]"]:
    """Return the rows of each split that is not empty; of a manifest with folds, as in the first fold."""
    role = manifest.roles(manifest.folds[0] if manifest.folds else None)
    return {split: role.eq(split) for split in ("train", "val", "test") if role.eq(split).any()}


def _name(manifest: Manifest, split: str) -> str:
    return f"fold {manifest.folds[0]} {split}" if manifest.folds and split != "all" else split


def _count_classes(clips: Manifest, name: str, published: Mapping[str, int]) -> Iterator[Count]:
    found = clips.table["label"].value_counts()
    if len(found) > labels.MOST_CLASSES and not published:
        yield Count(f"{name}: clips of the largest of {len(found):,} classes", int(found.iloc[0]))
        yield Count(f"{name}: clips of the smallest", int(found.iloc[-1]))
        return
    for label in labels.ordered([*clips.labels, *published]):
        yield Count(f"{name}: {label}", int(found.get(label, 0)), published.get(label))
