"""Small models and clips for the tests of this room."""

from copy import deepcopy
from functools import partial

import torch
from torch.nn import functional as F

from peclip.model import PEClip
from tests.processes import called

LABELS = ("happiness", "sadness", "surprise")


def build(folder, labels=LABELS, **options):
    """A PEClip on the backbone in a folder, the same at every call; every part by default."""
    torch.manual_seed(1)
    return PEClip(labels, str(folder), **options)


def stir(module, seed=0, scale=0.2):
    """Give every trainable parameter random values, so that no part is the identity any more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in trainable(module).items():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
            if name.endswith("scale.bias"):
                parameter += 1  # opens the temporal adapter for most tokens
    return module


def clips(count=2, frames=3, side=32, seed=0):
    """Clips of noise, (count, frames, 3, side, side)."""
    return torch.randn(count, frames, 3, side, side, generator=torch.Generator().manual_seed(seed))


def logits(net, video=None):
    with torch.no_grad():
        return net(clips() if video is None else video)


def train_step(net, video=None, lr=1e-2):
    """One AdamW step on what is trainable; return the gradients by name."""
    optimizer = torch.optim.AdamW(trainable(net).values(), lr=lr)
    video = clips() if video is None else video
    F.cross_entropy(net(video), torch.arange(len(video)) % len(net.labels)).backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None
    }
    optimizer.step()
    optimizer.zero_grad()
    return gradients


def logits_in_a_process(folder, model):
    """Logits of the small clips, computed in a process that knows nothing of a model but the path."""
    result = called(folder, partial(_write_logits, str(model)))
    assert result.status == 0, result.err
    return torch.load(folder / "logits.pt")


def _write_logits(model):
    with torch.no_grad():
        torch.save(PEClip.from_pretrained(model)(clips()), "logits.pt")


def trainable(module):
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def size(module):
    return sum(parameter.numel() for parameter in trainable(module).values())


def with_whole_blocks(net):
    """A copy that computes all tokens of the last blocks."""
    other = deepcopy(net)
    other._mixes = dict.fromkeys(other._mixes, True)
    return other


def check_exported(net):
    """A graph of torch.export with an open number of clips has the logits of the model, for more and for fewer clips."""
    video = clips()
    number = torch.export.Dim("number")
    program = torch.export.export(net.eval(), (video,), dynamic_shapes={"video": {0: number}}).module()
    for other in (video[:1], torch.cat([video, 0.9 * video])):
        assert torch.equal(program(other), net(other))
