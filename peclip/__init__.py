"""peclip: dynamic facial expression recognition with PE-CLIP. Importing the package imports no torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peclip.inference.recognizer import Recognizer
    from peclip.model import PEClip

__version__ = "0.1.0"

__all__ = ("PEClip", "Recognizer")

_HOMES = {"PEClip": "peclip.model", "Recognizer": "peclip.inference.recognizer"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
