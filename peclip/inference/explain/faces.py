"""Read the face of an uncropped video, as recognition crops it, to explain the answer of a model about it."""

from collections.abc import Iterator

import numpy as np
import torch

from peclip.data.media.clip import ChosenFrames, clip_frames, segment_indices
from peclip.errors import InputError
from peclip.inference.crops import FoundFaces, cut_out, longest_track
from peclip.inference.faces import Detector
from peclip.model import PEClip


def read_face(
    path: str, net: PEClip, detect: Detector, start: float | None = None, end: float | None = None
) -> tuple[ChosenFrames, str]:
    """Read the face that a clip shows longest: frames of its track, chosen by segments.

    The clip is read twice, so that memory holds one frame of it.

    Args:
        path: a video file or a folder of frames.
        net: the model.
        detect: finds faces.
        start: seconds from the beginning of a video.
        end: seconds from the beginning of a video.

    Returns:
        the frames, and sentences that say which of several faces it is; none if there is only one.

    Raises:
        InputError: it cannot be read, shows no face, or shows the face in one frame only.
    """
    form, count = net.clip_format, 0

    def counted() -> Iterator[tuple[float, np.ndarray]]:
        nonlocal count
        for frame in clip_frames(path, start, end):
            count += 1
            yield frame

    face = longest_track(counted(), FoundFaces(form.image_size, detect, form.upright))
    squares = face.squares
    if not squares:
        where = "" if start is None and end is None else " between start and end"
        raise InputError(
            f"{path}: no face was found{where}; a clip that is cropped to a face needs no detector (faces none)",
            "faces",
        )
    if len(squares) < 2:
        raise InputError(f"{path}: its face is seen in one frame: expected two frames or more")
    known = np.array(sorted(squares))
    numbers = known[segment_indices(len(known), form.num_frames)]
    wanted = {*numbers.tolist()}
    crops = {
        number: cut_out(frame, squares[number], form.image_size, form.upright)
        for number, (_, frame) in enumerate(clip_frames(path, start, end))
        if number in wanted
    }
    clip = torch.stack([crops[number] for number in numbers.tolist()])
    return ChosenFrames(clip, numbers, count), face.words
