"""``peclip bench train``, ``peclip bench eval`` and ``peclip bench decode``: the options and the output."""

from typing import TYPE_CHECKING, Any

from peclip.bench.setup import Setup
from peclip.errors import counted
from peclip.terminal import say

if TYPE_CHECKING:
    from peclip.bench.report import Result


def train(data: str | None = None, num_workers: int = 2, out: str | None = None, **setup: Any) -> None:
    """Time training steps: clips/s, memory, FLOPs, and the share of the device's rate of matrix multiplication.

    Args:
        data: csv manifest; its input is timed separately, to report whether input or compute limits training.
        num_workers: number of processes that decode the clips of --data.
        out: json file to write the figures to.
        setup: options of the measurement, see :class:`Setup`.

    Raises:
        InputError: the device, the model or the backbone is missing, or a number is out of range or contradicts the model.
    """
    measured = Setup(**setup)  # before torch is imported, which takes seconds
    from peclip.bench.input import check_clips, input_entry
    from peclip.bench.loops import measure_training
    from peclip.bench.report import check_out, keep, show

    check_out(out)
    if data is not None:
        check_clips(data)
    result = measure_training(measured)
    show(_title("Training", result), result)
    if data is not None:
        result["input"] = input_entry(
            data, result["batch_size"], result["num_frames"], result["image_size"], num_workers, result["seed"],
            result["clips_per_second"],
        )  # fmt: skip
        say(result["input"]["verdict"])
    keep(result, out)


def evaluate(out: str | None = None, **setup: Any) -> None:
    """Time the evaluation of batches: clips/s, memory, FLOPs, and the share of the device's peak.

    Args:
        out: json file to write the figures to.
        setup: options of the measurement, see :class:`Setup`.

    Raises:
        InputError: the device, the model or the backbone is missing, or a number is out of range or contradicts the model.
    """
    measured = Setup(checkpointing=False, activation_memory_budget=1.0, **setup)
    from peclip.bench.loops import measure_evaluation
    from peclip.bench.report import check_out, keep, show

    check_out(out)
    result = measure_evaluation(measured)
    show(_title("Evaluation", result), result)
    keep(result, out)


def decode(
    data: str | None = None,
    clips: int = 32,
    num_frames: int = 16,
    image_size: int = 224,
    seed: int = 0,
    out: str | None = None,
) -> None:
    """Time the decoding of clips on one core, with the frames of training: random within segments.

    Args:
        data: csv manifest; by default clips are generated: H.264, 3 s at 25 frames/s, 224x224 pixels, textured.
        clips: number of timed decodings, which cycle through the clips.
        num_frames: number T of frames that are read of a clip.
        image_size: side in pixels to which they are scaled.
        seed: seed of the choice of frames, and of the clips that are generated.
        out: json file to write the figures to.

    Raises:
        InputError: a number is out of range, or a clip cannot be decoded.
    """
    from peclip.bench.input import measure_decoding
    from peclip.bench.report import check_out, keep, show

    check_out(out)
    result = measure_decoding(data, clips, num_frames, image_size, seed)
    source = "generated clips" if data is None else data
    here = result["machine"]["device"]
    show(f"Decoding on one core: {num_frames} frames of a clip at {image_size} px, {source}; {here}", result)
    keep(result, out)


def _title(what: str, result: "Result") -> str:
    here = result["machine"]
    threads = f", {here['threads']} threads" if "threads" in here else ""
    parts = [name for name in ("compile", "checkpointing") if result[name]]
    if result["activation_memory_budget"] < 1:
        parts.append(f"activation_memory_budget {result['activation_memory_budget']:g}")
    return (
        f"{what} {result['model'] or result['backbone']} at {result['image_size']} px: {counted(result['batch_size'], 'clip')} of "
        f"{counted(result['num_frames'], 'frame')}, {counted(result['classes'], 'class')}, {', '.join([result['precision'], *parts])}; "
        f"{here['device']}{threads}"
    )
