"""The model: a frozen CLIP, adapters and prompts put into it, and class texts."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.model.io.released import load_released
    from peclip.model.parts.adapters import Adapter, SharedAdapter, TemporalDynamicAdapter, TextAdapter
    from peclip.model.parts.prompts import MaPLe
    from peclip.model.peclip import PEClip
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Adapter": "peclip.model.parts.adapters",
            "MaPLe": "peclip.model.parts.prompts",
            "PEClip": "peclip.model.peclip",
            "SharedAdapter": "peclip.model.parts.adapters",
            "TemporalDynamicAdapter": "peclip.model.parts.adapters",
            "TextAdapter": "peclip.model.parts.adapters",
            "load_released": "peclip.model.io.released",
        },
    )

__all__ = ("Adapter", "MaPLe", "PEClip", "SharedAdapter", "TemporalDynamicAdapter", "TextAdapter", "load_released")
