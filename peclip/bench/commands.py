"""``peclip bench train`` and ``peclip bench eval``: how fast the model is here, and how near to what the device can do.

What is timed is what ``peclip fit`` and ``peclip test`` do with a batch that lies ready: Lightning's loop around
PEClipModule, precision, optimiser and metrics included. Decoding is timed by itself, in `peclip.bench.input`.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import transformers
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from peclip.bench.input import input_entry
from peclip.bench.measure import (
    Stopwatch,
    evaluation_flops,
    find_device,
    machine,
    matmul_rate,
    training_flops,
)
from peclip.bench.report import Result, arithmetic, keep, memory_entry, rates, show
from peclip.bench.sizes import arithmetic_model, backbone_of, model_of
from peclip.data.batch import Batch
from peclip.errors import InputError
from peclip.model import PEClip
from peclip.train.cli.checks import best_precision
from peclip.train.cli.lightning import NOISE
from peclip.train.cluster.allocator import keep_freed_memory
from peclip.train.module import PEClipModule

Precision = Literal["auto", "bf16-mixed", "32-true"]
Held = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Args:
        backbone: vit-b/16, vit-b/32, vit-l/14, vit-h/14 or tiny, with random weights; or a Hub id or a folder.
        batch_size: B, clips of a step.
        num_frames: T, frames of a clip.
        classes: C.
        image_size: side of the frames in pixels; by default what the backbone takes.
        precision: bf16-mixed, 32-true, or auto: what peclip fit and test take on this device.
        frozen: precision in which the matrices of CLIP are held; bf16 only with precision bf16-mixed.
        compile: compile the model.
        checkpointing: compute activations again in the backward pass instead of keeping them.
        steps: steps that count.
        warmup: steps before them, which do not count: in the first the class texts of an evaluation are computed, and
            with compile they take about a minute.
        device: cpu, cuda, cuda:NUMBER, or auto for a GPU where there is one.
        seed: of the weights and clips.

    Raises:
        InputError: a number is out of range, or the device is not there.
    """

    backbone: str = "vit-b/16"
    batch_size: int = 2
    num_frames: int = 16
    classes: int = 7
    image_size: int | None = None
    precision: Precision = "auto"
    frozen: Held = "fp32"
    compile: bool = False
    checkpointing: bool = False
    steps: int = 5
    warmup: int = 2
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        find_device(self.device)
        for name in ("batch_size", "num_frames", "classes", "image_size", "steps", "warmup"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, expected at least 1")

    @property
    def place(self) -> torch.device:
        """The device."""
        return find_device(self.device)

    @property
    def chosen_precision(self) -> str:
        """Lightning's name of the precision."""
        return best_precision(self.place.type) if self.precision == "auto" else self.precision

    def model(self) -> PEClip:
        """Return the model, with random adapters and prompts."""
        torch.manual_seed(self.seed)
        backbone = backbone_of(self.backbone, self.image_size)
        return model_of(backbone, self.classes, compile=self.compile, checkpointing=self.checkpointing)

    def batch(self, side: int) -> Batch:
        """Return clips of noise, as the data module hands them to the model."""
        shape = (self.batch_size, self.num_frames, 3, side, side)
        label = torch.randint(self.classes, (self.batch_size,))
        return Batch(torch.randn(shape), label, torch.arange(self.batch_size))


def train(data: str | None = None, num_workers: int = 2, out: str | None = None, **setup: Any) -> None:
    """Time training steps: clips/s, memory, FLOPs, and the share of what the device does in matrix multiplications.

    Args:
        data: csv manifest; its input is timed as well, by itself, to tell whether input or compute limits training.
        num_workers: with data, processes that decode.
        out: json file to write the figures to.
        setup: what is measured, see :class:`Setup`.

    Raises:
        InputError: the device or the backbone is not there, or a number is out of range.
    """
    chosen = Setup(**setup)
    result = measure_training(chosen)
    show(_title("Training", chosen, result), result)
    if data is not None:
        result["input"] = input_entry(
            data, chosen.batch_size, chosen.num_frames, result["image_size"], num_workers, chosen.seed,
            result["clips_per_second"],
        )  # fmt: skip
        print(result["input"]["verdict"])
    keep(result, out)


def evaluate(out: str | None = None, **setup: Any) -> None:
    """Time the evaluation of batches: clips/s, memory, FLOPs, and the share of the device's peak.

    Args:
        out: json file to write the figures to.
        setup: what is measured, see :class:`Setup`.

    Raises:
        InputError: the device or the backbone is not there, or a number is out of range.
    """
    chosen = Setup(checkpointing=False, **setup)
    result = measure_evaluation(chosen)
    show(_title("Evaluation", chosen, result), result)
    keep(result, out)


def measure_training(setup: Setup) -> Result:
    """Return the figures of training steps."""
    return _measured("train", setup, Trainer.fit, training_flops)


def measure_evaluation(setup: Setup) -> Result:
    """Return the figures of evaluating batches."""
    return _measured("eval", setup, _test, evaluation_flops)


class Timing(Callback):
    """Keeps a watch over the steps of Lightning's loops."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_train_batch_start(self, *args: Any) -> None:
        """Begin a training step; its batch is on the device."""
        self.watch.start()

    def on_train_batch_end(self, *args: Any) -> None:
        """End it; the optimiser has made its step."""
        self.watch.stop()

    def on_test_batch_start(self, *args: Any) -> None:
        """Begin the evaluation of a batch."""
        self.watch.start()

    def on_test_batch_end(self, *args: Any) -> None:
        """End it."""
        self.watch.stop()


def _measured(what: str, setup: Setup, loop: Callable[..., Any], count: Callable[..., Any]) -> Result:
    """Run one of Lightning's loops over batches that lie ready, between two measurements of the device's peak."""
    _quiet()
    keep_freed_memory()
    device, net = setup.place, setup.model()
    flops = count(arithmetic_model(net), setup.batch_size, setup.num_frames)
    dtype = torch.bfloat16 if setup.chosen_precision == "bf16-mixed" else torch.float32
    watch = Stopwatch(device, setup.warmup)
    batches: Any = [setup.batch(net.image_size)] * (setup.warmup + 1 + setup.steps)
    before = matmul_rate(device, dtype)
    loop(_trainer(setup, watch), PEClipModule(net, frozen=setup.frozen), DataLoader(batches, batch_size=None))
    peak = max(before, matmul_rate(device, dtype))
    return {
        "what": what,
        **asdict(setup),
        "precision": setup.chosen_precision,
        "image_size": net.image_size,
        "machine": machine(device),
        **rates(setup.batch_size, setup.num_frames, watch.seconds),
        **memory_entry(watch.memory),
        **arithmetic(setup.batch_size, flops, watch.seconds, peak),
    }


def _trainer(setup: Setup, watch: Stopwatch) -> Trainer:
    gpu = setup.place.type == "cuda"
    return Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=[setup.place.index] if gpu else 1,
        precision=setup.chosen_precision,  # type: ignore[arg-type]  # Lightning lists the names
        max_epochs=1,
        callbacks=[Timing(watch)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _quiet() -> None:
    """Keep Lightning and transformers from telling what the table tells, or what is so on purpose."""
    transformers.logging.disable_progress_bar()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (*NOISE, r".*have no `val_dataloader`"):
        warnings.filterwarnings("ignore", message)


def _test(trainer: Trainer, module: PEClipModule, batches: Any) -> None:
    trainer.test(module, batches, verbose=False)


def _title(what: str, setup: Setup, result: Result) -> str:
    here = result["machine"]
    threads = f", {here['threads']} threads" if "threads" in here else ""
    parts = [name for name in ("compile", "checkpointing") if result[name]]
    return (
        f"{what} {setup.backbone} at {result['image_size']} px: {setup.batch_size} clips of {setup.num_frames} frames, "
        f"{setup.classes} classes, {', '.join([result['precision'], *parts])}; {here['device']}{threads}"
    )
