"""Measure what fewer bits change in the answers of a model: recognize in int8, and ONNX files in fp16 and int8.

python benchmarks/fewer_bits.py runs/demo/version_0 data/demo/.../manifest.csv

All are compared with torch in fp32 on the test clips of the manifest, read once; one thread, clips one by one.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import onnxruntime
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from peclip.data.augment import normalize
from peclip.data.manifest import Manifest
from peclip.data.media.clip import read_clip
from peclip.model import PEClip, read_trained
from peclip.model.fast.int8 import in_int8
from peclip.model.io.onnx import write_onnx
from peclip.model.io.onnx_dtype import OnnxDtype


@dataclass(frozen=True)
class Answers:
    """The logits (N, C) of all clips, the processor time in seconds, and the size of the file in MB, 0 without one."""

    logits: np.ndarray
    seconds: float
    megabytes: float = 0.0


def answers(logits_of: Callable[[Tensor], np.ndarray], clips: list[Tensor], megabytes: float = 0.0) -> Answers:
    """Return the answers of a model to clips, each float32 (1, T, 3, S, S)."""
    logits_of(clips[0])
    begin = time.process_time()
    logits = np.concatenate([logits_of(clip) for clip in clips])
    return Answers(logits, time.process_time() - begin, megabytes)


def of_torch(net: PEClip, clips: list[Tensor]) -> Answers:
    """Return the answers of a model in torch."""
    with torch.inference_mode():
        return answers(lambda clip: net(clip).float().numpy(), clips)


def of_onnx(net: PEClip, dtype: OnnxDtype, clips: list[Tensor]) -> Answers:
    """Return the answers of the ONNX file of a model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        write_onnx(net, path, dtype)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return answers(lambda clip: session.run(None, {"video": clip.numpy()})[0], clips, path.stat().st_size / 1e6)


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a run, a checkpoint or a package")
    parser.add_argument("manifest", type=Path, help="csv file of the clips")
    given = parser.parse_args()
    torch.set_num_threads(1)
    net = PEClip.from_trained(read_trained(given.model)).eval()
    test, form = Manifest.read(given.manifest).select("test"), net.clip_format
    listed = [test.clip(number) for number in range(len(test))]
    frames = (read_clip(clip.path, form.num_frames, form.image_size) for clip in listed)
    clips = [normalize(clip[None], form) for clip in frames]
    truth = np.array([net.labels.index(clip.label or "") for clip in listed])
    exact = of_torch(net, clips)
    found = {f"ONNX, {dtype}": of_onnx(net, dtype, clips) for dtype in get_args(OnnxDtype)}
    found = {"torch, fp32": exact, "torch, int8": of_torch(in_int8(net), clips), **found}
    show(found, exact, truth, net.temperature)


def show(found: dict[str, Answers], exact: Answers, truth: np.ndarray, temperature: float) -> None:
    """Print how far logits, probabilities, answers and time are from exact ones; time within torch or within ONNX Runtime."""
    low, high = exact.logits.min(), exact.logits.max()
    table = Table(title=f"{len(truth)} clips, logits from {low:.0f} to {high:.0f}", box=box.MARKDOWN)
    for name in ("", "file", "change of a logit: mean", "largest", "of a probability", "same answer", "WAR", "time"):
        table.add_column(name, justify="left" if name == "" else "right")
    for name, each in found.items():
        change = np.abs(each.logits - exact.logits)
        worst = np.abs(shares(each.logits / temperature) - shares(exact.logits / temperature)).max()
        same = (each.logits.argmax(1) == exact.logits.argmax(1)).mean()
        base = found[f"{name.partition(',')[0]}, fp32"].seconds
        table.add_row(
            name,
            f"{each.megabytes:.1f} MB" if each.megabytes else "",
            *(f"{change.mean():.1e}", f"{change.max():.1e}", f"{worst:.1e}", f"{same:.1%}"),
            *(f"{(each.logits.argmax(1) == truth).mean():.1%}", f"{each.seconds / base:.2f}"),
        )
    Console(width=140).print(table)


def shares(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits (N, C)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


if __name__ == "__main__":
    main()
