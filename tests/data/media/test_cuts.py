"""Videos that were cut out of longer ones, and recordings that were joined: every picture that is shown is read."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from peclip.data.media.clip import count_frames, read_clip, stream_frames
from peclip.errors import InputError
from tests.media import cut_out, write_video

SIZE = 32
OPEN = {"codec_options": {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"}}
SOURCES = {
    "H.264": OPEN,
    "H.264 in slices": {"codec_options": {"x264-params": OPEN["codec_options"]["x264-params"] + ":slices=4:b-pyramid=none"}},
    "H.264 refreshed": {"codec_options": {"x264-params": "intra-refresh=1:keyint=20:bframes=0"}},
    "H.265": {"codec": "libx265", "codec_options": {"x265-params": "open-gop=1:keyint=8:min-keyint=8:lossless=1:log-level=none"}},
    "MPEG 2": {"codec": "mpeg2video", "codec_options": {"b": "20M", "qscale": "1"}, "gop": 8},
}  # fmt: skip


def pictures(path: Path) -> np.ndarray:
    """Return what a player shows, uint8 (N, H, W, 3)."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def read(path: Path) -> np.ndarray:
    return np.stack([frame for _, frame in stream_frames(path)])


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts", ".flv", ".h264"])
@pytest.mark.parametrize("kind", SOURCES)
def test_of_a_cut_every_picture_that_is_shown_is_read(tmp_path: Path, kind: str, suffix: str):
    if not kind.startswith("H.264") and suffix in (".flv", ".h264"):
        pytest.skip("this container cannot hold it")
    write_video(tmp_path / "whole.ts", 40, size=(96, 64), **SOURCES[kind])
    cut = tmp_path / f"cut{suffix}"
    cut_out(tmp_path / "whole.ts", cut, 1)
    shown = pictures(cut)
    assert 10 <= len(shown) < 40
    assert np.array_equal(read(cut), shown)
    assert count_frames(cut) == len(shown)
    assert read_clip(cut, len(shown), SIZE).shape[0] == len(shown)


def test_what_is_read_of_a_cut_is_what_the_whole_video_shows(tmp_path: Path):
    frames = write_video(tmp_path / "whole.ts", 40, size=(SIZE, SIZE), **OPEN)
    cut_out(tmp_path / "whole.ts", tmp_path / "cut.mkv", 2)
    clip = read(tmp_path / "cut.mkv")
    assert np.abs(clip.astype(int) - frames[-len(clip) :]).max() <= 7


