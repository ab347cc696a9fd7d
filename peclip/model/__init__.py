"""The model: a frozen CLIP, adapters and prompts put into it, and class texts."""

from peclip.model.adapters import Adapter, SharedAdapter, TemporalDynamicAdapter, TextAdapter
from peclip.model.peclip import PEClip
from peclip.model.prompts import MaPLe
from peclip.model.released import load_released

__all__ = ("Adapter", "MaPLe", "PEClip", "SharedAdapter", "TemporalDynamicAdapter", "TextAdapter", "load_released")
