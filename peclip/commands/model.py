"""``peclip export`` and ``peclip import``: a trained model as an adapter package or as one ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from peclip.errors import InputError

if TYPE_CHECKING:
    from peclip.model.io.trained import Trained


def export(
    run: str,
    out: str,
    format: Literal["package", "onnx"] = "package",
    dtype: Literal["fp32", "bf16"] = "fp32",
    backbone: str | None = None,
) -> None:
    """Write a trained model as a package, or as an ONNX file that runs without peclip.

    Args:
        run: the model: folder of a run, a .ckpt file, a package or its id on the Hub, or a released .pth.
        out: folder of the package; for onnx the file, or a folder in which it becomes model.onnx.
        format: package holds adapters and prompts alone, with a model card; onnx the whole vision part.
        dtype: precision of the weights of a package; bf16 halves it.
        backbone: for onnx, where the CLIP is if not at the name that the model had it by in training.

    Raises:
        InputError: the model cannot be read, there is something at the target, or ONNX is asked for in bf16.
    """
    import transformers

    from peclip.model.io.checkpoint import read_trained, rebuild, with_record
    from peclip.model.io.package import check_free

    transformers.logging.disable_progress_bar()
    trained = read_trained(run)
    if format == "package":
        _write(with_record(trained), Path(out), dtype)
        return
    if dtype != "fp32":
        raise InputError("dtype is bf16: an ONNX file is written in fp32; bf16 is for packages")
    from peclip.model.io.onnx import write_onnx

    path = Path(out) if out.endswith(".onnx") else Path(out) / "model.onnx"
    check_free(path)
    difference = write_onnx(rebuild(trained, backbone), path)
    Console().print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; its logits differ from those of torch by at most {difference:.1e}",
        highlight=False,
        soft_wrap=True,
    )


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
        scope: over what the temporal adapter runs: batch as the released program does, over all clips of a batch, so
            that a clip's result depends on its neighbours; clip over each clip by itself.
        dtype: precision of the weights; bf16 halves the package.

    Raises:
        InputError: the file is no such checkpoint, the labels do not fit, or there is something at the target.
    """
    from peclip.model.io.checkpoint import from_released
    from peclip.model.io.package import check_free
    from peclip.model.io.released import load_released

    check_free(Path(out))
    trained = from_released(load_released(released, texts=texts, scope=scope), released)
    if labels is not None:
        classes = len(trained.config["labels"])
        if len(set(labels)) != classes or len(labels) != classes:
            raise InputError(f"labels: {len(set(labels))} names, but {released} has {classes} classes")
        trained.config["labels"] = labels
    _write(trained, Path(out), dtype)


def _write(trained: "Trained", folder: Path, dtype: Literal["fp32", "bf16"]) -> None:
    from peclip.model.io.package import WEIGHTS, write_package

    write_package(trained, folder, dtype)
    size = (folder / WEIGHTS).stat().st_size / 1e6
    Console().print(
        f"{folder}: a package of {size:.1f} MB for the backbone {trained.config['backbone']}", highlight=False
    )
