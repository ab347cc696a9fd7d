"""Measure how fast `peclip recognize` is with ViT-B/16, and each of its stages alone.

python benchmarks/recognize.py VIDEO FACE_MODEL [--cores 2] [--repeats 3] [--seconds 20] [--precision auto] [--device cpu]

The weights are random: speed does not depend on them. Stages are measured one after the other on the same frames, and
the whole as the command runs it, without writing files.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import takewhile

import cv2
import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from transformers import CLIPConfig, CLIPModel

from peclip.inference.crops import FoundFaces
from peclip.inference.faces import YuNet
from peclip.inference.recognizer import Recognizer
from peclip.inference.sources import read_frames
from peclip.inference.windows import Windows
from peclip.labels import SEVEN
from peclip.model import PEClip
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.freeze import freeze
from peclip.model.device import keep_freed_memory

VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
END = 49_407  # the token at the end of a text
TOKENS = 24  # of a class text, placeholders included: as many as the longest of the seven has
FRAMES, WINDOW, STRIDE = 16, 2.0, 1.0


def vit_b_16() -> PEClip:
    """Return PE-CLIP with ViT-B/16 as it is trained on the benchmarks, with random weights."""
    config = CLIPConfig(vision_config={**VISION, "patch_size": 16}, text_config=TEXT, projection_dim=512)
    backbone = CLIP("ViT-B/16", freeze(CLIPModel(config)))
    ids = torch.arange(1, 1 + len(SEVEN) * TOKENS).view(len(SEVEN), TOKENS)
    ids[:, -1] = END
    return PEClip.assemble(backbone, ids, SEVEN).eval()


def frames_of(video: str, seconds: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the frames of the beginning of a video."""
    return takewhile(lambda frame: frame[0] < seconds, read_frames(video))


def find_faces(frames: list[tuple[float, np.ndarray]], detect: YuNet, size: int) -> list[torch.Tensor]:
    """Find, follow and cut out the faces of decoded frames; return the clips, uint8 (T, 3, S, S)."""
    windows, faces, found = Windows(FRAMES, WINDOW, STRIDE), FoundFaces(size, detect), []
    for seconds, frame in frames:
        if (crops := faces.cut(seconds, frame, windows.wants)) is not None:
            found += [sight.clip for window in windows.push(seconds, crops) for sight in window.sights]
    faces.finish()
    return found + [sight.clip for window in windows.finish() for sight in window.sights]


def classify(recognizer: Recognizer, clips: list[torch.Tensor], batch: int = 4) -> None:
    """Run the model on clips as the recognizer does."""
    for first in range(0, len(clips), batch):
        recognizer._classify(clips[first : first + batch])


def timed(work: Callable[[], object], repeats: int) -> float:
    """Return the median duration of a function in seconds."""
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def measure(
    video: str, face_model: str, seconds: float, repeats: int, precision: str, device: str
) -> tuple[dict[str, float], float, int]:
    """Return the seconds of each stage, the length of the video in seconds, and the number of its clips."""
    keep_freed_memory()  # as the command does
    net, detect = vit_b_16(), YuNet(face_model)
    frames = list(frames_of(video, seconds))
    clips = find_faces(frames, detect, net.image_size)
    recognizer = Recognizer(net, detect, window=WINDOW, stride=STRIDE, precision=precision, device=device)
    classify(recognizer, clips[:4])  # what is made once is not measured
    stages: dict[str, Callable[[], object]] = {
        "decoding": lambda: sum(1 for _ in frames_of(video, seconds)),
        "faces: find, follow, cut out": lambda: find_faces(frames, detect, net.image_size),
        "model": lambda: classify(recognizer, clips),
        "all: peclip recognize": lambda: list(recognizer.rows(frames_of(video, seconds), video)),
    }
    took = {name: timed(work, repeats) for name, work in stages.items()}
    return took, frames[-1][0] + frames[1][0] - frames[0][0], len(clips)


def main() -> None:
    """Measure and print a table in markdown's form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", help="a video of faces")
    parser.add_argument("face_model", help="the ONNX file of YuNet")
    parser.add_argument("--cores", type=int, default=2, help="CPU cores to run on")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median is reported")
    parser.add_argument("--seconds", type=float, default=20.0, help="how much of the video is taken")
    parser.add_argument("--precision", default="auto", help="as of peclip recognize")
    parser.add_argument("--device", default="cpu", help="on which the model computes, as of peclip recognize")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)  # the decoder's threads too
    torch.set_num_threads(len(cores))
    cv2.setNumThreads(len(cores))
    took, length, clips = measure(
        options.video, options.face_model, options.seconds, options.repeats, options.precision, options.device
    )
    table = Table("stage", "seconds", "per second of video", box=box.MARKDOWN)
    for name, value in took.items():
        table.add_row(name, f"{value:.2f}", f"{value / length:.3f}")
    Console().print(
        f"{length:.1f} s of video, {clips} clips of {FRAMES} frames, {len(cores)} cores, {options.precision}, {options.device}"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
