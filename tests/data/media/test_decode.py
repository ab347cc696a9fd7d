"""The quick way of decoding returns what decoding everything returns, and does less."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from peclip.data.media import decode
from peclip.data.media.clip import read_clip, segment_indices
from peclip.data.media.planned import open_planned
from peclip.errors import InputError
from tests.media import write_video

SIZE = 32
WINDOWS = [(None, None), (0.4, 1.1), (0.52, None), (None, 0.9), (1.3, 1.36), (2.0, 9.0)]
OPEN = {"codec_options": {"x264-params": "open-gop=1:keyint=8:bframes=3:scenecut=0"}}
VIDEOS = {
    "a.mp4": {},
    "open.mp4": OPEN,
    "open.ts": OPEN,
    "late.mp4": {"pts": [i + 125 for i in range(60)]},
    "held.mp4": {"pts": [i if i < 12 else i + 20 for i in range(60)]},
    "slow.mkv": {"pts": [10 * i for i in range(60)], "b_frames": 0},
    "a.mkv": {},
    "a.ts": {},
    "b.avi": {"codec": "mpeg4", "b_frames": 0},
    "a.flv": {},
    "hevc.mp4": {"codec": "libx265"},
    "mpeg.mpg": {"codec": "mpeg2video"},
    "lossy.mp4": {"codec_options": {"qp": "30"}, "gop": 20},
}


def choose(frames: int) -> np.ndarray:
    return segment_indices(frames, 6)


@pytest.mark.parametrize("held_bytes", [2**26, 0], ids=["packets held", "packets read twice"])
@pytest.mark.parametrize("name", VIDEOS)
def test_planned_decoding_returns_the_frames_of_a_full_decode(
    tmp_path: Path, name: str, held_bytes: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("peclip.data.media.planned._KEPT_BYTES", held_bytes)
    path = tmp_path / name
    write_video(path, 60, size=(SIZE, SIZE), **VIDEOS[name])
    found = 0
    for window in WINDOWS:
        whole = decode.DecodedClip(path, window)
        if not whole.frames:
            continue  # nothing in the window: tested where the message is made
        expected = whole.read(choose(whole.frames), SIZE)
        for seek in (False, True):
            if seek and not window[0]:
                continue
            with open_planned(path, window, seek=seek) as planned:
                clip = planned and planned.read(choose(planned.frames), SIZE)
            if clip is not None:
                found += 1
                assert torch.equal(clip, expected), f"{window}, seek={seek}"
    assert found >= 5


def spoil(path: Path, spared: set[int], *, only_unreferenced: bool = False) -> int:
    """Overwrite the content of all frames but those spared; return how many that were."""
    data, spoilt = bytearray(path.read_bytes()), 0
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]
    order = sorted(pts for _, _, pts in packets)
    for position, size, pts in packets:
        unreferenced = data[position + 4] >> 5 == 0  # of H.264: two bits of the first unit's header
        if order.index(pts) not in spared and (unreferenced or not only_unreferenced):
            data[position + 5 : position + size] = bytes(size - 5)
            spoilt += 1
    path.write_bytes(data)
    return spoilt


def test_of_keyframes_only_the_wanted_are_decoded(tmp_path: Path):
    path = tmp_path / "a.mp4"
    write_video(path, 60, size=(SIZE, SIZE), gop=1)
    clip = read_clip(path, 6, SIZE)
    assert spoil(path, {0, *choose(60).tolist()}) == 53  # the first tells what kind of video it is
    assert torch.equal(read_clip(path, 6, SIZE), clip)


def test_frames_that_no_other_refers_to_are_skipped(tmp_path: Path):
    path = tmp_path / "a.mp4"
    write_video(path, 60, size=(SIZE, SIZE), b_frames=3)
    clip = read_clip(path, 6, SIZE)
    assert spoil(path, {0, *choose(60).tolist()}, only_unreferenced=True) >= 20
    assert torch.equal(read_clip(path, 6, SIZE), clip)


def test_damage_that_matters_is_an_error_naming_the_time(tmp_path: Path):
    path = tmp_path / "a.mp4"
    write_video(path, 60, size=(SIZE, SIZE), gop=10)
    clip = read_clip(path, 6, SIZE, end=0.8)
    spoil(path, set(range(40)))
    assert torch.equal(read_clip(path, 6, SIZE, end=0.8), clip)
    with pytest.raises(InputError, match=r"a\.mp4: a frame at 1\.\d+ s cannot be decoded"):
        read_clip(path, 6, SIZE)
