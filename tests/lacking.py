"""Find what some tests need and not every machine has, and say how to provide it."""

from __future__ import annotations

import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache

HUB, HUB_FILES = (
    "opencv/face_detection_yunet",
    ("face_detection_yunet_2026may.onnx", "face_detection_yunet_2023mar.onnx"),
)
"""As in peclip.inference.faces, which imports torch: the process that hands out the tests needs none."""

SHARED = Path(__file__).parents[2] / "shared"


def find_yunet() -> Path | None:
    """Return the ONNX file of YuNet: that of PECLIP_FACE_MODEL, else that in the Hub's local cache, else that in ../shared."""
    if named := os.environ.get("PECLIP_FACE_MODEL"):
        return Path(named)
    cached = [path for name in HUB_FILES if isinstance(path := try_to_load_from_cache(HUB, name), str)]
    found = [path for path in (*map(Path, cached), SHARED / "models" / HUB_FILES[0]) if path.exists()]
    return found[0] if found else None


YUNET = find_yunet()

NODE_MODULES = os.environ.get("PECLIP_NODE_MODULES")
"""Folder ``node_modules`` with onnxruntime-web, for the example that runs in pages."""

PROVIDE = {
    "YuNet": f"set PECLIP_FACE_MODEL to its file, or fetch it once: hf download {HUB} {HUB_FILES[0]}",
    "OpenCV": 'pip install "peclip[faces]"',
    "sentencepiece": 'pip install "peclip[siglip]"',
    "openpyxl": 'pip install "peclip[votes]"',
    "ONNX": 'pip install "peclip[onnx]"',
    "onnxruntime-web": "npm install onnxruntime-web, and set PECLIP_NODE_MODULES to the node_modules that it makes",
    "Gradio": 'pip install "peclip[app]"',
    "Chromium": "apt-get install chromium",
    "Optuna": 'pip install "peclip[optuna]"',
    "MLflow": 'pip install "peclip[mlflow]"',
    "real videos": "lay the project's own videos into ../shared/media",
}
"""Advice on how to provide the need of a test, by the word after "needs" in the reason for which it is skipped."""


def needs(what: str) -> str:
    """Return the reason for which a test is skipped that needs something."""
    assert what in PROVIDE
    return f"needs {what}"


needs_yunet = pytest.mark.skipif(YUNET is None, reason=needs("YuNet"))

needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason=needs("Gradio"))
"""Looks for it without importing it, which takes seconds of every process of the tests."""


def summary(reasons: list[str]) -> str:
    """Return one line about the tests that were skipped for lack of something, empty where there were none.

    Args:
        reasons: of all tests that were skipped.
    """
    lacking = Counter(what for reason in reasons for what in PROVIDE if reason.endswith(needs(what)))
    if not lacking:
        return ""
    ways = "; ".join(f"{count} for lack of {what} ({PROVIDE[what]})" for what, count in lacking.items())
    return f"{lacking.total()} test{' was' if lacking.total() == 1 else 's were'} skipped: {ways}"
