"""Find faces in a frame with YuNet, and compare them by identity with SFace, both run by OpenCV (the extra ``faces``)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

from peclip.errors import InputError, shown
from peclip.files import is_not
from peclip.model.backbones.checks import quiet
from peclip.model.hub import is_reachable

Detector = Callable[[np.ndarray], np.ndarray]
"""Callable that accepts a frame, uint8 (H, W, 3) RGB, and returns its faces: (N, 4) left, top, width, height in pixels. A fifth
column may have scores, and four more the x and y of the eye on the left of the picture and of the one on its right."""

YUNET_HUB = "opencv/face_detection_yunet"
YUNET_FILES = ("face_detection_yunet_2026may.onnx", "face_detection_yunet_2023mar.onnx")
"""Two files with the same weights; the older one is for mirrors that lack the newer."""

LONGEST_SIDE = 480
"""Pixels to which frames are scaled down before detection. YuNet finds faces from about 10 pixels on and loses
confidence above 300: at this size, faces from 1/48 of the frame's width to those that fill it."""

CONFIDENCE = 0.7
"""Lowest score of a face. On real videos faces score above 0.9, also half covered; other objects stay below 0.6."""

_COLUMNS = (0, 1, 2, 3, 14, 4, 5, 6, 7)  # of YuNet's output: the box, the score and the eyes
_ALL = 15

SILENT = 0
"""OpenCV's level of logging at which nothing is printed."""

OVERLAP = 0.3
"""Largest intersection over union of two boxes; of two that overlap more, the one with the higher score is kept."""

SFACE_HUB = "opencv/face_recognition_sface"
SFACE_FILES = ("face_recognition_sface_2021dec.onnx",)


