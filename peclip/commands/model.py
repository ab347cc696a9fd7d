"""``peclip export`` and ``peclip import``: a trained model as an adapter package or as one ONNX file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from peclip.errors import InputError
from peclip.terminal import say

if TYPE_CHECKING:
    from peclip.model.io.trained import Trained


def export(
    run: str,
    out: str,
    format: Literal["package", "onnx"] = "package",
    dtype: Literal["fp32", "bf16", "fp16", "int8"] = "fp32",
    backbone: str | None = None,
    trust: bool = False,
) -> None:
    """Write a trained model as a package, or as an ONNX file that runs without peclip.

    Args:
        run: the model: folder of a run, a .ckpt file, a package or its id on the Hub, or a released .pth.
        out: folder of the package; for onnx the file, or a folder in which it becomes model.onnx.
        format: package contains adapters, prompts and a model card; onnx the whole vision tower.
        dtype: precision of the weights: bf16 halves a package; fp16 halves an ONNX file, int8 quarters it.
        backbone: Hub id or folder of the CLIP for onnx, if it has moved since the training.
        trust: import classes of other packages that the model names; for models of people you trust.

    Raises:
        InputError: the model cannot be read, the target exists, or the format has no such dtype.
    """
    from peclip.model import PEClip
    from peclip.model.io.checkpoint import read_trained
    from peclip.model.io.package import check_free, with_record
    from peclip.model.io.spec import trusting

    if format == "package" and backbone is not None:
        raise InputError("backbone is for onnx: a package keeps the name that its CLIP had in the training", "backbone")
    if format == "package" and out.endswith(".onnx"):
        raise InputError(f"out is {out}, but format is package, which is a folder: set it to onnx for a file", "format")
    with trusting(everything=trust):
        trained = read_trained(run)
    if format == "package":
        if dtype not in ("fp32", "bf16"):
            raise InputError(f"dtype is {dtype}, but a package has fp32 or bf16: fp16 and int8 are for onnx", "dtype")
        _write(with_record(trained), Path(out), dtype)
        return
    if dtype == "bf16":
        raise InputError("dtype is bf16, but an ONNX file has fp32, fp16 or int8: bf16 is for packages", "dtype")
    from peclip.model.io.onnx import write_onnx

    path = Path(out) if out.endswith(".onnx") else Path(out) / "model.onnx"
    check_free(path)
    parity = write_onnx(PEClip.from_trained(trained, backbone), path, dtype)
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB in {dtype}; {parity}")


def import_released(
    released: str,
    out: str,
    labels: list[str] | None = None,
    texts: list[str] | None = None,
    scope: Literal["clip", "batch"] = "batch",
    dtype: Literal["fp32", "bf16"] = "fp32",
) -> None:
    """Make a package from a checkpoint of the authors' released program.

    Args:
        released: the .pth file; nothing that it pickles is run.
        out: folder of the package.
        labels: names of its classes, in their order; by default the seven of DFEW and FERV39K.
        texts: its class texts, in the same order; by default they are found in the file.
        scope: clips that the temporal adapter's recurrence runs over: batch, all clips of a batch, as in the released program,
            which makes a clip's result depend on its neighbours; or clip, each clip by itself.
        dtype: precision of the weights; bf16 halves the package.

    Raises:
        InputError: the file is not such a checkpoint, the labels do not fit, or the target exists.
    """
    from peclip.labels import class_names, divided
    from peclip.model.io.package import check_free
    from peclip.model.io.released import read_released

    check_free(Path(out))
    trained = read_released(Path(released), texts=texts, scope=scope)
    if labels is not None:
        names, classes = class_names(divided(labels)), len(trained.config.labels)
        if len(names) != classes:
            raise InputError(f"labels: {len(names)} names, but {released} has {classes} classes", "labels")
        trained = replace(trained, config=replace(trained.config, labels=names))
    _write(trained, Path(out), dtype)


def _write(trained: "Trained", folder: Path, dtype: Literal["fp32", "bf16"]) -> None:
    from peclip.model.io.package import WEIGHTS, write_package

    write_package(trained, folder, dtype)
    size = (folder / WEIGHTS).stat().st_size / 1e6
    say(f"{folder}: a package of {size:.1f} MB for the backbone {trained.config.backbone}")
