"""Write a video again with what was recognized in it: boxes, labels, probabilities, a running timeline, and its sound."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image

from peclip.data.media.canvas import reason
from peclip.data.media.clock import TICK
from peclip.data.media.container import open_video
from peclip.data.media.sound import sound_of
from peclip.errors import InputError
from peclip.files import atomic_write
from peclip.inference.overlay.draw import Drawing, Moment
from peclip.inference.overlay.record import Moments, Record
from peclip.inference.progress import Bar
from peclip.inference.sources import ANNOTATED, read_frames
from peclip.inference.windows import Box

READABLE = 320
"""Pixels of the shorter side below which a video is enlarged, so that texts in it can be read."""

_QUALITY = {"crf": "20", "preset": "veryfast", "bf": "0"}
"""Options of x264. In an mp4 file, frames have their right durations only if they are stored in the order of their times."""

_LARGEST = 8  # times that a video is enlarged
_MATRICES = (1, 4, 5, 6, 7, 9)  # between RGB and YUV that FFmpeg's scaler computes; it takes others for the fifth


class Film:
    """A video that is to be written with its answers, which are recorded first.

    Args:
        source: the video.
        labels: class names, in the order of the probabilities.
        caution: sentence about every answer of the model; empty if there is none.
        report: function called with a sentence about what is lost.
        bar: progress bar, called with the seconds that are written.
    """

    def __init__(
        self,
        source: str,
        labels: Sequence[str],
        caution: str,
        report: Callable[[str], None],
        bar: Bar,
    ) -> None:
        self.record = Record()
        self._source, self._labels, self._caution = source, labels, caution
        self._report, self._bar = report, bar

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Forget what was recorded."""
        self.record.close()

    def write(self, folder: Path, stem: str, numbers: Mapping[int, int]) -> None:
        """Write the video with its answers.

        Args:
            folder: folder of the file.
            stem: beginning of the file's name.
            numbers: new number of a face by its number; faces that are missing keep theirs.
        """
        self.record.finish(numbers)
        target = folder / f"{stem}{ANNOTATED}"
        with self._bar:
            write_film(self._source, target, self.record, self._labels, self._caution, self._report, self._bar)


def write_film(
    source: str,
    target: Path,
    record: Record,
    labels: Sequence[str],
    caution: str,
    report: Callable[[str], None] = lambda _: None,
    advance: Callable[[float], None] = lambda _: None,
) -> None:
    """Read a video a second time, and write it with what was recognized in it.

    Each frame is shown when and for as long as in the video. Memory does not depend on its length.

    Args:
        source: a video file.
        target: the mp4 file.
        record: finished record of what was recognized.
        labels: class names, in the order of the probabilities.
        caution: sentence about every answer of the model; empty if there is none.
        report: function called with a sentence about what is lost.
        advance: function called with the seconds that are done.

    Raises:
        InputError: the video cannot be read, or the file cannot be written.
    """
    moments, writer = Moments(record), None
    try:
        with (
            atomic_write(target) as path,
            av.open(f"file:{path}", "w", format="mp4") as output,
            sound_of(Path(source), output, report) as write_sound,
        ):
            frames = read_frames(source)
            for seconds, frame in frames:
                if writer is None:
                    writer = _Writer(output, source, frame.shape, Drawing(*_room(frame), labels, caution, record.faces))
                writer.put(seconds, frame, moments.at(seconds))
                write_sound(seconds)
                advance(seconds)
            if writer is not None:
                writer.finish(frames.end or 0.0)
            write_sound(math.inf)
    except av.FFmpegError as error:
        raise InputError(f"{source}: the annotated video cannot be written ({reason(error)})") from error


