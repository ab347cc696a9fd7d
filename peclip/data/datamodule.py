"""VideoDataModule: how the clips of a run are sampled, and what happens to a batch on the device.

There the video of a :class:`~peclip.data.batch.Batch` becomes float, augmented and normalised.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal
from weakref import ref

import numpy as np
import torch
from torch.utils.data import Sampler

from peclip.arguments import check, checked
from peclip.clip_format import MAX_FRAMES, ClipFormat, Views
from peclip.data.augment import Augment, Mix, augment, into_views, mix, normalize
from peclip.data.batch import Batch, Draw, collate
from peclip.data.dataset import ClipDataset, OnError, begin_work
from peclip.data.forking import METHOD, start_server
from peclip.data.limits import check_shared_memory, collate_shared
from peclip.data.loader import Ahead, LateLoader, PredictLoader
from peclip.data.manifest import Manifest
from peclip.data.manifest.shared import share_manifests
from peclip.data.media.shard import check_shards
from peclip.data.run_clips import RunClips
from peclip.data.samplers import EvalSampler, ShardSampler, TrainSampler, evaluation_order
from peclip.data.soft_labels import check_soft_labels
from peclip.data.source import DEFAULT_VAL, Validation, check_subjects
from peclip.data.workers import TIMEOUT, AtWork, worker_error
from peclip.errors import InputError, listed


class VideoDataModule(RunClips):
    """Load clips for training, validation, test and prediction from a manifest or a benchmark's folder.

    What a clip looks like (T, side of the frames, mean and standard deviation) belongs to the model that is trained or
    evaluated; see :attr:`clip_format`.

    Args:
        manifest: csv file with the columns path,label and optional split,fold,subject,start,end (or fold_1, fold_2, ... for fold).
        root: folder of a benchmark in its released layout, instead of a manifest.
        benchmark: layout of the folder: dfew, ferv39k, mafw, afew, caer, ravdess, cremad, ucf101, hmdb51, folders (a folder
            per class, or files named after their class), demo or demo_order (generated into the folder when they are missing);
            by default folders.
        options: options of the benchmark's reader, such as {scene: Action} for one of FERV39K's scenes.
        fold: number of the fold to test on, if the source has folds.
        labels: class names in the order of the logits; by default those of the clips, known expressions first, or in an evaluation
            those of the model.
        num_frames: T, frames per clip, if it differs from the model's in an evaluation; 1 to 10000.
        batch_size: clips per training batch and device; at least 1.
        eval_batch_size: clips per batch in evaluation; by default the batch size.
        num_workers: processes that decode; 0 decodes in the main process.
        worker_timeout: seconds for which these processes may show no sign of life (no clip, no byte read, no work of a
            processor) before the run ends; above 0. A slow disk shows signs of life.
        val: share of every class of the training clips that is held out for validation and selection, if the source
            has no validation split (of clips with subjects or videos, all of a subject or none); or test, which selects on the test clips as the authors' program does.
        predict: the clips that peclip predict reads; by default the test clips if there are any, else all.
        augment: augmentation of training clips.
        mix: mixing of training batches.
        allow_outside: accept a manifest that names clips outside its own folder.
        on_error: action at a clip that cannot be read: raise ends the run; skip skips it, counts it and lists it in
            skipped.csv. No other clip replaces it.
        other_labels: action at clips whose label is none of the labels: raise ends the run; skip omits and counts them.
        balanced: whether every class has the same share of each training epoch, which stays as long: clips of small classes
            appear several times, with other frames and augmentation, and clips of large ones not in every epoch.
        shots: number of training clips of every class, drawn by the seed (few-shot training); at least 1, by default all.
            Validation and test clips stay.
        soft_labels: whether training clips are to be recognized as the probabilities of the columns p_LABEL, or as the shares
            of a benchmark's annotators (dfew, mafw), rather than as their label alone. Evaluations use the labels.
        seed: seed of sampling, frames, augmentation and the validation share; taken from seed_everything.
        views: views of each clip in an evaluation, also in the validations of a training: the probabilities are their means.

    Raises:
        InputError: an option is out of range, or the source cannot be read.
    """

    @checked("labels")
    def __init__(
        self,
        manifest: str | None = None,
        root: str | None = None,
        benchmark: str | None = None,
        options: dict[str, str] | None = None,
        fold: int | None = None,
        labels: list[str] | None = None,
        num_frames: int | None = None,
        batch_size: int = 4,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        val: Validation = DEFAULT_VAL,
        predict: Literal["train", "val", "test", "all"] | None = None,
        augment: Augment = Augment(),  # noqa: B008 - frozen
        mix: Mix = Mix(),  # noqa: B008 - frozen
        allow_outside: bool = False,
        on_error: OnError = "raise",
        seed: int = 0,
        worker_timeout: float = TIMEOUT,
        other_labels: Literal["raise", "skip"] = "raise",
        balanced: bool = False,
        shots: int | None = None,
        soft_labels: bool = False,
        views: Views = Views(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(
            manifest=manifest,
            root=root,
            benchmark=benchmark,
            options=options,
            fold=fold,
            labels=labels,
            val=val,
            predict=predict,
            allow_outside=allow_outside,
            other_labels=other_labels,
            seed=seed,
            shots=shots,
            soft_labels=soft_labels,
        )
        eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        least = {
            "batch_size": (batch_size, 1),
            "eval_batch_size": (eval_batch_size, 1),
            "num_workers": (num_workers, 0),
            "seed": (seed, 0),
        }
        if shots is not None:
            least["shots"] = (shots, 1)
        if num_frames is not None:
            least["num_frames"] = (num_frames, 1)
            if num_frames > MAX_FRAMES:
                raise InputError(f"num_frames is {num_frames}, expected at most {MAX_FRAMES}", "num_frames")
        for name, (value, smallest) in least.items():
            if value < smallest:
                raise InputError(f"{name} is {value}, expected at least {smallest}", name)
        if not 0 < worker_timeout < math.inf:
            raise InputError(f"worker_timeout is {worker_timeout}, expected seconds above 0", "worker_timeout")
        self.num_frames, self.num_workers, self.worker_timeout = num_frames, num_workers, worker_timeout
        self.batch_size, self.eval_batch_size, self.balanced = batch_size, eval_batch_size, balanced
        self.augment, self.mix, self.on_error, self.views = augment, mix, on_error, views
        self._reading: list[tuple[Manifest, AtWork]] = []
        self._ahead = Ahead(self)
        self._stage = ""
        self._loaders: list[tuple[str, ref[LateLoader]]] = []  # loaders with the stage that each was made for
        self._clip_format = ClipFormat()
        self.shards: Sequence[Sequence[range]] | None = None
        """The clips of the shards that each rank predicts; None if predictions are not sharded."""
        if num_workers:
            start_server()  # its imports take as long as building the model

    @property
    def clip_format(self) -> ClipFormat:
        """The format to which clips are read: the model's, which :meth:`setup` takes over, or the one that was set.

        T is :attr:`num_frames` if that is given.
        """
        own = self._clip_format
        return own if self.num_frames is None else replace(own, num_frames=self.num_frames)

    @clip_format.setter
    def clip_format(self, clip_format: ClipFormat) -> None:
        check("clip_format", clip_format, ClipFormat)
        self._clip_format = clip_format

    def setup(self, stage: str) -> None:
        """Take over the clip format of the trainer's model, and check the clips of a stage against the labels.

        Raises:
            InputError: a label is not in the list, a class has no training clip, there are no clips, or the model would be
                trained on another T than its own, a subject is on two sides, or there is not enough shared memory for the processes that read clips.
        """
        self._stage = stage
        module: Any = self.trainer.lightning_module if self.trainer else None
        if module is not None:
            self._clip_format = module.net.clip_format
            self._check_same_labels(module.net.labels, stage)
        if stage == "fit":
            self._check_training_frames()
            check_subjects(self.source, self.fold, self.val)
        chosen = self._clips_for(stage)
        if not len(chosen):
            raise self.without_clips(stage)
        chosen.check_labels(self.labels, stage != "fit", "; to omit such clips, set other_labels to skip")
        if stage == "fit" and self.soft_labels:
            check_soft_labels(chosen, self.labels, others=self.other_labels == "skip")
        unlabelled = chosen.table["label"].eq("")
        if stage != "predict" and unlabelled.any():
            raise InputError(f"{chosen.where(int(unlabelled.to_numpy().argmax()))}: no label, peclip {stage} needs one")
        for other in (self.splits.val, self.splits.test) if stage != "predict" else ():
            other.check_labels(self.labels, allow_empty=True)
        if self.num_workers and self.trainer is not None:
            self.check_memory(stage, self.trainer.num_devices)

    def _check_same_labels(self, of_model: Sequence[str], stage: str) -> None:
        if stage != "predict" and tuple(self.labels) != tuple(of_model):
            raise InputError(
                f"the clips have the labels {listed(self.labels)}, and the model has {listed(of_model)}: create the data module with the "
                "labels of the model, which are model.net.labels",
                "labels",
            )

    def check_memory(self, stage: str, ranks: int) -> None:
        """Check that the batches that processes read ahead have room in shared memory; :attr:`clip_format` must be set.

        Args:
            stage: stage as in :meth:`setup`.
            ranks: processes of this machine that have loaders of their own.

        Raises:
            InputError: they have not.
        """
        form, is_fit = self.clip_format, stage == "fit"
        evaluated = self.eval_batch_size * self.views.clips
        loaders = [(self._clips_for(stage), self.batch_size, self.batch_size)] if is_fit else []
        loaders += [(self.splits.val if is_fit else self._clips_for(stage), self.eval_batch_size, evaluated)]
        clip = form.num_frames * 3 * form.image_size**2 + 4 * len(self.labels) * self.soft_labels
        batches = [(math.ceil(len(clips) / size), read * clip) for clips, size, read in loaders]
        check_shared_memory(self.num_workers, batches, ranks)

    def train_dataloader(self) -> LateLoader:
        """Return the training clips in random order, with random frames of every segment."""
        clips, rank, world = self.splits.train, *self._rank()
        pairs = self.mix.mixup + self.mix.fmix > 0
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        labels = clips.table["label"] if self.balanced else None
        order = (len(clips), self.batch_size, self.seed, rank, world, self._ahead.done, pairs, overfit, labels)
        sampler = TrainSampler(*order, self._ahead.read_validation)
        return self._ahead.training(self._loader(clips, sampler, self.seed, self.soft_labels))

    def val_dataloader(self) -> LateLoader | list[Any]:
        """Return the validation clips in a fixed order that mixes the classes; nothing if there are none."""
        clips = self.splits.val
        if not len(clips):
            return []
        return self._ahead.validation(self._eval_loader(clips, evaluation_order(clips.table["label"])))

    def test_dataloader(self) -> LateLoader:
        """Return the test clips in a fixed order that mixes the classes."""
        return self._eval_loader(self.splits.test, evaluation_order(self.splits.test.table["label"]))

    def predict_dataloader(self) -> PredictLoader:
        """Return the clips to predict, in the order of the manifest."""
        if self.shards is None:
            return PredictLoader(self._eval_loader(self.predicted, range(len(self.predicted))))
        sampler = ShardSampler(self.shards, self.eval_batch_size, self._rank()[0])
        return PredictLoader(self._loader(self.predicted, sampler))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn uint8 on the device into the model's input: augmented and mixed in training, in views in evaluation, always normalised."""
        clip_format, draws = self.clip_format, batch.draws
        if not (self.trainer and self.trainer.training):
            return replace(batch, video=into_views(normalize(batch.video, clip_format), self.views)).own()
        if not draws:  # it is a dummy clip
            return replace(batch, video=normalize(batch.video, clip_format)).own()
        key = {"seed": self.seed, "epoch": draws[0].epoch}
        clips, again, places = ([getattr(draw, name) for draw in draws] for name in ("clip", "again", "place"))
        video = augment(batch.video, clips, self.augment, size=clip_format.image_size, again=again, **key)
        video = normalize(video, clip_format)
        rows = torch.arange(len(batch), device=video.device)
        video, _, partners, weight = mix(video, rows, self.mix, step=draws[0].step, places=places, **key)
        label, target = batch.label[partners], None if batch.target is None else batch.target[partners]
        return replace(batch, video=video, other_label=label, other_target=target, weight=weight).own()

    def teardown(self, stage: str) -> None:
        """End the processes that have read clips: a test that follows a training has its own, and so has each fold."""
        for loader in [known() for made_for, known in self._loaders if made_for == stage]:
            if loader is not None:
                loader.close()
        self._loaders = [entry for entry in self._loaders if entry[0] != stage]
        self._stage = ""  # loaders that are made from now on belong to no trainer

    def worker_error(self, error: RuntimeError) -> InputError | None:
        """Return an error that names dead or silent worker processes and their clips; None if the error is another one."""
        return worker_error(error, self._reading)

    def _clips_for(self, stage: str) -> Manifest:
        split = {"fit": "train", "validate": "val", "test": "test"}.get(stage)
        return getattr(self.splits, split) if split else self.predicted  # splits could hold its clips a second time

    def _check_training_frames(self) -> None:
        own = self._clip_format.num_frames
        if self.trainer is not None and self.num_frames not in (None, own):
            raise InputError(
                f"num_frames is {self.num_frames}, but the model is made for {own} frames: omit num_frames, or make the "
                f"model with num_frames={self.num_frames}",
                "num_frames",
            )

    def _rank(self) -> tuple[int, int]:
        """Return the rank of this process and the number of ranks."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _is_for_gpu(self) -> bool:
        """Return whether batches go to a CUDA device, to which pinned memory is copied without waiting."""
        return torch.cuda.is_available() and (not self.trainer or self.trainer.strategy.root_device.type == "cuda")

    def _eval_loader(self, clips: Manifest, order: Sequence[int] | np.ndarray) -> LateLoader:
        return self._loader(clips, EvalSampler(order, self.eval_batch_size, *self._rank()))

    def _loader(
        self, clips: Manifest, sampler: Sampler[list[Draw]], seed: int | None = None, soft: bool = False
    ) -> LateLoader:
        clip_format = self.clip_format
        check_shards((os.path.join(clips.root, path) for path in clips.table["path"]), clip_format.image_size)
        at_work = AtWork(self.num_workers, self.worker_timeout)
        views = self.views.clips if seed is None else 1
        dataset = ClipDataset(clips, self.labels, clip_format, seed, at_work, self.on_error, soft, views)
        self._reading.append((clips, at_work))
        share_manifests()
        loader = LateLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate_shared if self.num_workers else collate,
            num_workers=self.num_workers,
            multiprocessing_context=METHOD if self.num_workers else None,
            worker_init_fn=begin_work,
            persistent_workers=self.num_workers > 0,
            pin_memory=self._is_for_gpu(),
        )
        self._loaders.append((self._stage, ref(loader)))
        return loader
