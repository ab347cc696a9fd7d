"""Answers that a person can read: which expression a video shows, when and on whose face."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.inference.faces import YuNet
    from peclip.inference.recognizer import Recognizer, Row
    from peclip.inference.timeline import Timeline
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Recognizer": "peclip.inference.recognizer",
            "Row": "peclip.inference.recognizer",
            "Timeline": "peclip.inference.timeline",
            "YuNet": "peclip.inference.faces",
        },
    )

__all__ = ("Recognizer", "Row", "Timeline", "YuNet")
