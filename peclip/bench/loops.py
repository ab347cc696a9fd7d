"""Time training and evaluation, and relate their rate to the peak of the device.

The measurement covers what ``peclip fit`` and ``peclip test`` do with a batch that is in memory: Lightning's loop around
PEClipModule, precision, optimiser and metrics included. Decoding is timed by itself, in `peclip.bench.input`.
"""

import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from peclip.bench.floor import Counter, Work, floor_of, memory_rate
from peclip.bench.measure import (
    Flops,
    Stopwatch,
    evaluation_flops,
    machine,
    matmul_rate,
    training_flops,
)
from peclip.bench.report import Result, arithmetic, floor_entry, memory_entry, rates
from peclip.bench.setup import Setup
from peclip.bench.sizes import BACKBONE, SIZES, backbone_of, model_of
from peclip.data.batch import Batch
from peclip.errors import InputError
from peclip.model import PEClip
from peclip.model.arithmetic import meta_copy
from peclip.model.device import best_precision, find_device, keep_freed_memory
from peclip.model.io import Trained, read_trained
from peclip.model.io.spec import trusting
from peclip.train.cli.command import NOISE
from peclip.train.module import PEClipModule


def measure_training(setup: Setup) -> Result:
    """Measure the time, memory and throughput of training steps: forward, backward and the step of the optimizer.

    Args:
        setup: model, clips and number of steps; B and T are those of the setup.
    """
    return _measured("train", setup, Trainer.fit, training_flops)


def measure_evaluation(setup: Setup) -> Result:
    """Measure the time, memory and throughput of evaluating batches: forward and metrics, without gradients.

    Args:
        setup: model, clips and number of steps; B and T are those of the setup.
    """
    return _measured("eval", setup, _test, evaluation_flops)


class Timing(Callback):
    """Measures the steps of Lightning's loops."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_train_batch_start(self, *args: Any) -> None:
        """Start the measurement of a training step; its batch is on the device."""
        self.watch.start()

    def on_train_batch_end(self, *args: Any) -> None:
        """End the measurement after the step of the optimizer."""
        self.watch.stop()

    def on_test_batch_start(self, *args: Any) -> None:
        """Start the measurement of an evaluated batch."""
        self.watch.start()

    def on_test_batch_end(self, *args: Any) -> None:
        """End the measurement."""
        self.watch.stop()


def _measured(what: str, setup: Setup, loop: Callable[..., Any], count: Callable[..., Any]) -> Result:
    """Run one of Lightning's loops over batches in memory, between two measurements of the device's peak rate."""
    _quiet()
    keep_freed_memory()
    device = find_device(setup.device, kinds=("cpu", "cuda"))
    precision = best_precision(device.type) if setup.precision == "auto" else setup.precision
    net, setup = _model(setup)
    if what == "train" and not net.trainable_state():
        raise InputError(f"{setup.model} has nothing that learns: time its evaluation with peclip bench eval", "model")
    frames = net.clip_format.num_frames
    flops, work = _counted(count, net, setup.batch_size)
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    watch = Stopwatch(device, setup.warmup)
    batches: Any = [_batch(net, setup.batch_size)] * (setup.warmup + 1 + setup.steps)
    before = matmul_rate(device, dtype)
    loop(
        _trainer(device, precision, watch),
        PEClipModule(net, frozen=setup.frozen, residual=setup.residual),
        DataLoader(batches, batch_size=None),
    )
    peak, memory = max(before, matmul_rate(device, dtype)), memory_rate(device)
    floor = floor_of(work, peak, memory, dtype.itemsize) if work else None
    return {
        "what": what,
        **asdict(setup),
        "precision": precision,
        "machine": machine(device),
        **rates(setup.batch_size, frames, watch.seconds),
        **memory_entry(watch.memory),
        **arithmetic(setup.batch_size, flops, watch.seconds, peak),
        **floor_entry(floor, memory, watch.seconds),
    }


def _counted(count: Callable[..., Flops], net: PEClip, clips: int) -> tuple[Flops, Work] | tuple[None, None]:
    """Return the operations of a step and its work; None if a custom part reads values of a clip, which the meta device lacks."""
    with suppress(RuntimeError):
        twin = meta_copy(net)
        twin.encode_text()  # if nothing in their tower learns, texts are encoded before the first step, and kept
        with Counter() as counter:
            return count(twin, clips, net.clip_format.num_frames), counter.work
    return None, None


def _model(setup: Setup) -> tuple[PEClip, Setup]:
    """Return the model, trained or with random weights, and the setup with its measures.

    Raises:
        InputError: the model or its backbone cannot be read, or an option contradicts the model.
    """
    torch.manual_seed(setup.seed)
    if setup.model is not None:
        with trusting(everything=setup.trust):
            return _trained_model(setup, read_trained(setup.model))
    backbone = backbone_of(setup.backbone or BACKBONE, setup.image_size)
    frames, classes = setup.num_frames or 16, setup.classes or 7
    net = model_of(backbone, classes, frames, setup.compile, setup.checkpointing, setup.activation_memory_budget)
    return net, setup.completed(backbone.name, frames, classes, backbone.image_size)


def _trained_model(setup: Setup, trained: Trained) -> tuple[PEClip, Setup]:
    config = trained.config
    if setup.backbone in SIZES:
        raise InputError(
            f"backbone is {setup.backbone!r} with random weights, but {setup.model} was trained on {config.backbone!r}: "
            "omit backbone"
        )
    clips = config.clip_format
    completed = setup.completed(config.backbone, clips.num_frames, len(config.labels), clips.image_size)
    net = PEClip.from_trained(
        trained, setup.backbone, setup.compile, setup.checkpointing, setup.activation_memory_budget
    )
    return net, completed


def _batch(net: PEClip, clips: int) -> Batch:
    """Return clips of noise (B, T, 3, H, W), as the data module hands them to the model."""
    frames, side = net.clip_format.num_frames, net.image_size
    label = torch.randint(len(net.labels), (clips,))
    return Batch(torch.randn(clips, frames, 3, side, side), label, torch.arange(clips))


def _trainer(device: torch.device, precision: str, watch: Stopwatch) -> Trainer:
    gpu = device.type == "cuda"
    return Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=[device.index] if gpu else 1,
        precision=precision,  # type: ignore[arg-type]  # Lightning lists the names
        max_epochs=1,
        callbacks=[Timing(watch)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _quiet() -> None:
    """Silence messages of Lightning that repeat the table or warn of intended settings."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (*NOISE, r".*have no `val_dataloader`"):
        warnings.filterwarnings("ignore", message)


def _test(trainer: Trainer, module: PEClipModule, batches: Any) -> None:
    trainer.test(module, batches, verbose=False)
