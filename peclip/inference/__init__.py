"""Answers that a person can read: which expression a video shows, when and on whose face."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.inference.faces import SFace, YuNet
    from peclip.inference.join import Joiner
    from peclip.inference.per_frame import FaceInFrame, faces_in_frames
    from peclip.inference.recognizer import Recognizer, Row
    from peclip.inference.timeline import Timeline
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "FaceInFrame": "peclip.inference.per_frame",
            "Joiner": "peclip.inference.join",
            "Recognizer": "peclip.inference.recognizer",
            "Row": "peclip.inference.recognizer",
            "SFace": "peclip.inference.faces",
            "Timeline": "peclip.inference.timeline",
            "YuNet": "peclip.inference.faces",
            "faces_in_frames": "peclip.inference.per_frame",
        },
    )

__all__ = ("FaceInFrame", "Joiner", "Recognizer", "Row", "SFace", "Timeline", "YuNet", "faces_in_frames")
