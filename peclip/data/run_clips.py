"""RunClips: the clips of a run, their labels, and what each of them is for."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from lightning.pytorch import LightningDataModule

from peclip import labels as vocabulary
from peclip.data.manifest import Manifest
from peclip.data.soft_labels import without_soft_labels
from peclip.data.source import Splits, Validation, read_source, split_source
from peclip.errors import InputError, counted, listed

if TYPE_CHECKING:
    import pandas as pd

_SPLITS = {"fit": ("train", "training"), "validate": ("val", "validation"), "test": ("test", "test")}
"""The split that a stage reads, and what its clips are called."""


class RunClips(LightningDataModule):
    """The clips of a run and their roles; :class:`peclip.data.VideoDataModule`, which loads them, describes the arguments."""

    def __init__(
        self,
        *,
        manifest: str | None,
        root: str | None,
        benchmark: str | None,
        options: dict[str, str] | None,
        fold: int | None,
        labels: list[str] | None,
        val: Validation,
        predict: Literal["train", "val", "test", "all"] | None,
        allow_outside: bool,
        other_labels: Literal["raise", "skip"],
        seed: int,
        shots: int | None,
        soft_labels: bool,
    ) -> None:
        super().__init__()
        if labels is not None:
            vocabulary.class_names(labels)
        self.manifest, self.root, self.benchmark, self.options, self.fold = manifest, root, benchmark, options, fold
        self.val, self.predict, self.allow_outside, self.seed = val, predict, allow_outside, seed
        self.other_labels, self._labels = other_labels, labels
        self.shots, self.soft_labels = shots, soft_labels

    @cached_property
    def all_clips(self) -> Manifest:
        """All clips of the manifest or benchmark, those of other labels included."""
        return read_source(self.manifest, self.root, self.benchmark, self.options, self.allow_outside, self.soft_labels)

    @cached_property
    def source(self) -> Manifest:
        """The clips of the run: all of them, or with ``other_labels`` skip those of its labels and those without a label.

        Raises:
            InputError: no clip has one of the labels.
        """
        clips = self.all_clips
        if self._labels is None or self.other_labels == "raise":
            return clips
        other = _has_other_label(clips, self.labels)
        if other.all():
            raise InputError(
                f"{clips.source}: no clip has one of the labels {listed(self.labels)}, its labels are {listed(clips.labels)}",
                "other_labels",
            )
        omitted = int(other.sum())
        notes = (f"{counted(omitted, 'clip')} of other labels omitted",) if omitted else ()
        return clips.select(~other).with_notes(*notes)

    def other_clips(self, split: Literal["train", "val", "test"]) -> dict[str, int]:
        """Return how many clips of a split were omitted, by their label, which is none of the labels."""
        if len(self.source) == len(self.all_clips):
            return {}
        clips = self.all_clips
        left = clips.table["label"][_has_other_label(clips, self.labels) & clips.roles(self.fold).eq(split)]
        return {str(label): int(count) for label, count in left.value_counts().items()}

    def use_labels(self, labels: Sequence[str]) -> None:
        """Use the labels of a trained model; call it before the clips are looked at."""
        assert "source" not in self.__dict__
        self._labels = [*labels]

    @cached_property
    def splits(self) -> Splits:
        """The clips by what they are for."""
        splits = split_source(self.source, self.fold, self.val, self.seed)
        if self.shots is not None:
            splits = splits.with_shots(self.shots, self.seed)
        missing = without_soft_labels(splits.train) if self.soft_labels else ()
        return replace(splits, remarks=(*splits.remarks, *missing))

    @cached_property
    def labels(self) -> list[str]:
        """Class names in the order of the logits; this is the only place that decides the order."""
        if self._labels is None:
            if len(found := self.source.labels) < 2:
                has = f"only the label {found[0]!r}" if found else "no labels"
                raise InputError(f"{self.source.source} has {has}, recognition needs clips of at least two")
            return found
        return [*vocabulary.class_names(self._labels)]

    @property
    def predicted(self) -> Manifest:
        """The clips that ``peclip predict`` reads."""
        roles = self.source.table["split"] if self.fold is None else self.source.roles(self.fold)
        which = self.predict or ("test" if roles.eq("test").any() else "all")
        return self.source if which == "all" else getattr(self.splits, which)

    def without_clips(self, stage: str) -> InputError:
        """Return the error for a source without clips for a stage: which are missing, where they are expected, what to do."""
        source, fold = self.source, self.fold
        if stage == "predict":
            return InputError(
                f"predict is {self.predict}, but {source.source} has no such clips: set it to all", "predict"
            )
        split, kind = _SPLITS[stage]
        where = "" if fold is None else f" beside fold {fold}" if stage == "fit" else f" in fold {fold}"
        missing = f"{source.source} has no {kind} clips{where}"
        if stage == "validate" and not self.val:
            return InputError(f"{missing}, and val is 0: set val to a share of the training clips, such as 0.1", "val")
        if fold is not None and stage == "fit" and fold not in source.fold_columns:
            return InputError(f"{missing}: write another fold into the column fold of the clips to train on")
        held_out = "that the model was not trained on" if stage == "test" else f"of the {kind}"
        if self.root:
            place = f"{self.root}/{split}/CLASS"
            return InputError(
                f"{missing}: move the clips {held_out} to {place}, and others to the folders of their splits"
            )
        column = source.fold_columns.get(fold, "split") if fold is not None else "split"
        return InputError(f"{missing}: write {split} into a column {column} for the clips {held_out}")

    @property
    def selection(self) -> Literal["validation", "test", "none"]:
        """The clips on which the best checkpoint is chosen; with none, the last one is kept."""
        if self.val == "test":
            return "test"
        return "validation" if len(self.splits.val) else "none"


def _has_other_label(clips: Manifest, labels: Sequence[str]) -> "pd.Series[bool]":
    """Return for each clip whether its label is none of the labels; clips without a label have no other."""
    label = clips.table["label"]
    return ~label.isin([*labels]) & label.ne("")