@pytest.mark.parametrize("place", [0, 1, 3, 4, 9])
def test_damage_to_a_picture_of_a_cut_is_an_error(tmp_path: Path, place: int):
    """The keyframe is packet 0; the pictures before it, which nobody shows, follow it in the file."""
    write_video(tmp_path / "whole.ts", 40, size=(SIZE, SIZE), **OPEN)
    cut = tmp_path / "cut.mp4"
    cut_out(tmp_path / "whole.ts", cut, 2)
    shown = pictures(cut)
    with av.open(str(cut)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    leads = packets[place].pts < packets[0].pts
    data = bytearray(cut.read_bytes())
    begin, size = packets[place].pos, packets[place].size
    data[begin + size * 2 // 3 : begin + size] = b"\xff" * (size - size * 2 // 3)
    cut.write_bytes(data)
    if leads:
        assert np.array_equal(read(cut), shown)
    else:
        with pytest.raises(InputError, match="cannot be decoded"):
            read_clip(cut, len(shown), SIZE)


def test_a_refresh_that_is_not_finished_when_pictures_are_shown_is_damage(tmp_path: Path):
    """The encoder claims that pictures are whole earlier than they are: FFmpeg shows four that are not."""
    options = {"codec_options": {"x264-params": "intra-refresh=1:keyint=8:bframes=0"}}
    frames = write_video(tmp_path / "whole.ts", 40, size=(96, 64), **options)
    cut_out(tmp_path / "whole.ts", tmp_path / "cut.mkv", 2)
    shown = pictures(tmp_path / "cut.mkv")
    assert np.abs(shown[0].astype(int) - frames[-len(shown)]).max() > 100
    with pytest.raises(InputError, match="it refers to others that are missing"):
        read(tmp_path / "cut.mkv")


def joined(folder: Path, *parts: Path) -> Path:
    path = folder / f"joined{parts[0].suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.fixture(params=[".ts", ".mpg"])
def recordings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Two recordings in a container that is joined by writing one behind the other; the second has another size."""
    first, second = (tmp_path / f"{name}{request.param}" for name in ("first", "second"))
    options = SOURCES["MPEG 2"] if request.param == ".mpg" else {}
    write_video(first, 30, size=(128, 128), **options)
    write_video(second, 20, size=(256, 128), **options)
    return first, second


def test_joined_recordings_follow_each_other(tmp_path: Path, recordings: tuple[Path, Path]):
    parts = [*recordings, recordings[0]]
    path = joined(tmp_path, *parts)
    times, frames = zip(*stream_frames(path), strict=True)
    off = 0.002 if path.suffix == ".ts" else 0.09  # MPEG-PS does not have the times of all frames
    assert times == pytest.approx([number / 25 for number in range(80)], abs=off)
    truth = [picture for part in parts for picture in pictures(part)]
    assert all(np.array_equal(frame, true) for frame, true in zip(frames, truth, strict=True))
    assert count_frames(path) == 80


def test_a_clip_of_joined_recordings_is_where_it_is_shown(tmp_path: Path, recordings: tuple[Path, Path]):
    """The second recording has the same times in the file as the first."""
    path = joined(tmp_path, *recordings)
    for source, offset in zip(recordings, (0, 1.2), strict=True):
        clip = read_clip(path, 5, SIZE, start=offset + 0.2, end=offset + 0.4)
        assert (clip == read_clip(source, 5, SIZE, start=0.2, end=0.4)).all()


def test_parts_whose_times_go_on_are_joined_too(tmp_path: Path):
    """As segments of a stream are: only the counters of their packets restart."""
    write_video(tmp_path / "first.ts", 25, size=(SIZE, SIZE))
    write_video(tmp_path / "second.ts", 25, size=(SIZE, SIZE), pts=list(range(25, 50)))
    path = joined(tmp_path, tmp_path / "first.ts", tmp_path / "second.ts")
    assert np.array_equal(
        read(path), np.concatenate([pictures(tmp_path / "first.ts"), pictures(tmp_path / "second.ts")])
    )


def test_joined_cuts_are_read_as_each_of_them(tmp_path: Path):
    write_video(tmp_path / "whole.ts", 40, size=(SIZE, SIZE), **OPEN)
    cut_out(tmp_path / "whole.ts", tmp_path / "cut.ts", 2)
    path = joined(tmp_path, tmp_path / "cut.ts", tmp_path / "cut.ts")
    assert np.array_equal(read(path), np.tile(pictures(tmp_path / "cut.ts"), (2, 1, 1, 1)))


def test_a_lost_packet_of_a_transport_stream_is_damage_and_no_joint(tmp_path: Path):
    """It is a packet in the midst of a frame, right behind the tables with which streams begin, and also those are lost."""
    noise = np.random.default_rng(0).integers(0, 255, (12, SIZE, SIZE, 3), np.uint8)
    write_video(tmp_path / "a.ts", 12, frames=noise, gop=4)
    data = (tmp_path / "a.ts").read_bytes()
    packets = [data[place : place + 188] for place in range(0, len(data), 188)]
    is_video = [(packet[1] & 31, packet[2]) == (1, 0) for packet in packets]
    inner = [n for n, (packet, ours) in enumerate(zip(packets, is_video, strict=True)) if ours and not packet[1] & 64]
    for number in inner[:: len(inner) // 10]:
        (tmp_path / "lost.ts").write_bytes(b"".join(packets[:number] + packets[number + 1 :]))
        with pytest.raises(InputError, match="cannot be decoded"):
            read(tmp_path / "lost.ts")


def test_damage_outside_of_a_clip_does_not_count(tmp_path: Path):
    path = tmp_path / "a.ts"
    write_video(path, 60, size=(SIZE, SIZE), gop=10)
    with av.open(str(path)) as container:
        begin = [packet.pos for packet in container.demux(video=0) if packet.is_keyframe][3]
    clips = [read_clip(path, 4, SIZE, start=start, end=end) for start, end in ((0.2, 0.8), (1.7, 2.3))]
    data = bytearray(path.read_bytes())
    data[begin + 100 : begin + 188] = bytes(88)
    path.write_bytes(data)
    for clip, (start, end) in zip(clips, ((0.2, 0.8), (1.7, 2.3)), strict=True):
        assert (read_clip(path, 4, SIZE, start=start, end=end) == clip).all()
    with pytest.raises(InputError, match=r"a frame at 1\.2\d+ s cannot be decoded"):
        read_clip(path, 60, SIZE)
