"""The LightningDataModule: which clips are for what, in which order, and what happens to a batch on the device.

There the video of a batch, see :mod:`peclip.data.dataset`, becomes float, augmented and normalised.
"""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from peclip import labels as vocabulary
from peclip.data.augment import Augment, Mix, Normalization, augment, mix, normalize
from peclip.data.dataset import Batch, ClipDataset, OnError, collate
from peclip.data.manifest import Manifest
from peclip.data.media.shard import check_shards
from peclip.data.order import Draw, EvalOrder, TrainOrder, own_part
from peclip.data.source import Splits, Validation, read_source, split_source
from peclip.data.stream import PartOrder, Stream
from peclip.data.workers import dead_workers
from peclip.errors import InputError

CLIP_SIZE = 224
"""Side of the frames, in pixels, where neither an option nor a model says it."""

MAX_FRAMES = 10_000
"""More frames per clip are a slip of the finger, and would fill the memory."""


class LateLoader(DataLoader[Batch]):
    """A loader that asks for the order of the clips at the first batch, not before.

    Lightning makes the iterator of a resumed run before it sets the epoch, and workers would read the clips of epoch 0.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # only a DataLoader's iterator knows workers
        """Yield the batches."""
        yield from super().__iter__()


class VideoDataModule(LightningDataModule):
    """Clips for training, validation, test and prediction, from a manifest or a benchmark's folder.

    Args:
        manifest: csv file with the columns path,label and optional split,fold,start,end.
        root: folder of a benchmark in its released layout, instead of a manifest.
        benchmark: layout of the folder: ferv39k, folders (a folder per class, or files named after their class), demo or
            demo_order (drawn into the folder when it is not there); folders where nothing is given.
        options: options of the benchmark's reader, such as {scene: Action} for one of FERV39K's scenes.
        fold: the fold to test on, where the source has folds.
        labels: class names in the order of the logits; by default those of the training clips, known expressions first.
        num_frames: T, frames per clip; at least 1, at most 10000.
        image_size: side of the frames in pixels; by default what the model takes.
        batch_size: clips per training batch and device; at least 1.
        eval_batch_size: clips per batch in evaluation; by default the batch size.
        num_workers: processes that decode; 0 decodes in the main process.
        val: share of every class of the training clips that is held out for validation and selection, where the source
            has no validation split; or test, which selects on the test clips as the authors' program does.
        predict: which clips peclip predict takes; by default the test clips where there are any, else all.
        normalize: clip subtracts CLIP's mean and divides by its standard deviation; none leaves pixels in [0, 1].
        augment: how training clips are varied.
        mix: how training batches are mixed.
        allow_outside: accept a manifest that names clips outside its own folder.
        on_error: what a clip that cannot be read does: raise ends the run; skip leaves it out, counts it and lists it in
            skipped.csv. No other clip takes its place.
        seed: for the order, the frames, augmentation and the validation share; taken from seed_everything.

    Raises:
        InputError: an option is out of range, or the source cannot be read.
    """

    def __init__(
        self,
        manifest: str | None = None,
        root: str | None = None,
        benchmark: str | None = None,
        options: dict[str, str] | None = None,
        fold: int | None = None,
        labels: list[str] | None = None,
        num_frames: int = 16,
        image_size: int | None = None,
        batch_size: int = 4,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        val: Validation = 0.1,
        predict: Literal["train", "val", "test", "all"] | None = None,
        normalize: Normalization = "clip",
        augment: Augment = Augment(),  # noqa: B008 - frozen
        mix: Mix = Mix(),  # noqa: B008 - frozen
        allow_outside: bool = False,
        on_error: OnError = "raise",
        seed: int = 0,
    ) -> None:
        super().__init__()
        eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        least = {"num_frames": (num_frames, 1), "batch_size": (batch_size, 1), "eval_batch_size": (eval_batch_size, 1)}
        least |= {"num_workers": (num_workers, 0), "image_size": (1 if image_size is None else image_size, 1)}
        for name, (value, smallest) in least.items():
            if value < smallest:
                raise InputError(f"data.{name} is {value}, expected at least {smallest}")
        if num_frames > MAX_FRAMES:
            raise InputError(f"data.num_frames is {num_frames}, expected at most {MAX_FRAMES}")
        self.manifest, self.root, self.benchmark, self.options, self.fold = manifest, root, benchmark, options, fold
        self.num_frames, self.image_size, self.num_workers = num_frames, image_size, num_workers
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.val, self.predict, self.normalize, self.augment, self.mix = val, predict, normalize, augment, mix
        self.allow_outside, self.on_error, self.seed = allow_outside, on_error, seed
        self._labels = labels
        self._datasets: list[ClipDataset] = []
        self.parts: Sequence[range] | None = None  # what this rank is to predict, where that is done in parts

    @cached_property
    def source(self) -> Manifest:
        """All clips."""
        return read_source(self.manifest, self.root, self.benchmark, self.options, self.allow_outside)

    @cached_property
    def splits(self) -> Splits:
        """The clips by what they are for."""
        return split_source(self.source, self.fold, self.val, self.seed)

    @cached_property
    def labels(self) -> list[str]:
        """Class names in the order of the logits: the one home of that order."""
        if self._labels is None:
            if len(found := self.source.labels) < 2:
                has = f"only the label {found[0]!r}" if found else "no labels"
                raise InputError(f"{self.source.source} has {has}, recognition needs clips of at least two")
            return found
        return [vocabulary.canonical(label) for label in self._labels]

    @property
    def predicted(self) -> Manifest:
        """The clips that ``peclip predict`` takes."""
        which = self.predict or ("test" if self.source.table["split"].eq("test").any() else "all")
        return self.source if which == "all" else getattr(self.splits, which)

    @property
    def selection(self) -> Literal["validation", "test", "none"]:
        """On which clips the best checkpoint is chosen; none keeps the last."""
        if self.val == "test":
            return "test"
        return "validation" if len(self.splits.val) else "none"

    def setup(self, stage: str) -> None:
        """Check the clips of a stage against the labels.

        Raises:
            InputError: a label is not in the list, a class has no training clip, or there is nothing to work on.
        """
        kinds = {"fit": ("training ", "train"), "validate": ("validation ", "val"), "test": ("test ", "test")}
        kind, split = kinds.get(stage, ("", ""))
        chosen = getattr(self.splits, split) if split else self.predicted  # splits could hold its clips a second time
        if not len(chosen):
            fold = (
                "" if self.fold is None else f" beside fold {self.fold}" if stage == "fit" else f" in fold {self.fold}"
            )
            raise InputError(f"{self.source.source} has no {kind}clips{fold} for peclip {stage}")
        chosen.check_labels(self.labels, allow_empty=stage != "fit")
        unlabelled = chosen.table["label"].eq("")
        if stage != "predict" and unlabelled.any():
            raise InputError(f"{chosen.where(int(unlabelled.to_numpy().argmax()))}: no label, peclip {stage} needs one")
        for other in (self.splits.val, self.splits.test) if split else ():
            other.check_labels(self.labels, allow_empty=True)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training clips in random order, with random frames of every segment."""
        clips, rank, world = self.splits.train, *self._place()
        pairs = self.mix.mixup + self.mix.fmix > 0
        order = TrainOrder(len(clips), self.batch_size, self.seed, rank, world, self._done, pairs)
        return self._loader(clips, self.seed, batch_sampler=order)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Return the validation clips; nothing where there are none."""
        return self._eval_loader(self.splits.val) if len(self.splits.val) else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test clips."""
        return self._eval_loader(self.splits.test)

    def predict_dataloader(self) -> DataLoader[Batch] | Stream:
        """Return the clips to predict."""
        if self.parts is None:
            return self._eval_loader(self.predicted)
        return Stream(self._loader(self.predicted, None, batch_sampler=PartOrder(self.parts, self.eval_batch_size)))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn uint8 on the device into what the model takes: augmented and mixed in training, normalised always."""
        if not (self.trainer and self.trainer.training):
            return own_part({**batch, "video": normalize(batch["video"], self.normalize)})
        draws: list[Draw] = batch["draws"]
        if not draws:  # no clip of it could be read
            video, label = normalize(batch["video"], self.normalize), batch["label"]
            return {**batch, "video": video, "other_label": label, "weight": 1.0}
        key = {"seed": self.seed, "epoch": draws[0].epoch}
        clips, places = [draw.clip for draw in draws], [draw.place for draw in draws]
        video = augment(batch["video"], clips, self.augment, size=batch["video"].shape[-1], **key)
        video = normalize(video, self.normalize)
        video, label, other, weight = mix(video, batch["label"], self.mix, step=draws[0].step, places=places, **key)
        return own_part({**batch, "video": video, "label": label, "other_label": other, "weight": weight})

    def what_died(self, error: RuntimeError) -> str | None:
        """Return what to say of an error that tells of dead worker processes, with the clips they were reading."""
        if not (dead := dead_workers(error)):
            return None
        at_work = [(dataset.clips, dataset.at_work.clip_of(pid)) for dataset in self._datasets for pid in dead]
        reading = [clips.clip(clip) for clips, clip in at_work if clip is not None]
        where = ", ".join(f"{clip.path} ({clip.where})" for clip in reading)
        return (
            f"the process {dead[0]}, which reads clips, died {f'while it read {where}' if where else 'between two clips'}: "
            "memory may have run out, or this file breaks the decoder; look at it with peclip check, or give fewer "
            "data.num_workers"
        )

    def _done(self) -> int:
        """Return how many batches of this epoch are trained on: not 0 where an interrupted run goes on in mid-epoch."""
        loop = self.trainer.fit_loop.epoch_loop if self.trainer and self.trainer.training else None
        return loop.batch_progress.current.ready if loop else 0

    def _place(self) -> tuple[int, int]:
        """Return this process' rank and the number of ranks."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _eval_loader(self, clips: Manifest) -> DataLoader[Batch]:
        order = EvalOrder(len(clips), self.eval_batch_size, *self._place())
        return self._loader(clips, None, sampler=order, batch_size=self.eval_batch_size)

    def _loader(self, clips: Manifest, seed: int | None, **order: Any) -> DataLoader[Batch]:
        model = self.trainer.lightning_module if self.trainer else None
        size = self.image_size or int(getattr(model, "image_size", CLIP_SIZE))
        check_shards((os.path.join(clips.root, path) for path in clips.table["path"]), size)
        dataset = ClipDataset(clips, self.labels, self.num_frames, size, seed, self.num_workers, self.on_error)
        self._datasets.append(dataset)
        return LateLoader(
            dataset,
            **order,
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
