import csv
import json
import os
import signal
import threading
import time
import wave
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peclip.cli import main
from peclip.commands.recognize import recognize
from peclip.errors import InputError
from peclip.inference import recognize as command
from peclip.inference.cautions import ZERO_SHOT
from peclip.inference.trained import load_model
from peclip.model import PEClip, TemporalHead
from peclip.model.io.checkpoint import to_checkpoint
from tests.media import write_video
from tests.processes import piped

MOMENT = "peclip: caution: seen for a moment (0.4 s); see the column caution\n"
TABLES = ["segments.csv", "summary.csv", "timeline.csv", "timeline.json"]


def table(out: Path) -> list[dict[str, str]]:
    with (out / "timeline.csv").open() as file:
        return list(csv.DictReader(file))


def test_videos_and_folders_become_a_table_json_and_pictures(checkpoint, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    write_video(tmp_path / "folder" / "b.mp4", 60, fps=25)
    write_video(tmp_path / "a.mkv", 10, fps=25)
    out = tmp_path / "out"
    videos = [str(tmp_path / "folder"), str(tmp_path / "a.mkv"), str(tmp_path / "folder" / "b.mp4")]
    assert recognize(videos, checkpoint, out=str(out), faces="none") == 0
    rows = table(out)
    assert [(Path(row["file"]).name, row["track"], row["start"], row["end"]) for row in rows] == [
        ("b.mp4", "1", "0.000", "2.000"),
        ("b.mp4", "1", "1.000", "2.400"),
        ("a.mkv", "1", "0.000", "0.400"),
    ]
    content = json.loads((out / "timeline.json").read_text())
    assert len(content["rows"]) == 3
    assert (content["model"], content["faces"], content["window"], content["stride"]) == (checkpoint, "none", 2, 1)
    assert sorted(os.listdir(out)) == [".videos", "a.png", "b.png", "people", *TABLES]
    said = f"{out / 'summary.csv'}: 2 faces in 2 videos, 3 rows of the timeline; beside it segments, the timeline and pictures\n"
    assert capsys.readouterr() == (said, MOMENT)


@pytest.mark.parametrize("option", ["--per-frame", "--per_frame"])
def test_the_command_takes_options_with_dashes(checkpoint, tmp_path, capsys, option):
    write_video(tmp_path / "a.mp4", 10)
    arguments = [str(tmp_path / "a.mp4"), "--model", checkpoint, "--faces=none", "--out", str(tmp_path / "out-put")]
    main(["recognize", *arguments, option, "false", "--batch-size=2"])
    assert len(table(tmp_path / "out-put")) == 1
    assert capsys.readouterr().out.startswith(
        f"{tmp_path / 'out-put' / 'summary.csv'}: 1 face in 1 video, 1 row of the timeline; "
    )


class Rounded(TemporalHead):
    """Takes an argument that JSON has no form for."""

    def __init__(self, width: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.to(self.dtype).mean(dim=1).float()


def test_a_model_whose_part_takes_a_dtype_answers_and_resumes(tiny_clip, tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    temporal = partial(Rounded, dtype=torch.bfloat16)
    net = PEClip(["fear", "anger"], str(tiny_clip), adapters={}, prompts=None, num_frames=4, temporal=temporal)
    torch.save(to_checkpoint(net.to_trained()), tmp_path / "best.ckpt")
    for _ in range(2):
        assert recognize([str(tmp_path / "a.mp4")], str(tmp_path / "best.ckpt"), str(tmp_path / "out"), "none") == 0
    assert len(table(tmp_path / "out")) == 1


def test_zero_shot_answers_with_a_caution(tiny_clip, tmp_path, capsys):
    write_video(tmp_path / "a.mp4", 10)
    options = ["--backbone", str(tiny_clip), "--faces=none", "--out", str(tmp_path / "out"), "--labels", "[fear,anger]"]
    main(["recognize", str(tmp_path / "a.mp4"), *options])
    (row,) = table(tmp_path / "out")
    assert float(row["fear"]) + float(row["anger"]) == pytest.approx(1, abs=1e-5)
    assert row["caution"].startswith("This is zero-shot CLIP; ")
    assert capsys.readouterr().err == f"peclip: caution: {ZERO_SHOT}\n{MOMENT}"


def test_other_formats_lie_beside_the_tables(checkpoint, tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    out = tmp_path / "out"
    assert recognize([str(tmp_path / "a.mp4")], checkpoint, str(out), "none", format="srt,vtt,elan") == 0
    assert {"a.eaf", "a.srt", "a.vtt", *TABLES} <= {*os.listdir(out)}
    assert "face 1: " in (out / "a.srt").read_text()


def test_classes_of_zero_shot_may_be_divided_by_commas(tiny_clip):
    for labels in (["happiness,sadness, anger"], ["happiness", "sadness,anger"], ["happiness", "sadness", "anger"]):
        net = load_model("zero-shot", str(tiny_clip), labels)
        assert net.labels == ["happiness", "sadness", "anger"]


@pytest.mark.parametrize("name", ["zero_shot", "Zero-Shot"])
def test_another_spelling_of_zero_shot_is_told_the_right_one(name):
    with pytest.raises(InputError, match=f"model is {name}: CLIP without training is called zero-shot"):
        load_model(name)


def test_an_address_is_refused_before_a_model_is_looked_for():
    with pytest.raises(InputError, match=r"https://example.org/a.mp4: is an address: download the video first"):
        recognize(["here.mp4", "https://example.org/a.mp4"], model="nowhere")


def test_labels_are_those_of_a_trained_model(checkpoint, tmp_path):
    with pytest.raises(InputError, match="labels is for --model zero-shot"):
        recognize([str(tmp_path)], checkpoint, labels=["fear"])


def test_the_model_is_checked_before_the_detector(tmp_path):
    with pytest.raises(InputError, match="nomodel"):
        recognize([str(tmp_path)], str(tmp_path / "nomodel"), face_model=str(tmp_path / "nodetector"))


def audio(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))


def image(path: Path) -> None:
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(path)


def huge(path: Path) -> None:
    frames = np.zeros((1, 2_000, 20_000, 3), np.uint8)
    write_video(path, 1, codec="mjpeg", pix_fmt="yuvj420p", frames=frames)


def truncated(path: Path) -> None:
    write_video(path, 100)
    path.write_bytes(path.read_bytes()[:-3000])


BAD = {
    "nothing.mp4": lambda path: None,
    "zero.mp4": lambda path: path.touch(),
    "noise.mp4": lambda path: path.write_bytes(bytes(range(256)) * 99),
    "truncated.mkv": truncated,
    "photo.jpg": image,
    "photo.mp4": lambda path: image(path.with_suffix(".png")) or path.with_suffix(".png").rename(path),
    "sound.wav": audio,
    "huge.mov": huge,
    "empty": lambda path: path.mkdir(),
    "texts": lambda path: path.mkdir() or (path / "notes.txt").write_text("no video"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_line(checkpoint, tmp_path, capfd, name):
    BAD[name](tmp_path / name)
    before = sorted(os.listdir(tmp_path))
    code = recognize([str(tmp_path / name)], checkpoint, out=str(tmp_path / "out"), faces="none")
    output = capfd.readouterr()
    assert code == 2
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert output.err.startswith(f"peclip: error: {tmp_path / name}: ")
    assert sorted(os.listdir(tmp_path)) == before


def test_what_cannot_be_read_does_not_stop_the_rest(checkpoint, tmp_path, capfd):
    for name, make in BAD.items():
        make(tmp_path / name)
    write_video(tmp_path / "good.mp4", 10)
    names = [*BAD, "good.mp4"]
    out = tmp_path / "out"
    assert recognize([str(tmp_path / name) for name in names], checkpoint, out=str(out), faces="none") == 1
    assert [Path(row["file"]).name for row in table(out)] == ["good.mp4"]
    assert sorted(os.listdir(out)) == [".videos", "good.png", "people", *TABLES]
    errors = capfd.readouterr().err
    assert errors.endswith(MOMENT)
    assert errors.count("peclip: error: ") == errors.count("\n") - 1 == len(BAD)


def test_a_model_that_is_none_is_refused_before_anything_is_written(tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    with pytest.raises(InputError, match=r"nomodel"):
        recognize([str(tmp_path / "a.mp4")], str(tmp_path / "nomodel"), out=str(tmp_path / "out"), faces="none")
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_pipe_is_read_to_its_end(checkpoint, tmp_path):
    write_video(tmp_path / "a.mkv", 60)
    from_pipe = partial(recognize, ["-"], checkpoint, out=str(tmp_path / "out"), faces="none", window=1, stride=1)
    result = piped(tmp_path, from_pipe, (tmp_path / "a.mkv").read_bytes())
    assert (result.status, result.err) == (0, MOMENT)
    assert [(row["file"], row["start"], row["end"]) for row in table(tmp_path / "out")] == [
        ("-", "0.000", "1.000"),
        ("-", "1.000", "2.000"),
        ("-", "2.000", "2.400"),
    ]
    assert (tmp_path / "out" / "stdin.png").exists()


def send(number: int) -> None:
    """Send a signal to the main thread, as the system does, from the one that reads."""
    signal.pthread_kill(threading.main_thread().ident, number)


def interrupt() -> None:
    """Interrupt the recording, and wait until it has handled that: then another handler is in place."""
    handler, end = signal.getsignal(signal.SIGINT), time.monotonic() + 60
    send(signal.SIGINT)
    while signal.getsignal(signal.SIGINT) is handler:
        assert time.monotonic() < end
        time.sleep(0.001)


class Camera:
    """Stands in for a camera: 25 frames a second, and something happens at the hundredth."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
        monkeypatch.setattr(command, "is_live", lambda source: True)
        monkeypatch.setattr(command, "read_frames", lambda source: self.frames())
        self.happens, self.read = happens, 0

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        for i in range(1000):
            if i == 100:
                self.happens()
            self.read = i
            yield i / 25, np.zeros((8, 8, 3), np.uint8)


def test_a_camera_that_breaks_off_is_reported_and_what_came_before_is_kept(monkeypatch, checkpoint, tmp_path, capfd):
    def unplugged() -> None:
        raise InputError("camera: unplugged")

    Camera(monkeypatch, unplugged)
    assert recognize(["camera"], checkpoint, out=str(tmp_path), faces="none") == 1
    assert capfd.readouterr().err.startswith("peclip: error: camera: unplugged\npeclip: camera: answers came ")
    assert table(tmp_path)[-1]["end"] == "4.000"


@pytest.fixture
def interruptible():
    """Interrupts raise KeyboardInterrupt, as they do unless the tests were started in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_a_recording_and_keeps_its_rows(monkeypatch, checkpoint, tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    camera = Camera(monkeypatch, interrupt)
    assert recognize(["camera"], checkpoint, out=str(tmp_path), faces="none") == 0
    assert camera.read == 100
    assert table(tmp_path)[-1]["end"] == "4.000"
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_is_not_waited_for(monkeypatch, checkpoint, tmp_path):
    def twice() -> None:
        interrupt()
        send(signal.SIGINT)

    Camera(monkeypatch, twice)
    with pytest.raises(KeyboardInterrupt):
        recognize(["camera"], checkpoint, out=str(tmp_path / "out"), faces="none")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_nothing_stays_behind_when_the_process_is_ended(monkeypatch, checkpoint, tmp_path, number):
    handler = signal.getsignal(number)
    Camera(monkeypatch, partial(send, number))
    with pytest.raises(SystemExit) as ended:
        recognize(["camera"], checkpoint, out=str(tmp_path / "out"), faces="none")
    assert ended.value.code == 128 + number
    assert os.listdir(tmp_path) == []
    assert signal.getsignal(number) is handler


def test_a_camera_that_cannot_be_read_at_all_leaves_nothing(checkpoint, tmp_path, capfd):
    assert recognize(["/dev/null"], checkpoint, out=str(tmp_path / "out"), faces="none") == 2
    assert capfd.readouterr().err.startswith("peclip: error: /dev/null: ")
    assert os.listdir(tmp_path) == []
