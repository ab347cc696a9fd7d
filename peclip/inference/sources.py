"""Read frames from video files, folders of them, a pipe on standard input, or a camera."""

import math
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from glob import escape, glob
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from peclip.data.media.clip import stream_frames
from peclip.data.media.container import open_video
from peclip.data.media.stream import FrameStream, TimedFrame, timed_frames
from peclip.errors import InputError, counted, printable, shown
from peclip.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_key

STDIN = "-"
"""Name of a video that is piped to standard input."""

CAMERA = "camera"
"""Name of the first camera of the machine."""

ANSWERS = ".videos"
"""Folder of the finished videos, below that of their answers."""

ANNOTATED = "-annotated.mp4"
"""End of the name of an annotated video."""

LONGEST_GAP = 3600.0
"""Largest gap between two frames in seconds; larger ones are treated as damage."""


def refuse_address(source: str) -> None:
    """Refuse the address of a video on a network.

    Raises:
        InputError: it is one.
    """
    if "://" in source and not os.path.exists(source):
        raise InputError(f"{source}: is an address: download the video first, then name its file")


def expanded(
    videos: Sequence[str], report: Callable[[InputError], None], note: Callable[[str, str], None]
) -> Iterator[str]:
    """Yield each video once, those of folders in order.

    Args:
        videos: paths, each as :func:`find_videos` accepts it.
        report: function called with the error of a folder without any, and of what is not a file in one.
        note: function called with a folder and what is skipped in it.
    """
    seen = set()
    for given in videos:
        try:
            found = find_videos(given)
        except InputError as error:
            report(error)
            continue
        if pictures := _pictures_beside(given, found):
            note(
                given,
                f"skips {counted(len(pictures), 'picture')}, such as {printable(pictures[0])}: videos are read",
            )
        for source in found:
            if os.path.normpath(source) in seen:
                continue
            seen.add(os.path.normpath(source))
            if source != given and is_live(source):
                report(
                    InputError(
                        f"{source}: is a pipe or a device among the files of a folder: name it itself to read it"
                    )
                )
            else:
                yield source


def find_videos(source: str) -> list[str]:
    """Return the videos of a path.

    Args:
        source: a folder, which is searched with everything below it for names with the suffix of a video, but for hidden ones
            and annotated videos among answers; anything else is returned as it is.

    Raises:
        InputError: the folder cannot be read or has no video.
    """
    refuse_address(source)
    if not os.path.isdir(source):
        return [source]
    found = sorted(_videos_below(source))
    if not found:
        raise InputError(f"{source}: has no video: expected files such as .mp4, .mov, .mkv, .avi or .webm")
    return found


