import time
from collections.abc import Iterator
from threading import Event
from typing import Self

import numpy as np
import pytest

from peclip.commands.recognize import recognize
from peclip.errors import InputError
from peclip.inference import recognize as command
from peclip.inference.overlay.draw import SPAN
from peclip.inference.overlay.live import Live, ScreenWindow
from peclip.inference.recognizer import Recognizer, Row


class Screen:
    """Stands in for a window: keeps its pictures, and is closed after some of them, when the last one has an answer."""

    pictures: list[np.ndarray]

    def __init__(self, title: str) -> None:
        Screen.pictures, self.is_open, self.title = [], True, title

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def show(self, picture: np.ndarray) -> None:
        self.pictures.append(picture)

    def update(self) -> None:
        self.is_open = len(self.pictures) < 30 or np.array_equal(self.pictures[0][:120], self.pictures[-1][:120])


def camera(source: str) -> Iterator[tuple[float, np.ndarray]]:
    for number in range(20_000):
        time.sleep(0.005)
        yield number / 25, np.full((120, 160, 3), 90, np.uint8)


def test_a_window_shows_the_camera_with_its_answers_and_ends_the_recording(monkeypatch, checkpoint, tmp_path, capfd):
    monkeypatch.setattr(command, "ScreenWindow", Screen)
    monkeypatch.setattr(command, "read_frames", camera)
    options = {"out": str(tmp_path / "out"), "faces": "none", "window": 0.5, "stride": 0.5, "show": True}
    assert recognize(["camera"], checkpoint, **options) == 0
    assert len(Screen.pictures) >= 30
    first, last = Screen.pictures[0], Screen.pictures[-1]
    assert first.shape[1] == last.shape[1] == 160
    assert first.shape[0] > 120
    assert not np.array_equal(first[:120], last[:120])  # the last one has an answer
    output = capfd.readouterr()
    assert output.out.startswith("0.0-0.5 s: face 1: ")
    assert "peclip: camera: answers came " in output.err
    assert (tmp_path / "out" / "timeline.csv").read_text().count("camera,1,") > 1


def test_without_a_display_one_line_says_so(monkeypatch):
    pytest.importorskip("tkinter", reason="needs Python's tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(
        InputError, match=r"show: a window needs a display .* omit --show, answers are printed as lines"
    ):
        ScreenWindow("title")


def test_a_window_is_for_a_camera(checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"show needs a camera, but .* is not one"):
        recognize(["a.mp4"], checkpoint, out=str(tmp_path), faces="none", show=True)


def test_windows_that_a_model_is_too_slow_for_are_left_out(monkeypatch, net):
    omitted, classify, all_read = [], Recognizer._classify, Event()

    def slow(self: Recognizer, clips: list[object]) -> object:
        assert all_read.wait(60)
        return classify(self, clips)

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        for number in range(100):
            yield number / 25, np.zeros((8, 8, 3), np.uint8)
        all_read.set()

    monkeypatch.setattr(Recognizer, "_classify", slow)
    recognizer = Recognizer(net, "none", window=0.2, stride=0.2)
    rows = list(recognizer.rows(frames(), "camera", omit=lambda window: omitted.append(window.start)))
    assert sorted([row.start for row in rows] + omitted) == pytest.approx([number / 5 for number in range(20)])
    assert omitted
    assert rows[-1].end == 4.0


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_day_of_answers_takes_no_memory(net, is_shown):
    live = Live(net.labels, "", True, Screen("") if is_shown else None, lambda: None)
    for second in range(500):
        live._answer(Row("camera", 1, second, second + 1.0, net.labels[0], dict.fromkeys(net.labels, 0.5)))
    assert len(live._answers) <= (SPAN + 2 if is_shown else 0)