def _room(frame: np.ndarray) -> tuple[int, int]:
    """Return the width and height at which a frame, uint8 (H, W, 3), is shown."""
    height, width = frame.shape[:2]
    scale = min(max(1, -(-READABLE // min(height, width))), _LARGEST)
    return width * scale, height * scale


class _Colours(NamedTuple):
    """The colour coding of a video, in FFmpeg's numbers.

    The values of pixels that nothing is drawn on come back as they were, with the same meaning, so players show them alike.
    """

    matrix: int
    levels: int
    primaries: int
    transfer: int

    @classmethod
    def of(cls, source: str) -> "_Colours":
        with open_video(Path(source)) as video:
            context = video.stream.codec_context
            return cls(context.colorspace, context.color_range, context.color_primaries, context.color_trc)


class _Writer:
    """Encodes frames as they are drawn. Each waits until its duration is known.

    Args:
        output: the file.
        source: the video, whose colours are kept.
        shape: shape of its first frame, (H, W, 3).
        drawing: drawing that is put into the frames.
    """

    def __init__(self, output: OutputContainer, source: str, shape: tuple[int, ...], drawing: Drawing) -> None:
        self._shape, self._drawing, self._output = shape, drawing, output
        self._scale = drawing.width // shape[1]
        rows, width = drawing.height + drawing.band, drawing.width
        self._canvas = np.zeros((rows + rows % 2, width + width % 2, 3), np.uint8)  # an encoder needs even sides
        self._colours, self._scaler = _Colours.of(source), VideoReformatter()
        stream = output.add_stream("libx264", rate=25, options=_QUALITY)
        stream.height, stream.width = self._canvas.shape[:2]
        stream.pix_fmt, context = "yuv420p", stream.codec_context
        context.time_base = stream.time_base = TICK
        context.thread_count = 0  # as many as there are cores
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = self._colours
        self._stream = stream
        self._waiting: tuple[int, VideoFrame] | None = None
        self._lasts: dict[int, int] = {}  # for how many ticks a frame is shown, by its time

    def put(self, seconds: float, frame: np.ndarray, moment: Moment) -> None:
        """Draw into a frame, and encode the one before it.

        Args:
            seconds: time of the frame, not less than before.
            frame: uint8 (H, W, 3), RGB.
            moment: what is drawn.
        """
        ticks = round(seconds / TICK)
        if self._waiting is not None:
            ticks = max(ticks, self._waiting[0])
            self._encode(ticks)
        sides = self._drawing.width / frame.shape[1], self._drawing.height / frame.shape[0]
        if frame.shape != self._shape:  # a broadcast may change it
            frame = np.asarray(Image.fromarray(frame).resize((self._shape[1], self._shape[0])))
        if sides != (1, 1):
            moment = replace(moment, boxes={track: _scaled(box, *sides) for track, box in moment.boxes.items()})
        if self._scale > 1:
            frame = frame.repeat(self._scale, 0).repeat(self._scale, 1)
        drawing = self._drawing
        self._canvas[: drawing.height, : drawing.width] = frame
        drawing.draw(self._canvas[: drawing.height + drawing.band, : drawing.width], moment)
        self._waiting = ticks, self._stored(self._canvas)

    def finish(self, end: float) -> None:
        """Encode the last frame, which is shown until a time in seconds."""
        if self._waiting is not None:
            self._encode(max(round(end / TICK), self._waiting[0] + 1))
        self._mux(None)

    def _encode(self, until: int) -> None:
        """Encode the frame that waits, which is shown until a time in ticks; without a time nobody sees it."""
        if self._waiting is not None and until > self._waiting[0]:
            ticks, frame = self._waiting
            frame.pts, frame.time_base = ticks, TICK
            self._lasts[ticks] = until - ticks
            self._mux(frame)

    def _mux(self, frame: VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            if packet.pts is not None:
                packet.duration = self._lasts.pop(packet.pts)
            self._output.mux_one(packet)

    def _stored(self, canvas: np.ndarray) -> VideoFrame:
        """Return a picture, uint8 (H, W, 3), as the encoder takes it."""
        matrix = self._colours.matrix if self._colours.matrix in _MATRICES else None
        return self._scaler.reformat(
            VideoFrame.from_ndarray(canvas, format="rgb24"),
            format="yuv420p",
            dst_colorspace=matrix,
            dst_color_range=self._colours.levels or None,
            threads=1,
        )


def _scaled(box: Box, across: float, down: float) -> Box:
    return Box(box.left * across, box.top * down, box.width * across, box.height * down)
