"""A trained model that is small enough to answer at once, and a folder of answers."""

from pathlib import Path

import pytest
import torch

from peclip.inference.answers import AnswerFolder
from peclip.labels import SEVEN
from peclip.model import PEClip, SharedAdapter
from peclip.model.io.checkpoint import to_checkpoint
from tests.inference.nights import OPTIONS
from tests.inference.test_timeline import LABELS, blank, face


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


@pytest.fixture
def night(tmp_path, monkeypatch):
    """Write videos, each with two rows, into a folder of answers; at one the run ends with an error."""
    out = tmp_path / "out"

    def written(files, ends_at=None, error=None, options=OPTIONS, beside=None):
        read = []
        with AnswerFolder(out, LABELS, "", options) as folder:
            folder.check(files)
            for file in files:
                (tmp_path / file).parent.mkdir(exist_ok=True)
                if not (tmp_path / file).exists():
                    (tmp_path / file).touch()
                if folder.has(file):
                    continue
                read.append(file)
                with folder.video(file, beside) as add:
                    add(face(file, 0))
                    if file == ends_at:
                        raise error
                    add(blank(file, 2))
        return read

    monkeypatch.chdir(tmp_path)
    return written
