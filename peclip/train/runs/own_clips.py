"""Say which clips a model was trained, validated and chosen on, from its own run: those of an evaluation may be among them."""

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.data.media.storage import is_address
from peclip.errors import InputError
from peclip.model import Trained
from peclip.model.torch_file import read_checkpoint
from peclip.results.card import data_record
from peclip.results.evaluation import read_metrics
from peclip.results.options import SEED_OPTION, read_options
from peclip.results.selection import EvaluatedSplit, Seen, Selection, Validated, is_optimistic
from peclip.train.module import PEClipModule
from peclip.train.runs.checkpoint_io import LAST
from peclip.train.runs.checkpoints import PREVIOUS, LastCheckpoint
from peclip.train.runs.clips import split_digests
from peclip.train.runs.folder import run_of_model

CHOOSING = (
    "manifest",
    "root",
    "benchmark",
    "options",
    "fold",
    "val",
    "shots",
    "labels",
    "other_labels",
    "allow_outside",
)
"""Options of the data that, with the seed, decide which clips a run is trained, validated and tested on."""


@dataclass(frozen=True)
class OwnClips:
    """Clips of an evaluation on which its model was trained and chosen.

    Attributes:
        selection: clips by whose scores its checkpoint was chosen; ``none`` if they are not clips of its training.
        seen: number of them that are training or validation clips of the model; None if there are none, or if those are not known.
    """

    selection: Selection
    seen: Seen | None = None


def own_clips(source: str, trained: Trained, data: VideoDataModule, clips: Manifest, split: EvaluatedSplit) -> OwnClips:
    """Return the clips of an evaluation on which its model was trained and chosen.

    Args:
        source: the model, as the command line names it.
        trained: model as plain data.
        data: data of the evaluation.
        clips: clips that are evaluated.
        split: split of the data from which the clips are.
    """
    state = _state_of(source)
    run = run_of_model(source)
    options = (read_options(run) if run else None) or state.get("options")
    if not isinstance(options, Mapping):
        return _of_package(trained, data, clips)
    own, has_digests = None, isinstance(state.get("clips"), Mapping)
    with suppress(InputError, OSError, ValueError):
        own = _own_data(options, data, state.get("clips"))
        if own and (has_digests or not _had_another_rule(own)):
            return _compared(own, clips, split)
    return _unknown(clips) if own or has_digests else OwnClips("none")


def validated_here(
    trainer: Trainer, module: PEClipModule, data: VideoDataModule, selection: Selection
) -> Validated | None:
    """Return on how many clips a training has validated; None for all validation clips, or if no checkpoint was chosen on them.

    Args:
        trainer: trainer of a training that has ended.
        module: module with the weights that are evaluated.
        data: data of the training.
        selection: clips on which the checkpoint was chosen.
    """
    clips, at_once, limit = len(data.splits.val), data.eval_batch_size * trainer.world_size, trainer.limit_val_batches
    batches = math.ceil(clips / at_once)
    used = min(limit, batches) if isinstance(limit, int) else int(limit * batches)
    chose = ["checkpoint"] if selection != "none" else []
    if module.calibrate and (chose or module.net.temperature != 1):
        chose.append("temperature")
    return Validated(used * at_once, clips, tuple(chose)) if chose and 0 < used < batches else None


def validated_before(source: str, trained: Trained) -> Validated | None:
    """Return on how many clips the training of a model has validated, as the report of its run, or its package, says.

    Args:
        source: the model, as the command line names it.
        trained: the model.
    """
    metrics = trained.record.scores if trained.record else None
    if run := run_of_model(source):
        with suppress(InputError):  # a damaged report is ignored; the evaluation writes another one
            metrics = read_metrics(run)
    found = metrics.validated if metrics else None
    if not found or Path(source).name not in (LAST, PREVIOUS):
        return found
    chose = tuple(each for each in found.chose if each != "checkpoint")
    return replace(found, chose=chose) if chose else None


def _unknown(clips: Manifest) -> OwnClips:
    """Return that it is unknown which of the clips the model was trained on; the results then say so."""
    return OwnClips("none", Seen(0, 0, len(clips), unknown=True))


