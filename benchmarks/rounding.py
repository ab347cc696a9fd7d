"""Measure what bf16 rounds away of the logits and gradients of ViT-B/16, with the residual in fp32 and in bf16.

python benchmarks/rounding.py [--backbone vit-b/16] [--seeds 3]

The reference is the same model in fp32. Weights and clips are random, and the adapters are not the identity.
"""

import argparse

import torch
from fresh import table
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.bench.sizes import backbone_of, model_of
from peclip.model import PEClip

CLIPS, FRAMES, CLASSES = 2, 8, 7
GROUPS = {"vision adapters": "adapters.vision", "text adapters": "adapters.text", "prompts": "prompts"}


def model(backbone: str, seed: int) -> PEClip:
    """Return a model whose adapters and prompts change what it computes."""
    torch.manual_seed(seed)
    net = model_of(backbone_of(backbone, None), CLASSES, FRAMES, False, False)
    for weight in net.trainable_state().values():
        nn.init.normal_(weight, std=0.01)
    return net


def passed(net: PEClip, video: Tensor, narrow: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the logits (B, C) of clips, and the gradients of what is trained by name."""
    net.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        logits = net(video)
    F.cross_entropy(logits.float(), torch.arange(CLIPS)).backward()
    found = {name: weight.grad.float() for name, weight in net.named_parameters() if weight.grad is not None}
    return logits.detach().float(), found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="vit-b/16", help="as of peclip bench")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for seed in range(options.seeds):
        net = model(options.backbone, seed)
        video = torch.randn(CLIPS, FRAMES, 3, net.image_size, net.image_size)
        exact, true = passed(net, video, narrow=False)
        for residual in ("fp32", "bf16"):
            if residual == "bf16":
                net.narrow_residual()
            logits, gradients = passed(net, video, narrow=True)
            errors = [error(gradients, true, start) for start in GROUPS.values()]
            rows.append([f"seed {seed}, residual {residual}", f"{(logits - exact).abs().max():.3f}", *errors])
    table("Errors against fp32", ["", "logits, at most", *GROUPS], rows)


def error(found: dict[str, Tensor], true: dict[str, Tensor], start: str) -> str:
    """Return the length of the error of all gradients whose names start so, as a share of that of the gradient."""
    of = [name for name in true if name.startswith(start)]
    one, other = (torch.cat([each[name].flatten() for name in of]) for each in (found, true))
    return f"{(one - other).norm() / other.norm():.1%}"


if __name__ == "__main__":
    main()
