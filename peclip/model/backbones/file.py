"""Files of weights as backbones: state dicts of CLIP in OpenAI's layout, such as FaRL's and OpenAI's own."""

import math
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from peclip.errors import InputError, first_line
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.open_clip import CONFIG, WEIGHTS
from peclip.model.backbones.openai import Names, clip_of
from peclip.model.torch_file import read_tensors

EXPECTED = "a state dict of CLIP in OpenAI's layout (visual.conv1.weight and so on)"

OF_OPEN_CLIP = [name for name in WEIGHTS if name.startswith("open_clip")]
"""Names of files that open_clip alone writes."""

WRAPPERS = ("module.", "model.")
"""Prefixes that programs put before all names."""


def load_file(name: str, path: Path) -> CLIP:
    """Load the CLIP in a file, without a tokenizer. Nothing that the file pickles is run.

    Args:
        name: name of the backbone.
        path: path of a ``.pt``, ``.pth``, ``.bin`` or ``.safetensors`` file.

    Raises:
        InputError: the file is of another format or program, which the message names, or cannot be read safely.
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape.
    """
    state = _read(path)
    if path.name in OF_OPEN_CLIP or "text.positional_embedding" in state:
        raise InputError(
            f"it is of open_clip, where a {CONFIG} states activation and attention heads, which no weight shows: name the folder of both"
        )
    for prefix in WRAPPERS:
        if f"{prefix}visual.proj" in state or f"{prefix}visual.conv1.weight" in state:
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    _check_format(state)
    state.setdefault("logit_scale", torch.tensor(math.log(100)))  # not all programs store it, and no feature needs it
    return clip_of(state, Names(), name)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_safetensors(path)
        except SafetensorError as error:
            raise InputError(f"it is damaged, or not a safetensors file: {first_line(error)}") from error
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
        if any(entry.endswith("/constants.pkl") for entry in names):
            raise InputError(
                "it is a TorchScript archive, which is a program: save its weights alone, "
                "torch.save(torch.jit.load(FILE).state_dict(), NEW), or use the same CLIP from the Hub"
            )
        if not any(entry.endswith("/data.pkl") for entry in names):
            raise InputError(f"it is a zip archive, expected {EXPECTED}")
    return read_tensors(path, EXPECTED)


def _check_format(state: dict[str, Tensor]) -> None:
    """Check that tensors are those of a CLIP in OpenAI's layout.

    Raises:
        InputError: they are something else; the message says what.
    """
    if "visual.class_embedding" in state:
        return
    names = [name.removeprefix("module.") for name in state]
    known = {
        "prompt_learner.": "a trained model of the authors' program: use it with --ckpt_path",
        "net.adapters.": "a checkpoint of peclip, a trained model: use it with --ckpt_path or --init_from",
        "net.prompts.": "a checkpoint of peclip, a trained model: use it with --ckpt_path or --init_from",
        "vision_model.": "the weights of a Hugging Face model: name the folder in which it is, with config.json",
        "text_model.": "the weights of a Hugging Face model: name the folder in which it is, with config.json",
        "visual.layer1.": "a CLIP with a ResNet, expected one with a vision transformer",
        "visual.trunk.": "an open_clip model with a vision tower of timm, expected CLIP's own",
    }
    for prefix, what in known.items():
        if any(name.startswith(prefix) for name in names):
            raise InputError(f"it holds {what}")
    raise InputError(f"it holds tensors such as {min(names)!r}, expected {EXPECTED}")
