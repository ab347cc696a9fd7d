"""Memory of recognize, measured in processes of their own: the peak of one cannot be undone."""

import ctypes
import json
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from peclip.commands.recognize import recognize
from tests.lacking import YUNET, needs, needs_yunet
from tests.processes import called
from tests.scenes import Visit, film

FPS = 8
ARENA_MAX = -8
"""glibc's number for the option of its allocator."""


def peak() -> float:
    """Return the most memory that this process has taken, in MB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def peaks_of(names: list[str], options: tuple[str, ...]) -> None:
    """Recognize videos one after the other, and print the peak of memory after each.

    All threads share one arena of glibc: what each of several keeps of freed memory differs from run to run by 20 MB.
    """
    ctypes.CDLL(None).mallopt(ARENA_MAX, 1)
    peaks = {}
    for name in names:
        assert recognize([f"{name}.mp4"], options[0], f"out_{name}", *options[1:]) == 0
        peaks[name] = peak()
    print(json.dumps(peaks))


def write_long(path: Path, seconds: int, frames: list[np.ndarray]) -> None:
    """Write so many seconds of low-resolution video that shows frames, uint8 (H, W, 3), over and over."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "30"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p") for frame in frames]
        for number in range(seconds * FPS):
            picture = pictures[number % len(pictures)]
            picture.pts = number
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def measure(folder: Path, names: list[str], *options: str) -> dict[str, float]:
    """Recognize videos one after the other in one process; return its peak of memory in MB after each."""
    result = called(folder, partial(peaks_of, names, options), limit=6 * 3600)
    assert result.status == 0, result.err
    return json.loads(result.out.splitlines()[-1])


@pytest.mark.slow
def test_a_longer_video_takes_no_more_memory(checkpoint, tmp_path):
    frames = [np.full((128, 160, 3), level, np.uint8) for level in range(0, 200, 25)]
    for name, seconds in (("first", 30), ("short", 30), ("long", 180)):
        write_long(tmp_path / f"{name}.mp4", seconds, frames)
    peaks = measure(tmp_path, ["first", "short", "long"], checkpoint, "none")  # the second call takes 11 MB more, too
    assert peaks["long"] - peaks["short"] < 20  # the frames of 150 s are 74 MB


@pytest.mark.slow
@needs_yunet
@pytest.mark.parametrize(
    ("short", "long"), [(20, 60), pytest.param(60, 3600, marks=pytest.mark.stress, id="a minute and an hour")]
)
def test_more_of_a_face_takes_no_more_memory(short, long, checkpoint, tmp_path):
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    # It is away for three seconds: each return is another track.
    frames = list(film([Visit(1, 100, 60, range(24))], 48))
    for name, seconds in (("short", short), ("long", long)):
        write_long(tmp_path / f"{name}.mp4", seconds, frames)
    # Twice the short one: what is made at first use takes 15 MB in the second call, too.
    peaks = measure(tmp_path, ["short", "short", "long"], checkpoint, "yunet", str(YUNET))
    assert len((tmp_path / "out_long" / "timeline.csv").read_text().splitlines()) > long
    assert peaks["long"] - peaks["short"] < 50  # the frames of 40 s are 74 MB
    assert peaks["long"] < 1000  # the whole process, libraries and a tiny model included
