"""Time the input of training by itself: the decoding of clips, and batches from a manifest.

Generated clips show a texture that moves and bends as skin does, so that files are as large as real ones.
"""

import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from peclip.bench.measure import Stopwatch, machine
from peclip.bench.report import Result, memory_entry, rates
from peclip.bench.setup import check_range
from peclip.clip_format import ClipFormat
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Clip, Manifest
from peclip.data.media.clip import read_clip
from peclip.errors import InputError

SYNTHETIC = 4
"""Number of clips that are generated if no manifest is given."""

SECONDS = 10.0
"""Seconds for which the input is measured."""

FRAMES, SIDE = 75, 224
"""Number of frames of a clip (3 s at 25 frames/s), and their side in pixels."""

MARGIN = 40  # pixels by which the texture is larger on each side
GRAIN = 10.0  # grey levels, of a camera's noise


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


def write_textured(path: Path, seed: int, frames: int = FRAMES) -> None:
    """Write an H.264 file with the defaults of x264 (crf 23, a keyframe every 250 frames): 1 to 2 Mbit/s.

    Args:
        path: path of the file, mp4.
        seed: seed of texture, movement and grain.
        frames: number of frames of the clip, at 25 a second.
    """
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "23", "preset": "medium"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # with more, the file depends on their timing
        for picture in _pictures(seed, frames):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))


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


def _pictures(seed: int, frames: int) -> Iterator[np.ndarray]:
    """Yield the frames of a clip, uint8 (SIDE, SIDE, 3)."""
    rng = np.random.default_rng(seed)
    texture, phase = _texture(rng), rng.uniform(0, 2 * math.pi, 6)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(float)
    for number in range(frames):
        yield _picture(texture, x, y, number / 25, phase, rng)


def _picture(
    texture: np.ndarray, x: np.ndarray, y: np.ndarray, t: float, phase: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the texture at a time: moved as a whole, bent by waves, with grain."""
    down = 12 * math.sin(1.9 * t + phase[0]) + 8 * np.sin(x / 23 + 5 * t + phase[1]) * np.sin(y / 31 + phase[2])
    right = 12 * math.sin(1.3 * t + phase[3]) + 8 * np.sin(y / 19 + 4 * t + phase[4]) * np.sin(x / 27 + phase[5])
    row, column = y + MARGIN + down, x + MARGIN + right
    top, left = row.astype(int), column.astype(int)
    lower, righter = (row - top)[..., None], (column - left)[..., None]
    upper_row = texture[top, left] * (1 - righter) + texture[top, left + 1] * righter
    lower_row = texture[top + 1, left] * (1 - righter) + texture[top + 1, left + 1] * righter
    picture = upper_row * (1 - lower) + lower_row * lower + rng.normal(0, GRAIN, (SIDE, SIDE, 1))
    return picture.clip(0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Return noise with the spectrum of natural pictures, 1/f, most of it common to the colours: (side, side, 3)."""
    side = SIDE + 2 * MARGIN
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = np.inf
    waves = rng.normal(size=(4, *frequency.shape)) + 1j * rng.normal(size=(4, *frequency.shape))
    light, *colours = np.fft.irfft2(waves / frequency, s=(side, side))
    planes = [light / light.std() + 0.3 * colour / colour.std() for colour in colours]
    return np.stack([128 + 45 * plane for plane in planes], axis=-1)
