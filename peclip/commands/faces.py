"""``peclip faces``: the clips of a manifest -> clips of their faces, to train on what recognition feeds to a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from peclip.terminal import say


def faces(
    manifest: str,
    out: str,
    size: int = 224,
    upright: bool = False,
    workers: int | None = None,
    face_model: str | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> None:
    """Crop the face that each clip shows longest, found and followed as peclip recognize does; interrupted, it resumes.

    Args:
        manifest: csv file that peclip prepare wrote, or any other manifest.
        out: Folder for the crops and their manifest.csv, which data.manifest accepts in training.
        size: Side of the crops in pixels, an even number: that of the model.
        upright: Turn faces so that the eyes are level; the model then needs --model.net.upright true.
        workers: Clips read at a time; one for each core by default.
        face_model: ONNX file of YuNet; by default it is downloaded from the Hub once.
        on_error: End at a clip that cannot be read, or skip it; without_face.csv lists those that are skipped.
    """
    from peclip.console import progress_bars
    from peclip.data.manifest import Manifest
    from peclip.errors import InputError, counted
    from peclip.inference.face_clips import MANIFEST, WITHOUT, Cropping, crop_faces

    cores = os.cpu_count() or 1
    cropping = Cropping(size, upright, cores if workers is None else workers, on_error == "skip", face_model)
    table = Manifest.read(manifest, labels_required=False, allow_outside=True)
    with progress_bars() as progress:
        found = crop_faces(table, Path(out), cropping, progress)
    if not len(found.manifest):
        raise InputError(
            f"none of {counted(len(table), 'clip')} shows a face that can be followed: see {Path(out) / WITHOUT}"
        )
    say(f"{len(found.manifest)} of {len(table)} clips show a face: {out}")
    if found.without or found.unreadable:
        unreadable = f", {found.unreadable} that cannot be read" if found.unreadable else ""
        say(f"{found.without} without a face{unreadable}: listed in {Path(out) / WITHOUT}")
    turned = " --model.net.upright true" if upright else ""
    say(f"train on them with --data.manifest {Path(out) / MANIFEST}{turned}")
