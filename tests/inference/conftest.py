"""A trained model that is small enough to answer at once."""

from pathlib import Path

import pytest
import torch

from peclip.labels import SEVEN
from peclip.model import PEClip, SharedAdapter
from peclip.model.io.trained import with_input


@pytest.fixture(scope="session")
def net(tiny_clip: Path) -> PEClip:
    """A PEClip with random adapters that takes T = 4 frames of 32 pixels."""
    torch.manual_seed(0)
    net = PEClip(list(SEVEN), str(tiny_clip), adapters={"vision.attention": SharedAdapter}, logit_scale=10).eval()
    for weight in net.adapters.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    net.config = with_input(net.config, 4, 32, "clip")
    return net


@pytest.fixture(scope="session")
def checkpoint(net: PEClip, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model as a checkpoint of training."""
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    state = {f"net.{name}": value for name, value in net.trainable_state().items()}
    torch.save({"peclip": net.config, "state_dict": state}, path)
    return str(path)
