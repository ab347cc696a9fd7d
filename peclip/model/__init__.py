"""The model: a frozen CLIP, adapters and prompts put into it, and class texts."""

from peclip.model.io.released import load_released
from peclip.model.parts.adapters import Adapter, SharedAdapter, TemporalDynamicAdapter, TextAdapter
from peclip.model.parts.prompts import MaPLe
from peclip.model.peclip import PEClip

__all__ = ("Adapter", "MaPLe", "PEClip", "SharedAdapter", "TemporalDynamicAdapter", "TextAdapter", "load_released")
