"""Small manifests for the tests of peclip check."""

import pandas as pd

from peclip.data.manifest import Manifest
from tests.trees import write_clip


def four_clips(tmp_path, frames=16):
    rows = []
    for number, (label, split) in enumerate([("happy", "train"), ("sad", "train"), ("happy", "test"), ("sad", "test")]):
        name = f"{number}.mp4"
        write_clip(tmp_path / name, number, frames)
        rows.append({"path": name, "label": label, "split": split, "source": "m.csv", "line": number + 2})
    return rows


def manifest_of(rows, root):
    return Manifest(pd.DataFrame(rows), source=root / "m.csv", root=root)
