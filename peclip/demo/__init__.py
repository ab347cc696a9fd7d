"""The demo: synthetic faces, the tasks made of them, and the small CLIP that comes with peclip (``clip/``)."""

from pathlib import Path

from peclip.demo.tasks import TASKS, generate

CLIP = Path(__file__).parent / "clip"
"""Folder of the small CLIP; ``backbone: demo`` names it."""

__all__ = ("CLIP", "TASKS", "generate")