def _compared(own: VideoDataModule, clips: Manifest, split: EvaluatedSplit) -> OwnClips:
    """Return the clips of an evaluation on which a run trained and validated."""
    files, splits = _files(clips), own.splits
    trained, validated, tested = ({*_files(each)} for each in (splits.train, splits.val, splits.test))
    is_own = (validated if split == "validation" else tested).issuperset(files)
    selection: Selection = own.selection if is_own else "none"
    # If the clips that choose the checkpoint are evaluated, the sentence about the selection says so.
    validation = 0 if is_optimistic(selection, split) else sum(file in validated for file in files)
    seen = Seen(sum(file in trained for file in files), validation, len(files))
    return OwnClips(selection, seen if seen.training or seen.validation else None)


def _of_package(trained: Trained, data: VideoDataModule, clips: Manifest) -> OwnClips:
    """Return the clips on which a model without a run was chosen, as far as its record names them."""
    record = trained.record
    if not record or record.data != data_record(vars(data)):
        return OwnClips("none")
    if _is_drawn(data) and record.training.get("seed") != data.seed:
        return OwnClips("none")
    return _unknown(clips) if _had_another_rule(data) else OwnClips(data.selection)


def _is_drawn(data: VideoDataModule) -> bool:
    """Return whether the seed chooses the validation clips: a share of the training clips, if no split is for validation."""
    return data.val not in ("test", 0) and not len(data.source.splits(data.fold)[1])


def _had_another_rule(data: VideoDataModule) -> bool:
    """Return whether an earlier version chose other validation clips: it chose the pieces of a video one by one."""
    return _is_drawn(data) and bool(data.source.splits(data.fold)[0].table["path"].duplicated().any())


def _state_of(source: str) -> Mapping[str, Any]:
    """Return what the checkpoint of a model records about its training; empty if there is none, or it holds only weights."""
    run, path = run_of_model(source), Path(source)
    checkpoint = run / "checkpoints" / LAST if run else path
    if checkpoint.suffix == ".ckpt" and checkpoint.is_file():
        with suppress(InputError, KeyError, TypeError, AttributeError):
            state = read_checkpoint(checkpoint)["callbacks"].get(LastCheckpoint.__name__)
            return state if isinstance(state, Mapping) else {}
    return {}


def _own_data(options: Mapping[str, Any], data: VideoDataModule, known: Any) -> VideoDataModule | None:
    """Return the data of a run; None if its clips are missing or have changed.

    Args:
        options: options of the run.
        data: data of the evaluation, whose clips may be those of the run, even in another folder.
        known: digests of the clips of the run, if its checkpoint has them.

    Raises:
        InputError: an option is unknown or invalid.
    """
    given, seed = options.get("data"), options.get(SEED_OPTION)
    if not isinstance(given, Mapping) or type(seed) is not int:
        return None
    here, there = (
        VideoDataModule(**{name: given[name] for name in CHOOSING if name in given}, seed=seed, num_workers=0)
        for _ in range(2)
    )
    is_same = _place(there) == _place(data)
    is_there = there.manifest and not is_address(there.manifest) and os.path.isfile(there.manifest)
    here.__dict__["all_clips"] = data.all_clips
    if not isinstance(known, Mapping):
        return here if is_same else there if is_there else None
    is_soft = bool(given.get("soft_labels"))
    lists = [here, there] if is_there and not is_same else [here]
    # With soft labels only the validation clips are compared, which a list of other training clips may share.
    return next((own for own in (reversed(lists) if is_soft else lists) if _has_digests(own, known, is_soft)), None)


def _has_digests(own: VideoDataModule, known: Mapping[str, Any], is_soft: bool) -> bool:
    """Return whether a run with these data trained and validated on the clips with these digests."""
    try:
        digests = split_digests(own)
    except (InputError, OSError, ValueError):
        return False  # another list may not be readable or cannot be split as that of the run
    # The digest of training clips includes soft labels, which an evaluation does not read.
    names = ("training", "validation") if not is_soft else ("validation",) if len(own.splits.val) else ("test",)
    return all(known.get(name) == digests[name] for name in names)


def _place(data: VideoDataModule) -> tuple[Any, ...]:
    """Return the options that locate the clips of a run."""
    if data.manifest:
        return (data.manifest if is_address(data.manifest) else os.path.realpath(data.manifest),)
    return os.path.realpath(data.root or ""), data.benchmark or "folders", data.options or {}


def _files(clips: Manifest) -> list[tuple[str, float, float]]:
    """Return the file of each clip, and the seconds between which the clip is."""
    root = clips.root if isinstance(clips.root, str) else os.path.realpath(clips.root)
    paths = (os.path.normpath(os.path.join(root, path)) for path in clips.table["path"])
    return list(zip(paths, clips.table["start"].fillna(0), clips.table["end"].fillna(math.inf), strict=True))
