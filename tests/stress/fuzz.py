"""Damages small real files at random, reads them, and keeps those that do something else than they may.

A damaged file gives a clip of the right shape or an `InputError` of one line that names it, within seconds and little
memory. `python -m tests.stress.fuzz --seconds 600 --seed 0` prints the figures of docs/testing.md; what it finds is
kept in a folder, and `--only N` reads file N of the seed again, in this process, where a debugger sees it.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from peclip.data.manifest import Manifest
from peclip.data.media.clip import count_frames, every_frame, read_clip, stream_frames
from peclip.data.media.shard import open_shard
from peclip.data.pack import Packing, pack
from peclip.errors import InputError
from tests.media import numbered_frames, write_frames, write_video
from tests.stress.guarded import MOST_MEGABYTES, guarded

SECONDS = 20
"""Time that reading a file may take."""

FRAMES, SIDE = 10, 32
T = 4

VIDEOS = {
    "h264.mp4": {},
    "h264 index first.mp4": {"container_options": {"movflags": "faststart"}},
    "h264 fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h265.mp4": {"codec": "libx265"},
    "h264.mkv": {},
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "bgra"},
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"deadline": "realtime"}},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 0},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "qtrle.mov": {"codec": "qtrle", "pix_fmt": "rgb24"},
    "h264.ts": {},
    "h264.flv": {},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "h264.h264": {},
}
"""Videos by name, and how they are written."""

KINDS = (*VIDEOS, "pillow.gif", "frames.jpg", "frames.png", "frames.webp", "shard-00000.zip")


class Finding(NamedTuple):
    """A file that does something else than it may."""

    number: int
    kind: str
    what: str


@cache
def original(kind: str) -> bytes:
    """Return a whole file of a kind; of a folder of frames, one of them."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, kind)
        if kind in VIDEOS:
            write_video(path, FRAMES, size=(SIDE, SIDE), gop=5, **VIDEOS[kind])
        elif kind == "pillow.gif":
            first, *rest = map(Image.fromarray, numbered_frames(FRAMES, (SIDE, SIDE)))
            first.save(path, save_all=True, append_images=rest)
        elif kind.startswith("frames"):
            write_frames(name, 1, size=(SIDE, SIDE), suffix=path.suffix)
            path = Path(name, f"1{path.suffix}")
        else:
            for clip in ("a", "b"):
                write_frames(path.parent / clip, FRAMES, size=(SIDE, SIDE))
            (path.parent / "clips.csv").write_text("path,label\na,anger\nb,fear\n")
            pack(Manifest.read(path.parent / "clips.csv"), path.parent, Packing(SIDE))
        return path.read_bytes()


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to four kinds of damage."""
    for _ in range(rng.integers(1, 5)):
        data = DAMAGES[rng.integers(len(DAMAGES))](data, rng)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Choose a place: anywhere, near the beginning or near the end, where containers say what they hold."""
    near = min(len(data), int(rng.choice((64, 1024, len(data) or 1))))
    place = int(rng.integers(near)) if near else 0
    return place if rng.random() < 0.5 else max(len(data) - 1 - place, 0)


