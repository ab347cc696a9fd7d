"""Write the vision part of a PEClip as one ONNX file with constant text features, and compare its logits with torch."""

import importlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from peclip import __version__
from peclip.errors import InputError, counted, first_line
from peclip.files import atomic_write
from peclip.model.fast.gru import GRU
from peclip.model.io.onnx_dtype import OnnxDtype, in_dtype
from peclip.model.peclip import PEClip

OPSET = 18
"""Version of the ONNX operators in the file; ONNX Runtime knows it since 1.14."""

TOLERANCE = 1e-4
"""Largest difference allowed between the logits of a file in fp32 and those of torch."""

SHAPES = ((1, 1), (3, 2))
"""Clips and frames of the batches on which the two are compared, besides clips of the trained length."""

COMPARED = 4
"""Clips of the trained length on which the two are compared; one in fp32."""

OLDEST_TORCH = "2.13"
"""Version of torch that can write clips of any number of frames."""

LARGEST = 1_900_000_000
"""Bytes of weights that fit into one file; the format is limited to 2 GiB."""


@dataclass(frozen=True)
class Parity:
    """Difference of the logits of a file from those of torch, on clips of noise.

    Attributes:
        worst: largest difference of a logit.
        mean: mean difference of the logits.
        agreed: number of clips with the same predicted class.
        clips: number of clips that were compared.
    """

    worst: float
    mean: float
    agreed: int
    clips: int

    def __str__(self) -> str:
        """Return a sentence for people."""
        return (
            f"its logits differ from those of torch by at most {self.worst:.1e}, on average {self.mean:.1e}; the answer is the "
            f"same for {self.agreed} of {self.clips} clips of noise"
        )


class Vision(nn.Module):
    """The module that is exported: normalised clips (B, T, 3, H, W) in, logits (B, C) out."""

    text: Tensor

    def __init__(self, net: PEClip) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("text", rearrange(net.logit_scale * net.encode_text(), "c d -> d c"))

    def forward(self, video: Tensor) -> Tensor:
        """Return the logits (B, C) of normalised clips, float (B, T, 3, H, W)."""
        logits = self.net.encode_video(video) @ self.text
        return logits + self.net.logit_bias if self.net.logit_bias else logits


@torch.no_grad()
def write_onnx(net: PEClip, path: Path, dtype: OnnxDtype = "fp32") -> Parity:
    """Write the vision part of a model as an ONNX file, after comparing it with torch on several shapes.

    Input ``video``, float32 (B, T, 3, H, W), is normalised as for :meth:`PEClip.forward`; B and T are dynamic.
    Output ``logits`` is (B, C). The file's metadata describe the preprocessing of the input and the columns of the output.

    Args:
        net: the model, on the CPU in fp32.
        path: path of the file, which appears when it is complete and has passed the comparison.
        dtype: precision of the weights, see :func:`in_dtype`.

    Returns:
        The difference from torch.

    Raises:
        InputError: a package of the extra ``onnx`` is missing or torch too old, the model is too large for one file, the file cannot be
            written, or its logits differ from those of torch by more than :data:`TOLERANCE` in fp32, or are not finite.
    """
    onnx, onnxruntime, _ = (_need(name) for name in ("onnx", "onnxruntime", "onnxscript"))
    if torch.__version__ < OLDEST_TORCH:
        raise InputError(
            f"ONNX needs torch {OLDEST_TORCH}, but {torch.__version__} is installed: pip install 'torch>={OLDEST_TORCH}'"
        )
    size = sum(weight.numel() * 4 for weight in net.backbone.towers["vision"].module.parameters())
    if size > LARGEST:
        raise InputError(f"the vision tower of {net.backbone.name!r} has {size / 1e9:.1f} GB, an ONNX file holds 2 GB")
    net.eval()
    with atomic_write(path) as temporary, TemporaryDirectory() as folder:
        model = in_dtype(onnx, _exported(net), dtype, Path(folder))
        _describe(onnx, model, net, dtype)
        onnx.save(model, temporary)
        return compare(net, temporary, onnxruntime, dtype)


@torch.no_grad()
def compare(net: PEClip, path: Path, onnxruntime: Any, dtype: OnnxDtype = "fp32") -> Parity:
    """Compare the logits of a file with those of torch.

    Raises:
        InputError: in fp32 they differ by more than :data:`TOLERANCE`, or they are not finite.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # in fp16 it warns of what it computes at every call on a CPU
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    limit = TOLERANCE if dtype == "fp32" else float("inf")
    differences, agreed = [], 0
    for shape in (*SHAPES, (1 if dtype == "fp32" else COMPARED, net.clip_format.num_frames)):
        video = torch.randn(*shape, 3, net.image_size, net.image_size, generator=generator)
        logits, expected = torch.from_numpy(session.run(None, {"video": video.numpy()})[0]), net(video)
        difference = (logits - expected).abs()
        if not (difference.isfinite().all() and difference.max() <= limit):
            raise InputError(
                f"the ONNX file was not kept: on {counted(shape[0], 'clip')} of {counted(shape[1], 'frame')} its logits differ from those of "
                f"torch by {float(difference.max()):.1e}, expected at most {limit:.0e}"
            )
        differences.append(difference.flatten())
        agreed += int((logits.argmax(dim=1) == expected.argmax(dim=1)).sum())
    found = torch.cat(differences)
    return Parity(float(found.max()), float(found.mean()), agreed, len(found) // len(net.labels))


def _exported(net: PEClip) -> Any:
    """Return the ONNX graph of a model, with dynamic B and T."""
    example = torch.zeros(2, 3, 3, net.image_size, net.image_size)  # export takes a 1 for a constant
    shapes = {"video": {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}}
    with _quiet(), _recurrences(net):
        try:
            program = torch.export.export(Vision(net), (example,), dynamic_shapes=shapes)
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=["video"],
                output_names=["logits"],
                dynamic_shapes=shapes,
                verbose=False,
            )
        except (RuntimeError, TypeError, ValueError) as error:  # an adapter from elsewhere may do what ONNX cannot
            raise InputError(f"this model cannot be written as ONNX: {first_line(error)}") from error
    assert exported is not None
    return exported.model_proto


GATES = {"GRU": ("GRU", (1, 0, 2)), "LSTM": ("LSTM", (0, 3, 1, 2)), "RNN_TANH": ("RNN", (0,))}
"""ONNX operator of each recurrence of torch, and the order of torch's gates in it."""