def _videos_below(source: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be listed ({error.strerror})") from error

    seen = set()
    for folder, below, names in os.walk(source, onerror=refuse, followlinks=True):
        if (place := os.path.realpath(folder)) in seen:  # a link may lead back
            below.clear()
            continue
        seen.add(place)
        below[:] = sorted(name for name in below if not name.startswith("."))
        answered = glob(os.path.join(escape(folder), ANSWERS, "*"))
        ours = {f"{os.path.basename(stem)}{ANNOTATED}" for stem in answered}
        for name in names:
            is_video = os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES
            if is_video and not name.startswith(".") and name not in ours:
                yield os.path.join(folder, name)


def _pictures_beside(source: str, videos: Sequence[str]) -> list[str]:
    """Return the names of pictures beside the videos that are found in a folder, except those of answers."""
    folders = sorted({os.path.dirname(video) for video in videos}) if os.path.isdir(source) else []
    return [
        name
        for folder in folders
        if not os.path.exists(os.path.join(folder, ANSWERS))
        for name in sorted(os.listdir(folder), key=natural_key)
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    ]


def is_camera(source: str) -> bool:
    """Return whether a source is a camera, by its device or by :data:`CAMERA`."""
    if source == CAMERA and not os.path.exists(source):
        return True
    try:
        return source != STDIN and stat.S_ISCHR(os.stat(source).st_mode)
    except (OSError, ValueError):
        return False


def is_live(source: str) -> bool:
    """Return whether a source can be read only once and has no known end: a pipe or a camera."""
    if is_camera(source):
        return True
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode if source == STDIN else os.stat(source).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


class Described(NamedTuple):
    """Facts that the container of a video states.

    Attributes:
        duration: duration in seconds; None if it is unknown.
        choice: sentence that says which of several video streams is read; empty if there is only one.
    """

    duration: float | None = None
    choice: str = ""


def describe(source: str) -> Described:
    """Return the facts that the container of a video states; no facts for a pipe, a camera or a file that cannot be read."""
    if source == STDIN or is_live(source) or not os.path.isfile(source):
        return Described()
    try:
        with open_video(Path(source)) as video:
            length = video.container.duration
            return Described(length / av.time_base if length and length > 0 else None, video.choice)
    except InputError:
        return Described()  # reported when the frames are read


def read_frames(source: str) -> FrameStream:
    """Decode a video in order of presentation, holding one frame at a time.

    Args:
        source: a video file, ``-`` for a video piped to standard input, a named pipe, or a camera (``camera``,
            ``/dev/video0``).

    Returns:
        an iterator over seconds from the beginning, never less than those before, and the frame: uint8 (H, W, 3), RGB,
        upright, with square pixels.

    Raises:
        InputError: it cannot be read, at the first frame that cannot be decoded, if times jump by more than
            :data:`LONGEST_GAP`, or at the end if there was no frame.
    """
    return FrameStream(_in_order(source))


def _in_order(source: str) -> Iterator[TimedFrame]:
    frames = FrameStream(_live(source)) if source == STDIN or is_live(source) else stream_frames(source)
    last: float | None = None
    for begin, pixels in frames:
        if last is not None and begin - last > LONGEST_GAP:
            raise InputError(f"{source}: times jump from {last:.0f} s to {begin:.0f} s: write the file again")
        last = max(begin, last or 0.0)
        end = last if frames.end is None or frames.end - last > LONGEST_GAP else max(frames.end, last)
        yield TimedFrame(last, end, pixels)
    if last is None:
        raise InputError(f"{source}: has no frames")


def _camera(source: str) -> tuple[str, str]:
    """Return the address of a camera, and FFmpeg's name of the devices of this system.

    Raises:
        InputError: there is none.
    """
    if sys.platform == "darwin":
        return ("0:none" if source == CAMERA else source), "avfoundation"
    if source != CAMERA:
        return source, "v4l2"
    found = sorted(glob("/dev/video*"), key=natural_key)
    if not found:
        raise InputError(f"{CAMERA}: this machine has no camera (/dev/video0 is missing): name a video, or a device")
    return found[0], "v4l2"


def _live(source: str) -> Iterator[TimedFrame]:
    """Read a pipe or a camera; its first frame is at 0 s."""
    address, demuxer = f"file:{source}", None
    if source == STDIN:
        if sys.stdin.isatty():
            raise InputError(f"{STDIN}: standard input is a terminal: pipe a video in")
        address = "pipe:0" if is_live(STDIN) else "file:/dev/stdin"  # a file that is redirected can be sought in
    elif is_camera(source):
        address, demuxer = _camera(source)
    has_begun = False
    try:
        with open_video(Path(source), address, demuxer) as video:
            for frame in timed_frames(video, None):
                has_begun = True
                yield frame
    except InputError as error:
        if not has_begun and demuxer is None:
            raise InputError(
                f"{error}; a pipe needs a format that can be read from front to end: Matroska, MPEG-TS or fragmented MP4"
            ) from error
        raise


def checked_frames(frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[tuple[float, np.ndarray]]:
    """Yield frames with their seconds.

    Raises:
        InputError: one is something else.
    """
    before = -math.inf
    for each in frames:
        seconds, frame = each if isinstance(each, tuple | list) and len(each) == 2 else (each, None)
        is_time = isinstance(seconds, Real) and math.isfinite(seconds)
        is_frame = (
            isinstance(frame, np.ndarray)
            and frame.dtype == np.uint8
            and frame.ndim == 3
            and frame.shape[2] == 3
            and frame.size
        )
        if not (is_time and is_frame):
            raise InputError(f"frames has {shown(each)}, expected seconds and a frame, uint8 (H, W, 3)", "frames")
        seconds = float(seconds)  # of any kind of number
        if seconds < before:
            raise InputError(f"frames has {seconds:g} s after {before:g} s, expected times in order", "frames")
        before = seconds
        yield seconds, frame