def _length(rng: np.random.Generator) -> int:
    return int(2 ** rng.uniform(0, 10))


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(_length(rng) // 8 + 1 if data else 0):
        changed[_place(data, rng)] ^= 1 << rng.integers(8)
    return bytes(changed)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + _length(rng) :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + rng.bytes(_length(rng)) + data[place:]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    source, place = _place(data, rng), _place(data, rng)
    return data[:place] + data[source : source + _length(rng)] + data[place:]


def _fill(data: bytes, rng: np.random.Generator) -> bytes:
    place, length = _place(data, rng), _length(rng)
    value = bytes([int(rng.choice((0, 0xFF, 0x7F, 0x80)))])
    return data[:place] + value * min(length, len(data) - place) + data[place + length :]


def _field(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a number near a name of four letters: what boxes, chunks and markers have."""
    names = [match.start() for match in re.finditer(rb"[A-Za-z][A-Za-z0-9 ]{3}", data)]
    place = int(rng.choice(names)) if names else _place(data, rng)
    place = max(place + 4 * int(rng.integers(-1, 8)), 0)
    width = int(rng.choice((1, 2, 4, 8)))
    top = 2 ** (8 * width - 1)
    value = (0, 1, top - 1, top, 2 * top - 1)[rng.integers(5)]
    return data[:place] + value.to_bytes(width, ("big", "little")[rng.integers(2)]) + data[place + width :]


def _swell(data: bytes, rng: np.random.Generator) -> bytes:
    """Repeat a part thousands of times: frames of an animation, scans of a JPEG, entries of an index."""
    starts = [match.start() for match in re.finditer(rb"\xff\xda|\x2c|moof|[\x00-\x01]{3}\x01", data)]
    place = int(rng.choice(starts)) if starts else _place(data, rng)
    part = data[place : place + _length(rng)]
    return data[:place] + part * (_SWOLLEN // max(len(part), 1)) + data[place:]


_SWOLLEN = 500_000  # bytes that such a part takes

DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    *(_flip, _flip, _cut, _remove, _insert, _repeat, _fill, _field, _field, _swell),
)


def make(seed: int, number: int, folder: Path) -> tuple[str, Path]:
    """Make a damaged file of a seed.

    Returns:
        its kind, and the path of the clip: of the file, of the folder of frames in which it is, or within the shard.
    """
    kind, rng = KINDS[number % len(KINDS)], np.random.default_rng((seed, number))
    data = damaged(original(kind), rng)
    path = folder / kind
    if not kind.startswith("frames"):
        path.write_bytes(data)
        return kind, path / "0000000" if path.suffix == ".zip" else path
    path.mkdir(exist_ok=True)
    for name in ("1", "2", "3"):
        (path / f"{name}{path.suffix}").write_bytes(data if name == "2" else original(kind))
    return kind, path


def judge(kind: str, path: Path, rng: np.random.Generator) -> str:
    """Read a file in some of the ways there are.

    Returns:
        ``read`` or ``refused`` as `read_clip` did.

    Raises:
        AssertionError: it gave something else than it may.
    """
    open_shard.cache_clear()

    def clip(**window: float) -> None:
        video = read_clip(path, T, SIDE, **window)
        assert (video.shape, str(video.dtype)) == ((T, 3, SIDE, SIDE), "torch.uint8")

    def count() -> None:
        assert 0 <= count_frames(path) < 1_000_000

    def every() -> None:
        assert all(frame.shape == (3, SIDE, SIDE) for frame in every_frame(path, SIDE))

    def stream() -> None:
        for seconds, frame in stream_frames(path):
            assert math.isfinite(seconds)
            assert frame.ndim == 3

    verdict = "read" if _fine(clip, path) else "refused"
    _fine(count, path)
    if rng.random() < 0.25:
        _fine(every, path)
        if path.is_file():
            _fine(stream, path)
            _fine(lambda: clip(start=0.1, end=0.3), path)
    return verdict


def _fine(way: Callable[[], None], path: Path) -> bool:
    """Tell whether a way of reading gave what it should; if not, an error as it should be."""
    try:
        way()
        return True
    except InputError as error:
        message = str(error)
    file = path if path.exists() else path.parent  # a clip within a shard is no file
    assert "\n" not in message, f"more than a line: {message}"
    assert message.startswith(str(file)), f"does not name the file: {message}"
    return False


def fuzz(files: int, seconds: float, seed: int, keep: Path) -> tuple[list[Finding], str]:
    """Damage and read files, so many or for so long.

    Args:
        files: how many at most.
        seconds: after which no other file is read.
        seed: of all that is random.
        keep: folder for files that do something else than they may.

    Returns:
        what was found, and the figures in a line.
    """
    begin = time.monotonic()
    findings, counts, durations, megabytes = [], Counter[str](), [0.0], [0.0]
    with tempfile.TemporaryDirectory() as name:
        reads = partial(read, seed, Path(name))
        for number, outcome in enumerate(guarded(reads, range(files), SECONDS, _originals)):
            what = outcome.error or ("" if outcome.megabytes < MOST_MEGABYTES else f"{outcome.megabytes:.0f} MB")
            if what:
                findings.append(Finding(number, _keep(seed, number, keep), what))
            else:
                counts[outcome.value] += 1
                durations.append(outcome.seconds)
                megabytes.append(outcome.megabytes)
            if time.monotonic() - begin > seconds:
                break
    figures = (
        f"{counts.total() + len(findings):,} files of {len(KINDS)} kinds, seed {seed}: {counts['read']:,} read, {counts['refused']:,} refused, "
        f"{len(findings)} findings; at most {max(durations):.2f} s and {max(megabytes):.0f} MB a file, "
        f"{time.monotonic() - begin:.0f} s in all"
    )
    return findings, figures


def _originals() -> None:
    for kind in KINDS:
        original(kind)


def read(seed: int, folder: Path, number: int) -> str:
    """Make a file of a seed in a folder, read it, and return the verdict."""
    kind, path = make(seed, number, folder)
    return judge(kind, path, np.random.default_rng((seed, number, 1)))


def _keep(seed: int, number: int, keep: Path) -> str:
    """Make a file again where it is kept, and return its kind."""
    folder = keep / f"seed-{seed}-file-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    return make(seed, number, folder)[0]


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="folder for what is found")
    parser.add_argument("--only", type=int, help="number of one file, to be read in this process")
    given = parser.parse_args()
    if given.only is not None:
        with tempfile.TemporaryDirectory() as name:
            kind, path = make(given.seed, given.only, Path(name))
            print(judge(kind, path, np.random.default_rng((given.seed, given.only, 1))))
        return
    findings, figures = fuzz(given.files, given.seconds, given.seed, given.keep)
    for finding in findings:
        print(f"file {finding.number} ({finding.kind}): {finding.what}")
    print(figures)


if __name__ == "__main__":
    import_module("tests.stress.fuzz").main()  # other processes find the functions of a module by its name