class Recurrence(nn.Module):
    """ONNX operator that replaces a recurrence of torch, which an exported graph would unroll to a fixed T.

    Args:
        rnn: a GRU, nn.LSTM or nn.RNN with one layer, forward, batch first.
    """

    inputs: Tensor
    hidden: Tensor
    bias: Tensor

    def __init__(self, rnn: GRU | nn.RNNBase) -> None:
        super().__init__()
        self.operator, order = GATES["GRU" if isinstance(rnn, GRU) else rnn.mode]
        self.size = rnn.hidden_size

        def gates(name: str) -> Tensor:
            weight = rnn.get_parameter(f"{name}_l0").detach()
            chunks = weight.chunk(len(order))
            return torch.cat([chunks[index] for index in order])

        self.register_buffer("inputs", gates("weight_ih")[None])
        self.register_buffer("hidden", gates("weight_hh")[None])
        self.register_buffer("bias", torch.cat([gates("bias_ih"), gates("bias_hh")])[None])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the outputs (N, T, R) of all steps for the inputs (N, T, R), and the last (1, N, R); None for a cell state."""
        steps, sequences = x.shape[1], x.shape[0]
        attributes: dict[str, Any] = {"hidden_size": self.size}
        if self.operator == "GRU":
            attributes["linear_before_reset"] = 1  # as torch does it
        out = torch.onnx.ops.symbolic(
            self.operator,
            (rearrange(x, "n t r -> t n r"), self.inputs, self.hidden, self.bias),
            attributes,
            dtype=x.dtype,
            shape=(steps, 1, sequences, self.size),
            version=OPSET,
        )
        return rearrange(out.squeeze(1), "t n r -> n t r"), None if self.operator == "LSTM" else out[-1]


@contextmanager
def _recurrences(net: PEClip) -> Iterator[None]:
    """Replace the recurrences of adapters and temporal head by ONNX operators within the context."""
    found = [
        (parent, name, child)
        for part in (net.adapters, net.temporal)
        for parent in part.modules()
        for name, child in parent.named_children()
        if isinstance(child, GRU) or (isinstance(child, nn.RNNBase) and _is_plain(child))
    ]
    for parent, name, child in found:
        setattr(parent, name, Recurrence(child))
    try:
        yield
    finally:
        for parent, name, child in found:
            setattr(parent, name, child)


def _is_plain(rnn: nn.RNNBase) -> bool:
    is_simple = rnn.num_layers == 1 and not rnn.bidirectional and rnn.batch_first
    return is_simple and rnn.mode in GATES and rnn.bias and not rnn.proj_size


def _describe(onnx: Any, model: Any, net: PEClip, dtype: OnnxDtype) -> None:
    """Write what users of the file need into its metadata, as JSON if it is more than a word."""
    clips = net.clip_format
    preprocessing = {
        "input": "video, float32 (B, T, 3, H, W), RGB",
        "num_frames": clips.num_frames,
        "frames": "T equal segments of the clip, the middle frame of each; a shorter clip repeats its last frame",
        "image_size": clips.image_size,
        "colours": "red, green, blue",
        "resize": "once, from the upright frame: the shorter side to image_size; bicubic, with a wider filter where it shrinks "
        "(FFmpeg's swscale, a = -0.6; Pillow's, a = -0.5, for squares cut out around faces)",
        "crop": "then the centre square",
        "scale": 1 / 255,
        "mean": list(clips.mean),
        "std": list(clips.std),
        "upright": clips.upright,
    }
    nodes = (*model.graph.node, *model.graph.input, *model.graph.output)
    for item in (model.graph, *nodes):  # the exporter's notes for debugging contain paths of this machine
        del item.metadata_props[:]
    onnx.helper.set_model_props(
        model,
        {
            "peclip_version": __version__,
            "backbone": net.backbone.name,
            "labels": json.dumps(net.labels, ensure_ascii=False),
            "texts": json.dumps(net.config.texts, ensure_ascii=False),
            "preprocessing": json.dumps(preprocessing),
            "independent_clips": json.dumps(_is_independent(net)),
            "dtype": dtype,
            "output": "logits (B, C), columns in the order of labels; softmax of logits / temperature gives probabilities",
            "temperature": json.dumps(net.temperature),
        },
    )


@torch.no_grad()
def _is_independent(net: PEClip) -> bool:
    """Return whether the logits of a clip are the same alone and after another one; measured on clips of noise."""
    shape = (2, 2, 3, net.image_size, net.image_size)
    video = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return bool(torch.allclose(net(video)[1:], net(video[1:]), atol=1e-3))


def _need(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"ONNX needs the package {name}, which is missing: pip install 'peclip[onnx]'") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's logs and warnings within the context."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
