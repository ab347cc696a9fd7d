"""Time the input of training by itself: the decoding of clips, and batches from a manifest."""

import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peclip.bench.measure import Stopwatch, machine
from peclip.bench.report import Result, memory_entry, rates
from peclip.bench.setup import check_range
from peclip.bench.texture import write_textured
from peclip.clip_format import ClipFormat
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Clip, Manifest
from peclip.data.media.clip import read_clip
from peclip.errors import InputError

SYNTHETIC = 4
"""Number of clips that are generated if no manifest is given."""

SECONDS = 10.0
"""Seconds for which the input is measured."""


def measure_decoding(data: str | None, clips: int, num_frames: int, image_size: int, seed: int) -> Result:
    """Measure the decoding of clips for ``peclip bench decode``.

    Raises:
        InputError: a number is out of range, or a clip cannot be decoded.
    """
    for name, value in {"clips": clips, "num_frames": num_frames, "image_size": image_size, "seed": seed}.items():
        check_range(name, value)
    with tempfile.TemporaryDirectory(prefix="peclip-bench-") as folder:
        table = (
            synthetic_clips(Path(folder), seed)
            if data is None
            else Manifest.read(data, labels_required=False, allow_outside=True)
        )
        if not len(table):
            raise InputError(f"{table.source} has no clips")
        watch = _time_decoding([table.clip(index) for index in range(len(table))], clips, num_frames, image_size, seed)
    return {
        "what": "decode",
        "data": data,
        "num_frames": num_frames,
        "image_size": image_size,
        "seed": seed,
        "machine": {**machine(watch.device), "threads": 1},
        **rates(1, num_frames, watch.seconds),
        **memory_entry(watch.memory),
    }


def synthetic_clips(folder: Path, seed: int) -> Manifest:
    """Generate clips with the texture of camera pictures, and return their manifest."""
    lines = ["path"]
    for number in range(SYNTHETIC):
        write_textured(folder / f"{number}.mp4", SYNTHETIC * seed + number)
        lines.append(f"{number}.mp4")
    manifest = folder / "clips.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Manifest.read(manifest, labels_required=False)


def check_clips(data: str) -> None:
    """Check that a manifest has training clips, before anything else is measured.

    Raises:
        InputError: the manifest has none, or cannot be read.
    """
    VideoDataModule(data, allow_outside=True).setup("fit")


def input_entry(
    data: str, batch_size: int, num_frames: int, image_size: int, num_workers: int, seed: int, compute: float
) -> dict[str, Any]:
    """Time the input of training, and return whether input or compute limits it.

    Args:
        data: csv manifest.
        batch_size: B.
        num_frames: T.
        image_size: side of the frames in pixels.
        num_workers: number of processes that decode.
        seed: seed of the sampler and of the choice of frames.
        compute: rate of the model in clips/s.

    Returns:
        ``clips_per_second``, ``num_workers``, ``workers_needed``, ``limit`` (input or compute) and ``verdict``.

    Raises:
        InputError: the manifest or a clip cannot be read, or there is no training clip.
    """
    module = VideoDataModule(data, batch_size=batch_size, num_workers=num_workers, seed=seed, allow_outside=True)
    module.clip_format = ClipFormat(num_frames, image_size)
    module.setup("fit")
    rate = _loader_rate(module)
    needed = math.ceil(compute * max(num_workers, 1) / rate)
    limit = "compute" if rate >= compute and num_workers else "input"
    return {
        "clips_per_second": rate,
        "num_workers": num_workers,
        "workers_needed": needed,
        "limit": limit,
        "verdict": _verdict(rate, num_workers, compute, needed),
    }


def _verdict(rate: float, workers: int, compute: float, needed: int) -> str:
    cores = os.cpu_count() or 1
    enough = f"{needed} {'worker keeps' if needed == 1 else 'workers keep'} up with it"
    if needed > cores:
        enough += f", but there are {cores} cores"
    if not workers:
        both = 1 / (1 / rate + 1 / compute)
        return (
            f"Without workers, decoding ({rate:,.1f} clips/s) and the model ({compute:,.1f}) take turns: {both:,.1f} "
            f"clips/s; {enough}."
        )
    limit = "Compute limits" if rate >= compute else "Input limits"
    return f"{limit}: {workers} workers read {rate:,.1f} clips/s, the model processes {compute:,.1f}; {enough}."


def _loader_rate(module: VideoDataModule) -> float:
    """Return the rate of training batches in clips/s, measured after the workers have started."""
    batches = _batches(module)
    for _ in range(1 + 2 * module.num_workers):  # the workers began these batches while they started
        next(batches)
    begun, clips = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        clips += next(batches)
    return clips / (time.perf_counter() - begun)


def _batches(module: VideoDataModule) -> Iterator[int]:
    """Yield the number of clips of each training batch, epoch after epoch."""
    loader = module.train_dataloader()
    for epoch in count():
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]  # it is a TrainSampler
        for batch in loader:
            yield len(batch)


def _time_decoding(clips: Sequence[Clip], decodings: int, num_frames: int, size: int, seed: int) -> Stopwatch:
    """Decode the clips in turn in this thread, and return the time of each decoding."""
    watch = Stopwatch(torch.device("cpu"), warmup=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in range(watch.warmup + 1 + decodings):
            clip = clips[number % len(clips)]
            rng = np.random.default_rng((seed, number))
            watch.start()
            try:
                read_clip(clip.path, num_frames, size, start=clip.start, end=clip.end, rng=rng)
            except InputError as error:
                raise InputError(f"{error} ({clip.where})") from error
            watch.stop()
    finally:
        torch.set_num_threads(threads)
    return watch
