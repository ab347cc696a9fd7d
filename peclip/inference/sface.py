"""Compare faces by identity: SFace, run by OpenCV (the extra ``faces``)."""

from pathlib import Path
from typing import Any

import numpy as np

from peclip.errors import InputError
from peclip.inference.faces import YuNet, fetch, silenced

HUB = "opencv/face_recognition_sface"
HUB_FILES = ("face_recognition_sface_2021dec.onnx",)


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
        self._file = fetch(HUB, HUB_FILES, "SFace", "face_features") if model is None else model
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
