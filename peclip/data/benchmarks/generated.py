"""The synthetic demo data, as ``peclip.demo.generate`` writes them: a folder per task with a manifest."""

from pathlib import Path

from peclip.data.benchmarks.layout import check_root
from peclip.data.manifest import Manifest
from peclip.errors import InputError


def demo(root: Path) -> Manifest:
    """Read the clips of the demo: synthetic faces that show seven expressions.

    Args:
        root: folder given to :func:`peclip.demo.generate`, which has the folder ``demo``.

    Raises:
        InputError: the clips are missing.
    """
    return _read(root, "demo")


def demo_order(root: Path) -> Manifest:
    """Read the clips of the order demo: a smile that appears or fades, which differ in the order of frames alone.

    Args:
        root: folder given to :func:`peclip.demo.generate`, which has the folder ``demo_order``.

    Raises:
        InputError: the clips are missing.
    """
    return _read(root, "demo_order")


def _read(root: Path, name: str) -> Manifest:
    check_root(root)
    manifest = root / name / "manifest.csv"
    if not manifest.is_file():
        raise InputError(
            f"{root}: the clips of {name} are missing, expected {name}/manifest.csv: peclip fit generates them, in Python "
            f"peclip.demo.generate({name!r}, {str(root)!r})"
        )
    return Manifest.read(manifest)
