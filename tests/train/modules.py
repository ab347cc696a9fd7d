"""Short trainings of a PEClipModule without the command line, for the tests of this folder."""

import hashlib

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from peclip.data.datamodule import VideoDataModule
from peclip.train.module import PEClipModule
from tests.model.small import build
from tests.runs import LABELS

QUIET = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}

EXPECTED_WARNINGS = [
    pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


def clips_of(manifest, **options):
    """9 training, 3 validation and 6 test clips, as 3 batches an epoch."""
    options = {"batch_size": 3, "num_workers": 0, **options}
    return VideoDataModule(manifest=str(manifest), **options)


def module_of(tiny_clip, labels=LABELS, net=None, **options):
    return PEClipModule(net or build(tiny_clip, labels=labels, num_frames=3), **options)


def fit(module, data, callbacks=(), ckpt_path=None, **options):
    checkpoints = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    options = QUIET | {"enable_checkpointing": checkpoints, "callbacks": [*callbacks]} | options
    trainer = Trainer(**options)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def digest(state):
    """A hash over names and bytes."""
    total = hashlib.sha256()
    for name, value in state.items():
        total.update(name.encode() + value.detach().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


class Recorder(Callback):
    """Keeps the learning rates of every step, the losses, and which parameters ever had a gradient."""

    def __init__(self):
        self.rates, self.losses, self.moved = [], [], set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append([group["lr"] for group in optimizer.param_groups])
        for name, weight in pl_module.named_parameters():
            if weight.grad is not None and weight.grad.abs().max() > 0:
                self.moved.add(name)
