"""What the callbacks of a run need to know of it."""

import torch
from lightning.pytorch import Trainer

from peclip.data.datamodule import VideoDataModule
from peclip.train.module import PEClipModule


def module_and_data(trainer: Trainer) -> tuple[PEClipModule, VideoDataModule]:
    """Return the module and the data of a run."""
    module, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(module, PEClipModule)
    assert isinstance(data, VideoDataModule)
    return module, data


def trainable_parts(module: PEClipModule) -> list[tuple[torch.nn.Module, str, int, int]]:
    """Return (an example, where, how many blocks, parameters) of every trainable part."""
    net = module.net
    parts = []
    for tower, sites in net.adapters.named_children():
        for part, blocks in sites.named_children():
            example = next(blocks.children())
            parts.append((example, f"{tower}.{part}", len(list(blocks.children())), count_parameters(blocks)))
    if net.prompts:
        parts.append((net.prompts, "both towers", net.prompts.depth, count_parameters(net.prompts)))
    return parts


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(weight.numel() for weight in module.parameters())
