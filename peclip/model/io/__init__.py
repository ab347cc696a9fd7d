"""Trained models on disk: runs, checkpoints, packages, released files and ONNX. Readers return plain data."""

from peclip.model.io.checkpoint import read_trained
from peclip.model.io.released import read_released
from peclip.model.io.trained import ModelConfig, Trained

__all__ = ("ModelConfig", "Trained", "read_released", "read_trained")