class YuNet:
    """YuNet (https://doi.org/10.1007/s11633-023-1423-y), a :data:`Detector` of 76,000 parameters.

    Args:
        model: its ONNX file; by default it is downloaded from the Hub, or read from the Hub's local cache.

    Raises:
        InputError: OpenCV is not installed, the file is missing, or it is not YuNet.
    """

    def __init__(self, model: str | None = None) -> None:
        try:
            import cv2
        except ImportError as error:
            raise InputError(
                'faces: finding faces needs OpenCV: pip install "peclip[faces]", or set faces to none for clips of one face'
            ) from error
        self._cv2: Any = cv2
        self._file = fetch(YUNET_HUB, YUNET_FILES, "YuNet", "face_model") if model is None else model
        if not Path(self._file).is_file():
            raise InputError(
                f"face_model {self._file}: {is_not(Path(self._file), 'file')}, expected the ONNX file of YuNet"
            )
        self._size = (0, 0)
        self._net, self._lock = self._load(), Lock()

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the faces of a frame.

        Args:
            frame: uint8 (H, W, 3), RGB.

        Returns:
            float (N, 9): left, top, width and height in pixels of the frame, score, and x and y of the two eyes; a box may
            reach beyond the frame's edges.
        """
        return self.find(frame)[:, _COLUMNS]

    def find(self, frame: np.ndarray) -> np.ndarray:
        """Return the faces of a frame as YuNet does.

        Args:
            frame: uint8 (H, W, 3), RGB.

        Returns:
            float (N, 15): left, top, width and height in pixels of the frame, x and y of the right and the left eye, the tip of
            the nose, and the right and the left corner of the mouth, and the score.
        """
        height, width = frame.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = self._cv2.resize(frame, size, interpolation=self._cv2.INTER_AREA)
        small = self._cv2.cvtColor(small, self._cv2.COLOR_RGB2BGR)
        with self._lock:  # OpenCV's networks are for one thread at a time, and frames are read in a thread
            if size != self._size:
                self._net.setInputSize(size)
                self._size = size
            _, faces = self._net.detect(small)
        if faces is None:
            return np.zeros((0, _ALL))
        return np.asarray(faces, np.float64) * ([width / size[0], height / size[1]] * 7 + [1])

    def _load(self) -> Any:
        try:
            with silenced(self._cv2):
                net = self._cv2.FaceDetectorYN.create(self._file, "", (64, 64), CONFIDENCE, OVERLAP)
                net.detect(np.zeros((64, 64, 3), np.uint8))
        except self._cv2.error as error:
            raise InputError(f"face_model {self._file}: not the ONNX file of YuNet that OpenCV can read") from error
        return net


@contextmanager
def silenced(cv2: Any) -> Iterator[None]:
    """Keep OpenCV from printing errors within the context; they are raised anyway."""
    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has the functions in cv2 itself
    level = log.getLogLevel()
    log.setLogLevel(SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)


def fetch(hub: str, names: Sequence[str], what: str, option: str) -> str:
    """Return the path of a model's file in the Hub's local cache, after downloading it if it is missing.

    Args:
        hub: Hub id of the repository.
        names: possible names of the file; the first that exists is used.
        what: name of the model in messages.
        option: option of the command with which a user names a local file instead.

    Raises:
        InputError: it cannot be downloaded.
    """
    for name in names:
        try:
            return hf_hub_download(hub, name, local_files_only=True)
        except LocalEntryNotFoundError:
            pass
    try:
        with quiet():  # the error is reported once, below
            if not is_reachable(hub):
                raise LocalEntryNotFoundError(hub)
            for name in names[:-1]:
                try:
                    return hf_hub_download(hub, name)
                except LocalEntryNotFoundError:
                    raise
                except EntryNotFoundError:
                    pass
            return hf_hub_download(hub, names[-1])
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{option}: {what} cannot be downloaded from the Hub ({hub}): connect once, or set {option} to the file {names[0]}"
        ) from error


def detector_of(faces: Literal["yunet", "none"] | Detector, face_model: str | None) -> Detector | None:
    """Return the detector of faces; None if whole frames are used.

    Args:
        faces: ``yunet``, ``none``, or a custom detector.
        face_model: the ONNX file of YuNet; None downloads it once.

    Raises:
        InputError: a file of YuNet is named, but YuNet is not chosen; or YuNet cannot be loaded.
    """
    if faces == "yunet":
        return YuNet(face_model)
    if face_model is not None:
        raise InputError(
            "face_model is a file of YuNet, which finds no faces here: choose faces yunet, or omit it", "face_model"
        )
    return checked_faces(faces) if callable(faces) else None


def checked_faces(detect: Detector) -> Detector:
    """Return a custom detector whose answers are checked."""

    def checked(frame: np.ndarray) -> np.ndarray:
        found = detect(frame)
        is_table = isinstance(found, np.ndarray) and found.ndim == 2 and found.shape[1] >= 4
        if not (is_table and np.issubdtype(found.dtype, np.number)):
            raise InputError(
                f"faces returns {shown(found)}, expected an array (N, 4) or wider: left, top, width and height", "faces"
            )
        if not (np.isfinite(found[:, :4]).all() and (found[:, 2:4] > 0).all()):
            raise InputError("faces returns a box that has no width or height, or is not finite", "faces")
        return found

    return checked


class SFace:
    """SFace (https://doi.org/10.1109/TIP.2020.3048632), :data:`peclip.inference.join.Features` of 128 numbers.

    Args:
        model: its ONNX file; by default it is downloaded from the Hub, or read from the Hub's local cache.
        yunet: finds eyes, nose and mouth, by which a face is aligned.

    Raises:
        InputError: OpenCV is not installed, the file is missing, or it is not SFace.
    """

    THRESHOLD = 0.5
    """Least likeness of two tracks of one person. OpenCV states 0.363 for two pictures, at which 0.4 % of the pairs of LFW are
    judged wrongly; a video has many pairs, and a wrong one mixes two people."""

    def __init__(self, model: str | None, yunet: YuNet) -> None:
        import cv2  # YuNet has it

        self._cv2: Any = cv2
        self._file = fetch(SFACE_HUB, SFACE_FILES, "SFace", "face_features") if model is None else model
        if not Path(self._file).is_file():
            raise InputError(
                f"face_features is {self._file!r}: expected none, sface, or the ONNX file of SFace", "face_features"
            )
        self._yunet = yunet
        self._net = self._load()

    def __call__(self, picture: np.ndarray) -> np.ndarray | None:
        """Return the identity features of a face.

        Args:
            picture: uint8 (S, S, 3), RGB; the face is in its middle.

        Returns:
            float32 (128,) of length 1; None if eyes, nose and mouth are not found.
        """
        faces = self._yunet.find(picture)
        if not len(faces):
            return None
        away = np.abs(faces[:, :2] + faces[:, 2:4] / 2 - len(picture) / 2).sum(axis=1)
        face = faces[away.argmin()].astype(np.float32)
        aligned = self._net.alignCrop(self._cv2.cvtColor(picture, self._cv2.COLOR_RGB2BGR), face)
        feature = self._net.feature(aligned).ravel()
        length = float(np.linalg.norm(feature))
        return np.asarray(feature / length, np.float32) if np.isfinite(length) and length > 0 else None

    def _load(self) -> Any:
        try:
            with silenced(self._cv2):
                net = self._cv2.FaceRecognizerSF.create(self._file, "")
                net.feature(np.zeros((112, 112, 3), np.uint8))
        except self._cv2.error as error:
            raise InputError(
                f"face_features {self._file}: not the ONNX file of SFace that OpenCV can read", "face_features"
            ) from error
        return net
