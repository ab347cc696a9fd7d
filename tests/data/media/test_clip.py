"""The frames of a clip that are read: the right ones, upright and in the right colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from peclip.data.media.clip import count_frames, every_frame, read_clip, segment_indices, stream_frames
from peclip.errors import InputError
from tests.media import numbered_frames, write_frames, write_video

UNEVEN = np.cumsum(np.random.default_rng(0).integers(1, 200, 40)).tolist()
MILLISECOND = Fraction(1, 1000)

# what a video may be like: its suffix, how it is written, and by how many grey levels a codec with losses may be off
KINDS = {
    # 4 grey levels: 3 of the colours' rounding, 1 of x264 that is not quite lossless, without which it has no B-frames
    "mp4": (".mp4", {}, 4),
    "without B-frames": (".mp4", {"b_frames": 0}, 4),
    "keyframes only": (".mp4", {"gop": 1}, 4),
    "one keyframe": (".mp4", {"gop": 100}, 4),
    "open groups": (".mp4", {"codec_options": {"x264-params": "open-gop=1:keyint=8:bframes=3:scenecut=0"}}, 4),
    "intra refresh": (".ts", {"codec_options": {"x264-params": "intra-refresh=1:keyint=10"}}, 4),
    "fragments": (".mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}, 4),
    "matroska": (".mkv", {}, 4),
    "transport stream": (".ts", {}, 4),
    "avi": (".avi", {}, 4),
    "flash": (".flv", {}, 4),
    "bare stream": (".h264", {}, 4),
    "mpeg 2": (".mpg", {"codec": "mpeg2video", "codec_options": {"b": "20M", "qscale": "1"}}, 24),
    "mpeg 4 avi": (".avi", {"codec": "mpeg4", "codec_options": {"b": "20M"}}, 24),
    "flash 1": (".flv", {"codec": "flv", "codec_options": {"b": "20M"}}, 24),
    "motion jpeg": (".avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "codec_options": {"b": "50M"}}, 12),
    "h265": (".mp4", {"codec": "libx265"}, 4),
    "h265 10 bit": (".mov", {"codec": "libx265", "pix_fmt": "yuv420p10le"}, 1),
    "vp9": (".webm", {"codec": "libvpx-vp9", "codec_options": {"lossless": "1"}}, 4),
    "vp9 alpha": (".webm", {"codec": "libvpx-vp9", "pix_fmt": "yuva420p", "codec_options": {"lossless": "1"}}, 4),
    "vp8 hidden frames": (
        ".webm",
        {"codec": "libvpx", "codec_options": {"crf": "4", "b": "5M", "auto-alt-ref": "1", "lag-in-frames": "16"}},
        8,
    ),
    "10 bit": (".mp4", {"pix_fmt": "yuv420p10le"}, 1),
    "full colour": (".mp4", {"pix_fmt": "yuv444p"}, 5),
    "alpha": (".mkv", {"codec": "ffv1", "pix_fmt": "bgra"}, 0),
    "rgb alpha in few bytes": (".mov", {"codec": "qtrle", "pix_fmt": "argb"}, 0),
    "16 bit": (".mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}, 2),
    "interlaced": (".mp4", {"codec_options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}}, 4),
    "variable rate": (".mp4", {"pts": UNEVEN, "time_base": MILLISECOND}, 4),
    "begins late": (".mp4", {"pts": [t + 5000 for t in UNEVEN], "time_base": MILLISECOND}, 4),
    "negative times": (".mkv", {"pts": [t - 3000 for t in UNEVEN], "time_base": MILLISECOND}, 4),
    "doubled times": (".mkv", {"pts": list(range(40)), "time_base": Fraction(1, 2500), "b_frames": 0}, 4),
}


def as_clip(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames.copy()).permute(0, 3, 1, 2)


def error_of(clip: torch.Tensor, frames: np.ndarray) -> float:
    """Largest difference of a pixel, in grey levels."""
    return float((clip.int() - as_clip(frames).int()).abs().max())


def test_segments_give_their_middle_frames():
    assert segment_indices(16, 4).tolist() == [2, 6, 10, 14]
    assert segment_indices(10, 4).tolist() == [1, 3, 6, 8]
    assert segment_indices(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert segment_indices(75, 16).dtype == np.int64


def test_a_short_clip_repeats_its_last_frame():
    assert segment_indices(3, 5).tolist() == [0, 1, 2, 2, 2]
    assert segment_indices(1, 3, np.random.default_rng(0)).tolist() == [0, 0, 0]


def test_random_frames_cover_each_segment_evenly_and_stay_within_it():
    frames, num = 11, 4
    draws = np.stack([segment_indices(frames, num, np.random.default_rng(seed)) for seed in range(2000)])
    for k in range(num):
        inside = [f for f in range(frames) if k * frames <= f * num < (k + 1) * frames]
        values, counts = np.unique(draws[:, k], return_counts=True)
        assert values.tolist() == inside
        assert counts.min() > 0.8 * 2000 / len(inside)


def test_choosing_from_no_frame_is_an_error():
    with pytest.raises(InputError, match="0 frames"):
        segment_indices(0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_found_at_its_place(tmp_path: Path, kind: str):
    suffix, options, tolerance = KINDS[kind]
    path = tmp_path / f"video{suffix}"
    frames = write_video(path, 40, size=(48, 48), **options)
    assert count_frames(path) == 40
    assert error_of(read_clip(path, 40, 48), frames) <= tolerance
    assert error_of(read_clip(path, 7, 48), frames[segment_indices(40, 7)]) <= tolerance
    streamed = list(stream_frames(path))
    assert error_of(as_clip(np.stack([frame for _, frame in streamed])), frames) <= tolerance + 3
    times = [time for time, _ in streamed]
    assert times == sorted(times)
    assert times[0] == pytest.approx(0, abs=0.1)


def test_grey_video_is_grey(tmp_path: Path):
    frames = write_video(tmp_path / "grey.mp4", 5, size=(48, 48), pix_fmt="gray")
    clip = read_clip(tmp_path / "grey.mp4", 5, 48)
    assert torch.equal(clip[:, 0], clip[:, 1])
    assert torch.equal(clip[:, 0], clip[:, 2])
    light = torch.from_numpy(frames @ np.array([0.299, 0.587, 0.114]))
    assert (clip[:, 0] - light).abs().max() <= 4


@pytest.mark.parametrize("rotation", [90, 180, 270, -90])
def test_rotation_metadata_is_applied(tmp_path: Path, rotation: int):
    path = tmp_path / "phone.mp4"
    turned = np.rot90(write_video(path, 20, size=(64, 48), rotation=rotation), rotation // 90, axes=(1, 2))
    upright = np.stack([frame for _, frame in stream_frames(path)])
    assert upright.shape == turned.shape
    assert error_of(as_clip(upright), turned) <= 4
    rows, columns = ((side - 48) // 2 for side in turned.shape[1:3])
    centre = turned[:, rows : rows + 48, columns : columns + 48]
    assert error_of(read_clip(path, 20, 48), centre) <= 4


def test_mirrored_video_is_mirrored_back(tmp_path: Path):
    path = tmp_path / "selfie.mov"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("qtrle", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "rgb24"
        stream.set_display_rotation(0, vflip=True)
        picture = numbered_frames(6, (32, 32))[5]
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    assert error_of(read_clip(path, 1, 32), picture[None, ::-1]) == 0


@pytest.mark.parametrize("size", [(49, 51), (33, 71), (200, 30)])
def test_the_shorter_side_is_scaled_and_the_centre_cut_out(tmp_path: Path, size: tuple[int, int]):
    path = tmp_path / "odd.mkv"
    frames = write_video(path, 3, size=size, codec="ffv1", pix_fmt="bgra")
    clip = read_clip(path, 3, 24)
    for picture, pixels in zip(clip, frames, strict=True):
        scale = 24 / min(size)
        whole = Image.fromarray(pixels).resize(
            (round(size[0] * scale), round(size[1] * scale)), Image.Resampling.BICUBIC
        )
        left, top = (whole.width - 24) // 2, (whole.height - 24) // 2
        expected = np.asarray(whole.crop((left, top, left + 24, top + 24)))
        assert (picture.permute(1, 2, 0).int() - torch.from_numpy(expected.copy()).int()).abs().float().mean() < 1


@pytest.mark.parametrize("width", [34, 36, 40, 44, 46])
def test_frames_that_need_no_scaling_are_whole_at_any_width(tmp_path: Path, width: int):
    frames = write_video(tmp_path / "a.mp4", 20, size=(width, 32))
    left = (width - 32) // 2
    centre = frames[:, :, left : left + 32]
    for _ in range(3):  # unwritten memory holds old content, which may be right by chance
        assert error_of(read_clip(tmp_path / "a.mp4", 20, 32), centre) <= 4


def test_non_square_pixels_are_made_square(tmp_path: Path):
    path = tmp_path / "wide.mp4"
    picture = np.zeros((1, 60, 60, 3), np.uint8)
    picture[:, :, 20:40] = 255  # shown 90 pixels wide, white from 30 to 60; in the middle 60 pixels from 15 to 45
    write_video(path, 1, frames=picture, codec_options={"x264-params": "sar=3/2"})
    row = read_clip(path, 1, 60)[0, 0, 30]
    assert row[:13].max() < 30
    assert row[17:43].min() > 225
    assert row[47:].max() < 30
    assert next(stream_frames(path))[1].shape == (60, 90, 3)


@pytest.mark.parametrize("space", ["bt709", "bt601", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_follow_the_colour_space(tmp_path: Path, space: str, full_range: bool):
    code, red, blue = {"bt709": (1, 0.2126, 0.0722), "bt601": (5, 0.299, 0.114), "bt2020": (9, 0.2627, 0.0593)}[space]
    colour = np.array([180.0, 100.0, 60.0])
    light = colour @ np.array([red, 1 - red - blue, blue])
    planes = [light, 128 + (colour[2] - light) / (2 - 2 * blue), 128 + (colour[0] - light) / (2 - 2 * red)]
    if not full_range:
        planes = [16 + light * 219 / 255, *(128 + (p - 128) * 224 / 255 for p in planes[1:])]
    frame = av.VideoFrame.from_ndarray(
        np.stack([np.full((32, 32), round(p), np.uint8) for p in planes]), format="yuv444p"
    )
    path = tmp_path / "colour.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv444p"
        for tagged in (stream.codec_context, frame):
            tagged.colorspace = code
            tagged.color_range = 2 if full_range else 1
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert (read_clip(path, 1, 32)[0, :, 16, 16] - torch.from_numpy(colour)).abs().max() <= 2


def test_a_video_of_one_frame_fills_the_clip(tmp_path: Path):
    frames = write_video(tmp_path / "one.mp4", 1, size=(48, 48))
    assert error_of(read_clip(tmp_path / "one.mp4", 5, 48), frames.repeat(5, axis=0)) <= 4


def test_start_and_end_select_by_time_not_by_number(tmp_path: Path):
    path = tmp_path / "uneven.mp4"
    frames = write_video(path, 40, size=(48, 48), pts=UNEVEN, time_base=MILLISECOND)
    times = (np.array(UNEVEN) - UNEVEN[0]) / 1000
    for start, end in ((0.5, 1.5), (times[7], times[20]), (None, times[3]), (times[30], None)):
        inside = np.flatnonzero((times >= (start or 0)) & (times < (end or 99)))
        clip = read_clip(path, len(inside), 48, start=start, end=end)
        assert error_of(clip, frames[inside]) <= 4


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1, 2, [9]),  # within the time for which a frame is held
        (0.36, 0.4, [9]),  # from its beginning on
        (6.3, 6.35, [9]),
        (5.9, 6.48, [9, 10, 11, 12]),  # it is shown for the greater part
        (6.3, 6.48, [10, 11, 12]),  # too short to count beside others
        (6.36, None, [*range(10, 20)]),
        (0.2, None, [*range(5, 20)]),
        (6.75, None, [19]),  # the rest of the last frame
    ],
)
@pytest.mark.parametrize("name", ["held.mp4", "held.mkv", "held.ts", "held.flv"])
def test_a_frame_is_shown_until_the_next_one(
    tmp_path: Path, name: str, start: float, end: float | None, expected: list[int]
):
    """Frame 9 stays for six seconds; a still picture does so in slides, a screen that does not change in a recording."""
    path = tmp_path / name
    pts = [40 * i if i < 10 else 40 * i + 5960 for i in range(20)]
    frames = write_video(path, 20, size=(48, 48), pts=pts, time_base=MILLISECOND)
    clip = read_clip(path, len(expected), 48, start=start, end=end)
    assert error_of(clip, frames[expected]) <= 4
    every = np.stack([frame.copy() for frame in every_frame(path, 48, start=start, end=end)])
    assert error_of(torch.from_numpy(every), frames[expected]) <= 4


def test_a_window_without_a_frame_is_an_error(tmp_path: Path):
    write_video(tmp_path / "a.mp4", 10)
    with pytest.raises(InputError, match=r"a\.mp4: has no frame from 9 s on"):
        read_clip(tmp_path / "a.mp4", 4, 32, start=9)


@pytest.mark.parametrize(("start", "end"), [(2, 1), (1, 1), (-1, None), (float("nan"), 1), (None, float("inf"))])
def test_a_window_that_makes_no_sense_is_an_error(tmp_path: Path, start: float | None, end: float | None):
    write_video(tmp_path / "a.mp4", 10)
    with pytest.raises(InputError, match=r"a\.mp4: (start|end) is"):
        read_clip(tmp_path / "a.mp4", 4, 32, start=start, end=end)


def test_the_same_seed_chooses_the_same_frames_whichever_way_they_are_decoded(tmp_path: Path):
    write_video(tmp_path / "indexed.mp4", 50)
    write_video(tmp_path / "bare.h264", 50)
    clips = [read_clip(p, 5, 32, rng=np.random.default_rng(3)) for p in sorted(tmp_path.iterdir())]
    assert torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], read_clip(tmp_path / "bare.h264", 5, 32, rng=np.random.default_rng(4)))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_a_folder_is_read_in_natural_order(tmp_path: Path, suffix: str):
    frames = write_frames(tmp_path / "clip", 12, size=(48, 48), suffix=suffix)
    (tmp_path / "clip" / "Thumbs.db").write_text("not a frame")
    (tmp_path / "clip" / "._3.jpg").write_text("not a frame either")
    assert count_frames(tmp_path / "clip") == 12
    difference = (read_clip(tmp_path / "clip", 12, 48).int() - as_clip(frames).int()).abs().float()
    assert difference.mean(dim=(1, 2, 3)).max() <= (0 if suffix in (".png", ".bmp") else 3)
    small = read_clip(tmp_path / "clip", 5, 16)
    expected = [Image.fromarray(f).resize((16, 16), Image.Resampling.BICUBIC) for f in frames[segment_indices(12, 5)]]
    assert (small.int() - as_clip(np.stack(expected)).int()).abs().float().mean() < 3


def test_a_large_jpeg_is_antialiased(tmp_path: Path):
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 200
    Image.fromarray(stripes).save(tmp_path / "1.jpg", quality=95)
    assert (read_clip(tmp_path, 1, 32).int() - 100).abs().max() <= 4


def test_frames_with_alpha_palette_and_orientation_become_upright_rgb(tmp_path: Path):
    picture = Image.fromarray(numbered_frames(6, (32, 32))[5])
    picture.convert("RGBA").save(tmp_path / "1.png")
    picture.convert("L").save(tmp_path / "2.png")
    orientation = Image.Exif()
    orientation[274] = 3  # upside down
    picture.save(tmp_path / "3.png", exif=orientation)
    clip = read_clip(tmp_path, 3, 32)
    assert error_of(clip[:1], np.asarray(picture)[None]) == 0
    assert torch.equal(clip[1, 0], clip[1, 2])
    assert error_of(clip[2:], np.asarray(picture)[None, ::-1, ::-1]) == 0


def test_a_folder_has_no_times(tmp_path: Path):
    write_frames(tmp_path / "clip", 3)
    with pytest.raises(InputError, match="clip: start and end apply to a video"):
        read_clip(tmp_path / "clip", 3, 32, start=1.0)
