"""Read clips: which frames of a clip (segment sampling), and those frames as one uint8 tensor.

A clip is a video file, which `peclip.data.media.decode` decodes, a folder of frame images in natural order, or a part of a
shard that `peclip pack` wrote, which `peclip.data.media.shard` reads.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from av.video.reformatter import VideoReformatter

from peclip.data.media.canvas import Canvas, read_image, upright
from peclip.data.media.container import Window, open_video
from peclip.data.media.decode import (
    count_everything,
    count_planned,
    decode_everything,
    read_everything,
    read_planned,
)
from peclip.data.media.shard import count_packed, read_packed, split_path
from peclip.errors import InputError
from peclip.files import IMAGE_SUFFIXES, natural_key

__all__ = ["count_frames", "every_frame", "read_clip", "segment_indices", "stream_frames"]


def segment_indices(frames: int, num: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Choose frames by segments: the clip is cut into `num` equal parts and each gives one frame.

    Segment k is `[k * frames / num, (k + 1) * frames / num)`. A clip with fewer frames than `num` gives all of them
    and repeats the last.

    Args:
        frames: number of frames of the clip, at least 1.
        num: number of frames wanted (T), at least 1.
        rng: None takes the middle of each segment, as in testing; otherwise a uniformly random frame within it.

    Returns:
        (T,) int64, non-decreasing, each in `[0, frames)`.

    Raises:
        InputError: if there is no frame to choose from, or `num` is less than 1.
    """
    if frames < 1 or num < 1:
        raise InputError(f"cannot choose {num} of {frames} frames: expected at least one of each")
    k = np.arange(num, dtype=np.int64)
    if frames < num:
        return np.minimum(k, frames - 1)
    if rng is None:
        return (2 * k + 1) * frames // (2 * num)
    first, stop = -(-k * frames // num), -(-(k + 1) * frames // num)  # whole frames within the segment
    return rng.integers(first, stop)


def read_clip(
    path: Path | str,
    num_frames: int,
    size: int,
    *,
    start: float | None = None,
    end: float | None = None,
    rng: np.random.Generator | None = None,
) -> torch.Tensor:
    """Read `num_frames` frames of a clip, chosen by `segment_indices`, at `size` by `size` pixels.

    The shorter side is scaled to `size` and the centre is cut out. Rotation metadata and non-square pixels are
    applied first.

    Args:
        path: a video file, a folder of frame images, which are taken in natural order (`2.jpg` before `10.jpg`), or a
            packed clip.
        num_frames: T, at least 1.
        size: side of the frames in pixels, at least 1.
        start: seconds from the beginning of the video; frames before it do not belong to the clip.
        end: seconds from the beginning of the video; frames at or after it do not belong to the clip.
        rng: None takes the middle frame of each segment; otherwise a random one.

    Returns:
        uint8 (T, 3, size, size), RGB.

    Raises:
        InputError: if the clip is missing, is not a video, has no frame in `[start, end)`, or if a chosen frame
            cannot be decoded. The message names the file.
    """
    if num_frames < 1 or size < 1:
        raise InputError(f"cannot read {num_frames} frames of {size}x{size} pixels: expected at least 1 of each")
    window = _check_window(path, start, end)
    if split_path(path):
        return read_packed(path, lambda frames: segment_indices(frames, num_frames, rng), size)
    path = Path(path)
    if _is_folder(path):
        return _read_folder(path, num_frames, size, rng)
    state = rng.bit_generator.state if rng is not None else {}

    def choose(frames: int) -> np.ndarray:
        if frames == 0:
            since, until = "" if start is None else f" from {start:g} s on", "" if end is None else f" before {end:g} s"
            raise InputError(f"{path}: has no frame{since}{until}")
        if rng is not None:
            rng.bit_generator.state = state  # another way of decoding asks again and must get the same frames
        return segment_indices(frames, num_frames, rng)

    for seek in (True, False) if start else (False,):
        clip = read_planned(path, window, choose, size, seek=seek)
        if clip is not None:
            return clip
    return read_everything(path, window, choose, size)


def every_frame(
    path: Path | str, size: int, *, start: float | None = None, end: float | None = None
) -> Iterator[np.ndarray]:
    """Read all frames of a clip as `read_clip` reads some, holding one at a time.

    Args and errors are those of `read_clip`.

    Yields:
        uint8 (3, size, size), RGB; overwritten by the next.
    """
    window = _check_window(path, start, end)
    if split_path(path):
        yield from read_packed(path, np.arange, size).numpy()
        return
    path, first = Path(path), np.array([0])
    if _is_folder(path):
        canvas = Canvas(path, 1, size)
        for file in _frame_files(path):
            canvas.put_picture(read_image(file, size), first)
            yield canvas.clip[0].numpy()
        return
    with open_video(path) as video:
        low, high = video.ticks(window)
        canvas = Canvas(path, 1, size, video.aspect)
        for ticks, frame in decode_everything(video):
            if low <= ticks < high:
                canvas.put(frame, first)
                yield canvas.clip[0].numpy()


def stream_frames(path: Path | str) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a whole video in order of presentation, holding one frame at a time.

    Args:
        path: a video file of any length.

    Yields:
        the time of the frame in seconds from the beginning of the video, and the frame: uint8 (H, W, 3), RGB, with
        rotation metadata applied and square pixels.

    Raises:
        InputError: if the file is not a video, or at the first frame that cannot be decoded.
    """
    path = Path(path)
    if _is_folder(path):
        raise InputError(f"{path}: is a folder, expected a video file")
    scaler = VideoReformatter()
    with open_video(path) as video:
        for ticks, frame in decode_everything(video):
            yield float((ticks - video.origin) * video.tick), upright(frame, scaler, video.aspect)


def count_frames(path: Path | str) -> int:
    """Count the frames of a whole clip, without decoding where that is exact.

    Raises:
        InputError: if the clip cannot be read.
    """
    if split_path(path):
        return count_packed(path)
    path = Path(path)
    if _is_folder(path):
        return len(_frame_files(path))
    frames = count_planned(path)
    return count_everything(path) if frames is None else frames


def _check_window(path: Path | str, start: float | None, end: float | None) -> Window:
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (0 <= value < 1e9):
            raise InputError(f"{path}: {name} is {value}: expected seconds from the beginning of the video")
    if start is not None and end is not None and start >= end:
        raise InputError(f"{path}: start is {start:g} s and end is {end:g} s: expected start before end")
    if (start, end) != (None, None) and (split_path(path) or os.path.isdir(path)):
        raise InputError(f"{path}: start and end apply to a video, this is a folder of frames: remove them")
    return start, end


def _is_folder(path: Path) -> bool:
    """Tell a folder from a file, and refuse everything else.

    Raises:
        InputError: if there is nothing at the path, or something that is neither, such as a FIFO or a device, on
            which reading could wait for ever.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if stat.S_ISDIR(status.st_mode):
        return True
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: neither a file nor a folder: expected a video or a folder of frames")
    if status.st_size == 0:
        raise InputError(f"{path}: the file is empty: replace it")
    return False


def _frame_files(folder: Path) -> list[str]:
    """List the frames of a folder in natural order.

    Raises:
        InputError: if the folder cannot be listed or has no image.
    """
    try:
        names = [e.name for e in os.scandir(folder) if e.name.lower().endswith(IMAGE_SUFFIXES) and e.name[0] != "."]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    if not names:
        raise InputError(f"{folder}: has no image: expected frames as {', '.join(IMAGE_SUFFIXES)}")
    return [f"{folder}/{name}" for name in sorted(names, key=natural_key)]


def _read_folder(folder: Path, num_frames: int, size: int, rng: np.random.Generator | None) -> torch.Tensor:
    files = _frame_files(folder)
    chosen = segment_indices(len(files), num_frames, rng)
    canvas = Canvas(folder, num_frames, size)
    for index in np.unique(chosen):
        canvas.put_picture(read_image(files[index], size), np.flatnonzero(chosen == index))
    return canvas.clip
