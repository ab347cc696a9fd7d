import os
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from peclip.errors import InputError
from peclip.inference.sources import checked_frames, describe, expanded, find_videos, is_live, read_frames
from tests.media import write_video
from tests.processes import called, piped


def test_a_folder_means_the_videos_in_and_below_it(tmp_path):
    for name in ("b.MP4", "sub/a.mkv", "notes.txt", ".hidden.mp4", "._b.mp4", "photo.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_videos(str(tmp_path)) == [str(tmp_path / "b.MP4"), str(tmp_path / "sub" / "a.mkv")]


def test_videos_that_peclip_wrote_and_hidden_folders_are_none_of_a_folder(tmp_path):
    for name in ("a.mp4", "b-annotated.mp4", "out/.videos/a/a-annotated.mp4", "out/a-annotated.mp4", "out/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_videos(str(tmp_path)) == [str(tmp_path / name) for name in ("a.mp4", "b-annotated.mp4", "out/b.mp4")]


def test_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/a.mp4").touch()
    (tmp_path / "far/back").symlink_to(tmp_path / "far")
    (tmp_path / "near").mkdir()
    (tmp_path / "near/link").symlink_to(tmp_path / "far")
    assert find_videos(str(tmp_path / "near")) == [str(tmp_path / "near/link/a.mp4")]


def test_any_other_path_is_returned_unchanged():
    assert find_videos("missing.mp4") == ["missing.mp4"]
    assert find_videos("-") == ["-"]


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=rf"{tmp_path}: has no video"):
        find_videos(str(tmp_path))


def test_frames_come_with_their_seconds(tmp_path):
    expected = write_video(tmp_path / "a.mp4", 5, fps=10)
    times, frames = zip(*read_frames(str(tmp_path / "a.mp4")), strict=True)
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert np.abs(np.stack(frames).astype(int) - expected).mean() < 3


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    write_video(tmp_path / "a.mp4", 2, size=(64, 48), codec_options={"aspect": "2:1"})
    widen(tmp_path / "a.mp4", tmp_path / "wide.mp4")
    assert next(read_frames(str(tmp_path / "wide.mp4")))[1].shape == (48, 128, 3)


def widen(path: Path, wide: Path) -> None:
    """Write a video again, whose pixels are to be shown twice as wide."""
    with av.open(str(path)) as source, av.open(str(wide), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def test_a_jump_in_time_is_refused(tmp_path):
    write_video(tmp_path / "a.mkv", 3, pts=[0, 1, 4000], time_base=None, fps=1)
    with pytest.raises(InputError, match=r"a\.mkv: times jump from 1 s to 4000 s"):
        list(read_frames(str(tmp_path / "a.mkv")))


def test_the_container_tells_the_duration(tmp_path):
    write_video(tmp_path / "a.mp4", 20, fps=10)
    assert describe(str(tmp_path / "a.mp4")).duration == pytest.approx(2, abs=0.2)
    (tmp_path / "b.mp4").touch()
    assert describe(str(tmp_path / "b.mp4")).duration is None
    assert describe("missing.mp4").duration is None


def test_a_camera_that_is_none_is_refused():
    assert is_live("/dev/null")
    with pytest.raises(InputError, match="/dev/null"):
        list(read_frames("/dev/null"))


def test_a_terminal_is_no_video(monkeypatch):
    ours, theirs = os.openpty()
    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(InputError, match="-: standard input is a terminal: pipe a video in"):
            list(read_frames("-"))
    os.close(ours)


def test_a_named_pipe_is_read_to_its_end(tmp_path):
    write_video(tmp_path / "a.mkv", 30, fps=10)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes((tmp_path / "a.mkv").read_bytes()))
    feeder.start()
    times = [seconds for seconds, _ in read_frames(str(pipe))]
    feeder.join()
    assert times == pytest.approx([i / 10 for i in range(30)])


def count():
    """Print the times of the frames on standard input, or why it cannot be read."""
    try:
        print([round(seconds, 3) for seconds, _ in read_frames("-")])
    except InputError as error:
        print(error)


def _pipe_in(path: Path, *, redirect: bool = False) -> str:
    folder = path.parent / f"of {path.name}"
    folder.mkdir()
    result = called(folder, count, stdin=path) if redirect else piped(folder, count, path.read_bytes())
    assert result.status == 0, result.err
    return result.out.strip()


def test_standard_input_is_read_from_a_pipe_or_a_file(tmp_path):
    write_video(tmp_path / "a.mkv", 3, fps=10)
    write_video(tmp_path / "index_at_end.mp4", 3, fps=10)
    assert _pipe_in(tmp_path / "a.mkv") == "[0.0, 0.1, 0.2]"
    assert _pipe_in(tmp_path / "index_at_end.mp4", redirect=True) == "[0.0, 0.1, 0.2]"


def test_what_cannot_be_read_from_a_pipe_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "empty.mp4").touch()
    for name in ("a.mp4", "empty.mp4"):
        message = _pipe_in(tmp_path / name)
        assert message.startswith("-: not a video")
        assert "Matroska" in message
        assert len(message.splitlines()) == 1


def test_videos_of_cameras_discs_and_editors_are_videos_of_a_folder(tmp_path):
    names = ["a.m2ts", "b.vob", "c.f4v", "d.asf", "e.mxf", "f.m2v", "g.3g2"]
    for name in names:
        (tmp_path / name).touch()
    assert find_videos(str(tmp_path)) == [str(tmp_path / name) for name in names]


def test_pictures_beside_videos_are_said_to_be_left_out_and_those_of_answers_are_not(tmp_path):
    for name in ("a.mp4", "1.jpg", "2.JPG", ".3.jpg", "notes.txt", "out/a.png", "out/.videos/a/a.png", "out/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    notes = []
    found = [*expanded([str(tmp_path)], notes.append, lambda source, text: notes.append((source, text)))]
    assert found == [str(tmp_path / "a.mp4"), str(tmp_path / "out/b.mp4")]
    assert notes == [(str(tmp_path), "skips 2 pictures, such as 1.jpg: videos are read")]


def test_frames_of_ones_own_come_in_order_and_have_pixels():
    frame = np.zeros((4, 4, 3), np.uint8)
    for frames in ([(0.0, frame), (2.0, frame), (1.0, frame)], [(0.0, np.zeros((0, 0, 3), np.uint8))]):
        with pytest.raises(InputError, match="frames has"):
            list(checked_frames(frames))
    times = [seconds for seconds, _ in checked_frames([(seconds, frame) for seconds in np.arange(3) / 25])]
    assert [type(seconds) for seconds in times] == [float] * 3
    assert len([*checked_frames([(Fraction(1, 10), frame)] * 2)]) == 2, "as PyAV has them"
