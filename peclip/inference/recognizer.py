"""Recognizer: frames of a video -> rows that say which expression each face shows in each window."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from peclip.arguments import checked
from peclip.data.augment import normalize
from peclip.data.media.container import HELD
from peclip.data.media.stream import FrameStream
from peclip.errors import InputError
from peclip.inference.ahead import ahead
from peclip.inference.cautions import about_faces, brightness, of_answer, of_model
from peclip.inference.crops import FoundFaces, WholeFrames
from peclip.inference.faces import Detector, detector_of
from peclip.inference.sources import checked_frames, read_frames
from peclip.inference.windows import Box, Sight, Stretch, View, Window, Windows, present
from peclip.model import PEClip, read_trained
from peclip.model.device import best_precision, computed_in, find_device
from peclip.model.fast.int8 import in_int8

WAITING = 3
"""Largest number of windows that wait for the model: with crops of sixteen faces each, they take 115 MB."""


@dataclass(frozen=True)
class Row:
    """Answer about one face in one window, or a stretch of a window without a face.

    Attributes:
        file: the video.
        track: number of the face in the video, from 1 in order of appearance; None without a face.
        start: seconds from the beginning of the video: the start of the window, or when the face appears within it.
        end: seconds: the end of the window, or when the face disappears within it.
        label: the most probable class; None without a face.
        probabilities: probability of each class; empty without a face.
        face_share: fraction of the window's time for which the face is seen, from 0 to 1.
        box: mean place of the face in the window, in pixels of the frame; None without a face.
        score: mean score of the detector, from 0 to 1; None without a face, or if the detector gives none.
        brightness: mean of the face's pixels, from 0 to 255; None without a face.
        not_followed: largest number of faces at a time that are not followed.
        cautions: why the answer is worth less than its probability, such as ``small face``; see
            :mod:`peclip.inference.cautions`.
        absences: stretches between start and end in which the face is not found, such as behind another head, of 0.2 seconds
            or more.
        window: start and end of the window, in seconds; None if it is not known.
        picture: the face in the middle of the clip, uint8 (3, S, S); None without a face.
        clip: clip that was classified, uint8 (T, 3, S, S); None without a face, or if clips were not requested.
    """

    file: str
    track: int | None
    start: float
    end: float
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    face_share: float = 0.0
    box: Box | None = None
    score: float | None = None
    brightness: float | None = None
    not_followed: int = 0
    cautions: tuple[str, ...] = ()
    absences: tuple[Stretch, ...] = ()
    window: Stretch | None = None
    picture: Tensor | None = field(default=None, repr=False, compare=False)
    clip: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def present(self) -> list[Stretch]:
        """The stretches in which the face is seen, in seconds: from start to end without the absences."""
        return present(self.start, self.end, self.absences)


class Recognizer:
    """Recognizes the expression of each face in a video over time.

    Faces are found in each frame (of more than 32 frames a second, in about 32), followed, cut out as squares with a
    margin, and gathered in windows; each face of a window is one clip for the model, its frames chosen by segments as
    in evaluation. ::

        for row in peclip.Recognizer("runs/demo/version_0")("holiday.mp4"):
            print(row.start, row.track, row.label)

    Args:
        model: a trained PE-CLIP: the folder of a run, a ``.ckpt``, a package or its Hub id, a released ``.pth``, or the
            model itself, such as that of :func:`peclip.inference.trained.zero_shot`.
        faces: detector of faces. ``yunet`` needs the extra ``faces``; ``none`` crops the middle of each frame, for
            videos that show one face and nothing else; from Python also a custom function, from a frame to the
            boxes of its faces (:data:`peclip.inference.faces.Detector`).
        face_model: the ONNX file of YuNet; by default it is downloaded from the Hub once.
        window: length of a window in seconds, above 0 and at most 60. Models are trained on clips of some 1 to 4
            seconds, T frames of each: 2 keeps to that.
        stride: seconds from one window to the next, above 0 and at most the window.
        batch_size: clips per forward pass, at least 1.
        device: ``auto`` (``cuda`` if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        backbone: Hub id or folder of the CLIP, if it has moved since the training.
        precision: ``bf16-mixed``, ``32-true``, or ``auto``: bf16 if the device multiplies it in hardware, as in
            ``peclip test``. ``int8`` quantises the image tower, on a CPU; clips are then computed one by one.

    Attributes:
        window: length of the windows in seconds.
        stride: seconds from one window to the next.

    Raises:
        InputError: an argument is out of its range, the model or YuNet cannot be loaded, or OpenCV is not installed.
    """

    @checked()
    def __init__(
        self,
        model: str | Path | PEClip,
        faces: Literal["yunet", "none"] | Detector = "yunet",
        face_model: str | None = None,
        window: float = 2.0,
        stride: float = 1.0,
        batch_size: int = 4,
        device: str | torch.device = "auto",
        backbone: str | None = None,
        precision: Literal["auto", "bf16-mixed", "32-true", "int8"] = "auto",
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: expected at least 1")
        Windows(1, window, stride)
        self._detect = detector_of(faces, face_model)
        self.window, self.stride, self._batch_size = window, stride, batch_size
        self._device = find_device(str(device))
        self.precision = best_precision(self._device.type) if precision == "auto" else precision
        if precision == "int8" and self._device.type != "cpu":
            raise InputError(f"precision int8 is for a CPU: the device is {self._device}; use bf16-mixed", "precision")
        net = model if isinstance(model, PEClip) else PEClip.from_trained(read_trained(model), backbone)
        net = net.to(self._device).eval()
        self.net = in_int8(net) if precision == "int8" else net

    @property
    def caution(self) -> str:
        """Return the sentence of caution about every answer of the model; empty if there is none."""
        return of_model(self.net)

    @property
    def is_about_faces(self) -> bool:
        """Return whether the answers are about faces, see :func:`peclip.inference.cautions.about_faces`."""
        return about_faces(self.labels, self._detect)

    @property
    def labels(self) -> list[str]:
        """Return the class names, in the order of the probabilities."""
        return self.net.labels

    @checked()
    def __call__(self, source: str | Path) -> Iterator[Row]:
        """Recognize a video.

        Args:
            source: a video file of any length, ``-`` for one that is piped to standard input, or a camera
                (``/dev/video0``).

        Yields:
            the rows of each window in order of time: one for each face, by track, and one for each stretch
            of the window without a face. They are yielded while the video is read.

        Raises:
            InputError: the source cannot be read or is damaged from some frame on, or the output of the model is not finite.
        """
        yield from self.rows(read_frames(str(source)), str(source))

    @checked()
    def rows(
        self,
        frames: Iterable[tuple[float, np.ndarray]],
        file: str,
        watch: Callable[[float, View], None] | None = None,
        omit: Callable[[Window], object] | None = None,
        *,
        with_clips: bool = False,
    ) -> Iterator[Row]:
        """Recognize a stream of frames. They are read, and faces are found, in a thread while the model computes.

        Args:
            frames: seconds, never less than before, and uint8 (H, W, 3) RGB, as
                :func:`peclip.inference.sources.read_frames` yields them.
            file: name of the source in the rows.
            watch: function that the thread calls with the seconds and the faces of each frame in which faces are looked for.
            omit: function for a camera, which the thread calls with each window that is skipped because the model is too slow.
                Windows are then answered one by one, and at once.
            with_clips: whether rows have the clips of their faces, megabytes each.

        Yields:
            as calling the recognizer does.
        """
        waiting: list[tuple[Row, Tensor | None]] = []
        batch, most = (self._batch_size, WAITING) if omit is None else (1, 1)
        for window in ahead(self._windows(frames, watch), most, omit=omit):
            for sight in window.sights:
                waiting.append((_row(file, sight, window, self.is_about_faces), sight.clip))
            waiting += [
                (Row(file, None, *blank, not_followed=window.not_followed, window=(window.start, window.end)), None)
                for blank in window.blanks
            ]
            clips = sum(clip is not None for _, clip in waiting)
            if clips == 0 or clips >= batch:
                yield from self._answer(waiting, with_clips)
                waiting = []
        yield from self._answer(waiting, with_clips)

    def _windows(
        self, frames: Iterable[tuple[float, np.ndarray]], watch: Callable[[float, View], None] | None
    ) -> Generator[Window, None, None]:
        size = self.net.image_size
        windows = Windows(self.net.clip_format.num_frames, self.window, self.stride)
        faces = (
            WholeFrames(size) if self._detect is None else FoundFaces(size, self._detect, self.net.clip_format.upright)
        )
        before: tuple[float, np.ndarray, View | None] | None = None
        watch = watch or _ignore

        def hold(seconds: float, frame: np.ndarray, view: View | None) -> Iterator[Window]:
            whole = faces.hold(seconds, frame, view)
            if view is None:
                watch(seconds, whole)
            yield from windows.hold(seconds, whole)

        for seconds, frame in checked_frames(frames):
            if before is not None and seconds - before[0] >= HELD:
                yield from hold(*before)
            view = faces.cut(seconds, frame, windows.wants)
            if view is not None:
                watch(seconds, view)
                yield from windows.push(seconds, view)
            before = seconds, frame, view
        end = frames.end if isinstance(frames, FrameStream) else None
        if before is not None and end is not None and end - before[0] >= HELD:
            yield from hold(*before)
        faces.finish()
        yield from windows.finish(end)

    def _answer(self, waiting: list[tuple[Row, Tensor | None]], with_clips: bool) -> Iterator[Row]:
        """Complete the rows of faces with the predictions for their clips, uint8 (T, 3, S, S)."""
        clips = [clip for _, clip in waiting if clip is not None]
        answers = iter(
            [
                probabilities
                for first in range(0, len(clips), self._batch_size)
                for probabilities in self._classify(clips[first:][: self._batch_size])
            ]
        )
        for row, clip in waiting:
            if clip is None:
                yield row
            else:
                probabilities = dict(zip(self.labels, next(answers), strict=True))
                if not all(map(math.isfinite, probabilities.values())):
                    raise InputError(
                        f"{row.file} from {row.start:.3f} s: the output of the model is not finite; its weights may be damaged"
                    )
                label = max(probabilities, key=probabilities.__getitem__)
                yield replace(row, label=label, probabilities=probabilities, clip=clip if with_clips else None)

    def _classify(self, clips: list[Tensor]) -> list[list[float]]:
        """Return the probabilities (C) of each clip, uint8 (T, 3, S, S)."""
        if self.precision == "int8" and len(clips) > 1:  # alone, so that a result does not depend on other clips
            return [answer for clip in clips for answer in self._classify([clip])]
        with torch.inference_mode(), computed_in(self.precision, self._device):
            video = normalize(torch.stack(clips).to(self._device), self.net.clip_format)
            return self.net.probabilities(self.net(video)).tolist()


def _ignore(seconds: float, view: View) -> None:
    """Ignore the faces of a frame."""


def _row(file: str, sight: Sight, window: Window, is_face: bool) -> Row:
    """Return the row of a face, which has no answer yet."""
    bright = brightness(sight.clip)
    cautions = of_answer(sight.box, bright, sight.seconds, is_face)
    return Row(
        *(file, sight.track, sight.start, sight.end),
        face_share=sight.share,
        box=sight.box,
        score=None if math.isnan(sight.score) else sight.score,
        brightness=bright,
        not_followed=window.not_followed,
        cautions=cautions,
        absences=sight.absences,
        window=(window.start, window.end),
        picture=sight.clip[len(sight.clip) // 2].clone(),  # a view would keep the whole clip
    )
