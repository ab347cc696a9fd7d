"""Memory of recognize, measured in processes of their own: the peak of one cannot be undone."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
YUNET = ROOT.parent / "shared" / "models" / "face_detection_yunet_2026may.onnx"
FACE = ROOT.parent / "shared" / "media" / "real_unlabelled" / "single_face.mp4"

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


@pytest.mark.slow
@pytest.mark.skipif(not (YUNET.exists() and FACE.exists()), reason="needs ../shared/models and ../shared/media")
def test_an_hour_of_a_face_takes_no_more_memory_than_a_minute(checkpoint, tmp_path):
    pytest.importorskip("cv2", reason="needs OpenCV")
    with av.open(str(FACE)) as video:
        shown = [frame.reformat(width=240, height=136, format="rgb24").to_ndarray() for frame in video.decode(video=0)]
    away = [np.zeros_like(shown[0])] * 24  # three seconds: each return is another track
    for name, seconds in (("minute", 60), ("hour", 3600)):
        write_long(tmp_path / f"{name}.mp4", seconds, [*shown, *away])
    peaks = measure(tmp_path, ["minute", "hour"], checkpoint, "yunet", str(YUNET))
    assert len((tmp_path / "out_hour" / "timeline.csv").read_text().splitlines()) > 3600
    assert peaks["hour"] - peaks["minute"] < 50
    assert peaks["hour"] < 1000  # the whole process, libraries and a tiny model included
