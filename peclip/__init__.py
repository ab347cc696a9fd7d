"""peclip: dynamic facial expression recognition with PE-CLIP. Importing the package imports no torch."""

import sys
from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if sys.platform == "win32":
    raise ImportError("peclip needs Linux or macOS: on Windows, install it in WSL 2 (Windows Subsystem for Linux)")

if TYPE_CHECKING:
    from peclip.clip_format import ClipFormat
    from peclip.data.datamodule import VideoDataModule
    from peclip.data.manifest import Manifest
    from peclip.errors import InputError
    from peclip.inference.recognizer import Recognizer
    from peclip.model import PEClip, load_released
    from peclip.train.module import PEClipModule
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ClipFormat": "peclip.clip_format",
            "InputError": "peclip.errors",
            "Manifest": "peclip.data.manifest",
            "PEClip": "peclip.model",
            "PEClipModule": "peclip.train.module",
            "Recognizer": "peclip.inference.recognizer",
            "VideoDataModule": "peclip.data.datamodule",
            "load_released": "peclip.model",
        },
    )

__version__ = "0.1.0"

__all__ = (
    "ClipFormat",
    "InputError",
    "Manifest",
    "PEClip",
    "PEClipModule",
    "Recognizer",
    "VideoDataModule",
    "load_released",
)
