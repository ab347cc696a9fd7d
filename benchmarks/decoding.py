"""Compare how peclip reads the frames of a clip with decord, torchcodec and Pillow, per core and in one run.

pip install decord torchcodec                      # torchcodec needs FFmpeg's libraries: apt-get install ffmpeg
python benchmarks/decoding.py [--rounds 40] [--clips FILE ...]

16 of 75 frames of an H.264 file (3 s, 224x224 pixels, textured, one keyframe), the middle ones of each segment; and the
same of a folder of JPEG files. Every reader opens the clip again, has one thread, and returns uint8 pixels at 224x224. The
frames are compared first.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import decord
import numpy as np
import torch
from interleaved import processor_seconds, show
from jpeg import write_folder
from PIL import Image
from torchcodec.decoders import VideoDecoder

from peclip.bench.input import SIDE, write_textured
from peclip.data.media.clip import count_frames, read_clip, segment_indices

FRAMES = 16


def by_peclip(path: Path) -> torch.Tensor:
    """Read as training and evaluation do."""
    return read_clip(path, FRAMES, SIDE)


def by_decord(path: Path) -> torch.Tensor:
    """Read with decord's random access."""
    reader = decord.VideoReader(str(path), width=SIDE, height=SIDE, num_threads=1)
    pixels = reader.get_batch(segment_indices(len(reader), FRAMES)).asnumpy()
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def by_torchcodec(path: Path, mode: str) -> torch.Tensor:
    """Read with torchcodec: exact scans the file for its frames, approximate trusts the container."""
    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode=mode)
    return decoder.get_frames_at(segment_indices(len(decoder), FRAMES).tolist()).data


def by_pillow(path: Path) -> torch.Tensor:
    """Read a folder as most loaders do; the files are numbered, and a model takes channels first."""
    names = sorted(os.listdir(path), key=lambda name: int(name.split(".")[0]))
    chosen = [Image.open(path / names[i]).convert("RGB") for i in segment_indices(len(names), FRAMES)]
    return torch.from_numpy(np.stack([np.asarray(image) for image in chosen])).permute(0, 3, 1, 2).contiguous()


VIDEO: dict[str, Callable[[Path], torch.Tensor]] = {
    "peclip": by_peclip,
    f"decord {version('decord')}": by_decord,
    f"torchcodec {version('torchcodec')}, approximate": lambda path: by_torchcodec(path, "approximate"),
    f"torchcodec {version('torchcodec')}, exact": lambda path: by_torchcodec(path, "exact"),
}
FOLDER: dict[str, Callable[[Path], torch.Tensor]] = {"peclip": by_peclip, f"Pillow {version('pillow')}": by_pillow}


def compare(title: str, ways: dict[str, Callable[[Path], torch.Tensor]], clips: list[Path], rounds: int) -> None:
    """Check that all readers return the same frames, time them in turns and print the table."""
    for clip in clips:
        expected = by_peclip(clip).float()
        for name, way in ways.items():
            difference = (way(clip).float() - expected).abs().mean().item()
            assert difference < 2, f"{clip}: {name} reads other frames, {difference:.1f} grey levels away"
    timed = {name: (lambda number, way=way: way(clips[number % len(clips)])) for name, way in ways.items()}
    show(title, processor_seconds(timed, rounds))


def main() -> None:
    """Read the command line and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--clips", type=Path, nargs="+", help="square video files to read instead of those made here")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = options.clips or [folder / f"{seed}.mp4" for seed in range(4)]
        for seed, video in enumerate(videos if options.clips is None else ()):
            write_textured(video, seed)
        rates = [8e-6 * video.stat().st_size / count_frames(video) * 25 for video in videos]
        title = f"{FRAMES} frames of H.264, {min(rates):.2f} to {max(rates):.2f} Mbit/s at 25 frames/s"
        compare(title, VIDEO, videos, options.rounds)
        images = [folder / f"{seed}" for seed in range(len(videos))]
        for image, video in zip(images, videos, strict=True):
            write_folder(image, video)
        compare(f"{FRAMES} frames of a folder of JPEG files", FOLDER, images, options.rounds)


if __name__ == "__main__":
    main()
