"""Compare peclip's training step with a plain implementation, and with the frozen CLIP alone.

python benchmarks/training_step.py [--rounds 3] [--steps 3] [--frozen bf16] [--device cpu] [--tiny] [--out FILE]

ViT-B/16 with random weights, 2 clips of 16 frames, 7 classes, one process for each measurement, in turns:

plain          examples/pe_clip_plain.py: forward hooks, nn.GRU, torch's attention; under autocast to bf16
eager          peclip
compiled       peclip with compile: true
budget         the same with activation_memory_budget: 0.7
checkpointing  peclip with checkpointing: true
both           peclip with both
bare           the frozen CLIP of peclip without adapters and prompts, compiled, as many tokens, backward to its input

In all of them the texts have the same tokens, and none behind the longest end-of-text.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fresh import Figures, gigabytes, in_turns, keep, peclip, ratio, table
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel

from peclip.bench.measure import timed
from peclip.bench.report import memory_entry, rates
from peclip.bench.sizes import backbone_of, random_config, random_tokens
from peclip.model import PEClip
from peclip.model.device import find_device, keep_freed_memory
from peclip.model.parts.prompts import DEPTH

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIPS, FRAMES, CLASSES, WARMUP, EXTRA = 2, 16, 7, 2, 2
GOALS = """Goals: compiled at least 82 % of the matmul rate, plain / compiled >= 1.6, memory <= 0.8 of plain's,
with checkpointing <= 0.5, compiled / bare <= 1.15."""


def main() -> None:
    """Measure one variant in this process where one is named, else all of them in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="that count, in each round")
    parser.add_argument("--frozen", choices=("fp32", "bf16"), default="fp32", help="how peclip and bare hold CLIP")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="try the script out in a minute")
    parser.add_argument("--variant", choices=("plain", "bare"), help="measure this alone, in this process")
    parser.add_argument("--out", help="json file to write the figures to")
    options = parser.parse_args()
    if options.variant:
        Path(options.out).write_text(json.dumps(one(options)))
        return
    found = in_turns(commands(options), options.rounds)
    show(found)
    keep(found, options.out)


def commands(options: argparse.Namespace) -> dict[str, list[object]]:
    """Return the function that measures each variant."""
    common = {"steps": options.steps, "frozen": options.frozen, "device": options.device}
    words = [word for name, value in common.items() for word in (f"--{name}", value)]
    mine = [__file__, *words, *(["--tiny"] if options.tiny else [])]
    common |= {"precision": "bf16-mixed", "warmup": WARMUP, "backbone": backbone(options)}
    return {
        "plain": [*mine, "--variant", "plain"],
        "eager": peclip("train", **common),
        "compiled": peclip("train", **common, compile="true"),
        "budget": peclip("train", **common, compile="true", activation_memory_budget=0.7),
        "checkpointing": peclip("train", **common, checkpointing="true"),
        "both": peclip("train", **common, compile="true", checkpointing="true"),
        "bare": [*mine, "--variant", "bare"],
    }


def backbone(options: argparse.Namespace) -> str:
    """Return the name of the size."""
    return "tiny" if options.tiny else "vit-b/16"


def one(options: argparse.Namespace) -> Figures:
    """Measure the plain or the bare variant."""
    torch.manual_seed(0)
    device = find_device(options.device, kinds=("cpu", "cuda"))
    step = (plain_step if options.variant == "plain" else bare_step)(options, device)
    watch = timed(step, device, WARMUP, options.steps)
    return {**rates(CLIPS, FRAMES, watch.seconds), **memory_entry(watch.memory)}


def plain_step(options: argparse.Namespace, device: torch.device) -> Callable[[], None]:
    """Return a training step of the plain implementation."""
    sys.path.append(str(EXAMPLES))
    from pe_clip_plain import PlainPEClip

    name = backbone(options)
    clip = CLIPModel(random_config(name))
    clip.set_attn_implementation("sdpa")
    depth = min(DEPTH, len(clip.text_model.encoder.layers))
    net = PlainPEClip(clip, random_tokens(backbone_of(name), CLASSES, EXTRA), depth).to(device)
    groups = [{"params": [*part.parameters()], "lr": 1e-5} for part in (net.adapters, net.prompts)]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
    video, label = batch(clip.config.vision_config.image_size, device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(video)
        F.cross_entropy(logits.float(), label).backward()
        optimizer.step()

    return step


def bare_step(options: argparse.Namespace, device: torch.device) -> Callable[[], None]:
    """Return a pass through both frozen towers and back to the tokens that go into their first blocks."""
    keep_freed_memory()
    clip = backbone_of(backbone(options))
    ids = random_tokens(clip, CLASSES, EXTRA)
    net = PEClip.assemble(clip, ids, [str(number) for number in range(CLASSES)], {}, None, compile=True).to(device)
    if options.frozen == "bf16":
        net.hold_frozen_in(torch.bfloat16)
    more = torch.randn(1, EXTRA, clip.towers["vision"].width, device=device)  # in the place of the prompts

    def wanted(module: Any, args: Any, tokens: Tensor) -> Tensor:
        if module is clip.towers["vision"].entrance:
            tokens = torch.cat([tokens, more.to(tokens.dtype).expand(len(tokens), -1, -1)], dim=1)
        return tokens.detach().requires_grad_()

    for tower in clip.towers.values():
        tower.entrance.register_forward_hook(wanted)
    video, label = batch(net.image_size, device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(video)
        F.cross_entropy(logits.float(), label).backward()

    return step


def batch(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return clips of noise and their labels."""
    video = torch.randn(CLIPS, FRAMES, 3, side, side, device=device)
    return video, torch.randint(CLASSES, (CLIPS,), device=device)


def show(found: dict[str, Figures]) -> None:
    """Print steps, memory, ratios to plain and to bare, and the share of the machine's matmul rate."""
    plain, bare, eager = found["plain"], found["bare"], found["eager"]["rounds"][0]
    flops = CLIPS * sum(eager["flops_per_clip"].values()) + eager["flops_of_texts"]
    peak = max(
        run["matmul_flops_per_second"] for one in found.values() for run in one["rounds"] if "share_of_peak" in run
    )
    rows = [
        [
            name,
            f"{figures['step']:.3f} s",
            f"{figures['fastest']:.3f} s",
            gigabytes(figures["memory"]),
            gigabytes(figures["process_memory"]),
            ratio(plain["step"], figures["step"]),
            ratio(figures["memory"], plain["memory"]),
            ratio(figures["process_memory"], plain["process_memory"]),
            ratio(figures["step"], bare["step"]),
            "" if name == "bare" else f"{flops / figures['step'] / peak:.1%}",
        ]
        for name, figures in found.items()
    ]
    header = ["", "step", "fastest", "memory", "of process", "plain / step", "memory / plain", "process / plain",
              "step / bare", "of matmul"]  # fmt: skip
    here = eager["machine"]
    table(
        f"Training step on {here['device']}, which multiplies bf16 matrices at {peak / 1e12:.3f} TFLOP/s", header, rows
    )
    print(f"{flops / 1e12:.3f} TFLOP a step.\n{GOALS}")


if __name__ == "__main__":
    main()
