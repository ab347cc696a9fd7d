"""A trained model that is small enough to answer at once."""

from pathlib import Path

import pytest
import torch

from peclip.labels import SEVEN
from peclip.model import PEClip, SharedAdapter
from peclip.model.io.checkpoint import to_checkpoint


@pytest.fixture(scope="session")
def net(tiny_clip: Path) -> PEClip:
    """A PEClip with random adapters that takes T = 4 frames of 32 pixels."""
    torch.manual_seed(0)
    adapters = {"vision.attention": SharedAdapter}
    net = PEClip(SEVEN, str(tiny_clip), adapters, prompts=None, logit_scale=10, num_frames=4).eval()
    for weight in net.adapters.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return net


@pytest.fixture(scope="session")
def checkpoint(net: PEClip, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model as a checkpoint of training."""
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    torch.save(to_checkpoint(net.to_trained()), path)
    return str(path)
