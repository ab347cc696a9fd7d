"""FERV39K: 22 scenes, frames as ``2_ClipsforFaceCrop/Action/Sad/0010/*.jpg``, splits as lists without a header."""

import re
from pathlib import Path
from typing import Any, Literal

from peclip.data.benchmarks.layout import children, locate, read_lines, to_label, to_manifest
from peclip.data.manifest import Manifest
from peclip.errors import InputError, shown
from peclip.labels import SEVEN

FRAMES = {"faces": "2_ClipsforFaceCrop", "scenes": "3_ClipsforScenImages"}


def ferv39k(root: Path, scene: str | None = None, form: Literal["faces", "scenes"] = "faces") -> Manifest:
    """Read FERV39K.

    Args:
        root: folder with ``2_ClipsforFaceCrop`` and ``4_setups``.
        scene: one of the 22 scenes, with its own split; all of them by default.
        form: cropped faces, or the whole pictures.

    Raises:
        InputError: a folder is missing, a scene or an emotion is unknown, or a line is not ``SCENE/EMOTION/ID EMOTION``.
    """
    frames = locate(root, "FERV39K", FRAMES[form])
    base = frames.parent
    rows: list[dict[str, Any]] = []
    for split in ("train", "test"):
        path = _list_of(base, split, scene)
        source = str(path.relative_to(base))
        for line, text in read_lines(path):
            where = f"{base / source} line {line}"
            name, _, emotion = re.sub(r"[ \t,;]+", " ", text).partition(" ")
            if name.count("/") != 2 or not emotion or emotion.isdecimal():
                raise InputError(
                    f"{where}: {shown(text)} is not SCENE/EMOTION/ID EMOTION, as in 'Action/Sad/0010 Sad'; for lists of other "
                    "forms see peclip prepare list --help"
                )
            label = to_label(emotion, SEVEN, where)
            rows.append(
                {"path": f"{FRAMES[form]}/{name}", "label": label, "split": split, "source": source, "line": line}
            )
    return to_manifest(rows, base)


def _list_of(base: Path, split: str, scene: str | None) -> Path:
    """Return the file that lists a split."""
    if scene is None:
        return locate(base, "FERV39K", f"4_setups/All_scenes/{split}_All.csv")
    folder = locate(base, "FERV39K", "4_setups/22_scenes")
    lists = {path.stem.removeprefix(f"{split}_"): path for path in children(folder) if path.stem.startswith(split)}
    for name, path in lists.items():
        if name.lower() == scene.lower():
            return path
    raise InputError(f"{folder}: no scene {scene!r}, expected one of {', '.join(lists)}")
