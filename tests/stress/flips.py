"""Measure how much damage to a picture is detected, by flipping single bits in videos with and without checksums.

`python -m tests.stress.flips --flips 200` prints the table of docs/testing.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from peclip.data.media.clip import read_clip
from peclip.errors import InputError
from tests.media import write_video

FRAMES, SIDE = 24, 48

KINDS = {
    "PNG in mov": (".mov", {"codec": "png", "pix_fmt": "rgb24"}),
    "H.265 with checksums in mp4": (
        ".mp4",
        {"codec": "libx265", "codec_options": {"x265-params": "lossless=1:log-level=none:hash=1"}},
    ),
    "H.264 in mp4": (".mp4", {"codec_options": {"qp": "26"}}),
    "H.264 in Matroska": (".mkv", {"codec_options": {"qp": "26"}}),
    "MPEG-4 in AVI": (".avi", {"codec": "mpeg4"}),
    "Motion JPEG in AVI": (".avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "H.265 in mp4": (".mp4", {"codec": "libx265"}),
    "VP9 in WebM": (".webm", {"codec": "libvpx-vp9"}),
}


def outcomes(kind: str, flips: int, folder: Path) -> Counter[str]:
    """Flip bits at random positions, one at a time, and read all frames.

    Returns:
        how often the frames were `right`, the file was `refused`, and frames were `wrong`.
    """
    suffix, options = KINDS[kind]
    path, found = folder / f"a{suffix}", Counter[str]()
    write_video(path, FRAMES, size=(SIDE, SIDE), **options)
    data, whole = path.read_bytes(), read_clip(path, FRAMES, SIDE).numpy()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(data), flips, replace=False):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            found["right" if np.array_equal(read_clip(path, FRAMES, SIDE).numpy(), whole) else "wrong"] += 1
        except InputError:
            found["refused"] += 1
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=200)
    flips = parser.parse_args().flips
    print("| video | read right | refused | read wrong |\n|---|---:|---:|---:|")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as name:
            found = outcomes(kind, flips, Path(name))
        print(f"| {kind} | {found['right']} | {found['refused']} | {found['wrong']} |")


if __name__ == "__main__":
    main()
