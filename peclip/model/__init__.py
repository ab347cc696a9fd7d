"""The model: a frozen CLIP, adapters and prompts put into it, and class texts."""

from peclip.model.io import ModelConfig, Trained, read_released, read_trained
from peclip.model.parts.adapters import PE_CLIP, Adapter, SharedAdapter, TemporalDynamicAdapter, TextAdapter
from peclip.model.parts.adaptformer import AdaptFormer
from peclip.model.parts.aim import AIMJointAdapter, AIMTemporalAdapter
from peclip.model.parts.prompts import VPT, CoOp, MaPLe, Prompts
from peclip.model.parts.st_adapter import STAdapter
from peclip.model.parts.temporal import AttentionPool, GRUHead, MeanPool, TemporalHead, TransformerHead
from peclip.model.peclip import PEClip, load_released

__all__ = (
    "PE_CLIP",
    "VPT",
    "AIMJointAdapter",
    "AIMTemporalAdapter",
    "AdaptFormer",
    "Adapter",
    "AttentionPool",
    "CoOp",
    "GRUHead",
    "MaPLe",
    "MeanPool",
    "ModelConfig",
    "PEClip",
    "Prompts",
    "STAdapter",
    "SharedAdapter",
    "TemporalDynamicAdapter",
    "TemporalHead",
    "TextAdapter",
    "Trained",
    "TransformerHead",
    "load_released",
    "read_released",
    "read_trained",
)
