"""Memory of recognize, measured in processes of their own: the peak of one cannot be undone."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.lacking import YUNET, needs, needs_yunet
from tests.scenes import Visit, film

FPS = 8

PEAK = """
import json, re, sys
from pathlib import Path
from peclip.commands.recognize import recognize

def megabytes(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

peaks = {}
for name in sys.argv[1].split(","):
    status = recognize([f"{name}.mp4"], sys.argv[2], f"out_{name}", *sys.argv[3:])
    assert status == 0
    peaks[name] = megabytes("VmHWM")
print(json.dumps(peaks))
"""


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
    arguments = [sys.executable, "-c", PEAK, ",".join(names), *options]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_longer_video_takes_no_more_memory(checkpoint, tmp_path):
    frames = [np.full((64, 80, 3), level, np.uint8) for level in range(0, 200, 25)]
    for name, seconds in (("short", 30), ("long", 600)):
        write_long(tmp_path / f"{name}.mp4", seconds, frames)
    peaks = measure(tmp_path, ["short", "long"], checkpoint, "none")
    assert peaks["long"] - peaks["short"] < 20


@needs_yunet
@pytest.mark.parametrize(
    ("short", "long"), [(48, 144), pytest.param(60, 3600, marks=pytest.mark.slow, id="a minute and an hour")]
)
def test_more_of_a_face_takes_no_more_memory(short, long, checkpoint, tmp_path):
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    # It is away for three seconds: each return is another track.
    frames = list(film([Visit(1, 100, 60, range(24))], 48))
    for name, seconds in (("short", short), ("long", long)):
        write_long(tmp_path / f"{name}.mp4", seconds, frames)
    peaks = measure(tmp_path, ["short", "long"], checkpoint, "yunet", str(YUNET))
    assert len((tmp_path / "out_long" / "timeline.csv").read_text().splitlines()) > long
    assert peaks["long"] - peaks["short"] < 50
    assert peaks["long"] < 1000  # the whole process, libraries and a tiny model included
