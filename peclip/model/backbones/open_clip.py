"""Folders of open_clip as backbones: ``open_clip_config.json`` and weights in OpenAI's layout."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from peclip.clip_format import CLIP_MEAN, CLIP_STD
from peclip.errors import shown
from peclip.model.backbones.checks import read_settings
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.contract import Pixels
from peclip.model.backbones.openai import Details, Names, clip_of
from peclip.model.torch_file import read_tensors

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")

VISION = {
    "width": ("hidden_size", 768),
    "layers": ("num_hidden_layers", 12),
    "patch_size": ("patch_size", 16),
    "image_size": ("image_size", 224),
}
TEXT = {
    "width": ("hidden_size", 512),
    "layers": ("num_hidden_layers", 12),
    "context_length": ("max_position_embeddings", 77),
    "vocab_size": ("vocab_size", 49408),
}
"""Sizes of a tower that the shapes of its weights show: Hugging Face's name of each, and open_clip's default."""

SIZES = {*VISION, *TEXT, "heads", "head_width", "mlp_ratio"}
"""Settings of a tower that have to be those of its weights, or that are read below."""

HARMLESS = (
    "norm_kwargs",
    "patch_dropout",
    "output_tokens",
    "hf_tokenizer_name",
    "tokenizer_kwargs",
    "text_mask",
    "pad_id",
)
"""Settings of a tower that are read below, or change nothing in the features of CLIP's own towers."""

USUAL = {"pool_type": ("tok", "argmax"), "pos_embed_type": ("learnable",), "proj_type": ("linear",)}
"""Values that other settings have in CLIP's own towers, besides none, false and zero."""


def load_open_clip(name: str, folder: Path) -> CLIP:
    """Load the CLIP in a folder of open_clip, without its tokenizer.

    Args:
        name: name of the backbone.
        folder: folder of its files.

    Raises:
        ValueError: its configuration is damaged or not that of a CLIP with CLIP's own towers, or its weights do not fit.
        KeyError: a tensor is missing.
        InputError: the file of its weights cannot be read safely.
    """
    plain = read_settings(folder / CONFIG)
    model = _section(plain, "model_cfg")
    vision, text = _section(model, "vision_cfg"), _section(model, "text_cfg")
    for section, entries in (("vision_cfg", vision), ("text_cfg", text)):
        _check_tower(section, entries)
    if "multimodal_cfg" in model:
        raise ValueError("model_cfg has a multimodal_cfg, expected a vision and a text tower")
    state = {key.removeprefix("module."): value.float() for key, value in _read(folder).items()}
    prefix = "text." if "text.positional_embedding" in state else ""
    details = Details(
        vision_heads=_size(vision, "width", 768) // _size(vision, "head_width", 64),
        text_heads=_size(text, "heads", 8),
        activation="quick_gelu" if model.get("quick_gelu") else "gelu",
        vision_eps=_eps(vision),
        text_eps=_eps(text),
    )
    backbone = clip_of(state, Names(text=prefix, table=prefix), name, details, _pixels(plain))
    _check_sizes("vision_cfg", vision, VISION, backbone.clip.config.vision_config)
    _check_sizes("text_cfg", text, TEXT, backbone.clip.config.text_config)
    return backbone


def _check_tower(section: str, entries: dict[str, Any]) -> None:
    """Check that a tower is one of CLIP's.

    Raises:
        ValueError: it is another one.
    """
    _size(entries, "layers", 12)
    for name, value in entries.items():
        if name not in {*SIZES, *HARMLESS} and value and value not in USUAL.get(name, ()):
            raise ValueError(
                f"{section} has {name} {shown(value)}, but of open_clip's models only those with CLIP's own towers work; "
                "SigLIP and MetaCLIP 2 work from their Hugging Face folders"
            )


def _check_sizes(section: str, entries: dict[str, Any], sizes: dict[str, tuple[str, int]], tower: Any) -> None:
    """Check that a tower has the sizes that its configuration states: the number of its attention heads follows from them.

    Raises:
        ValueError: it has others.
    """
    for name, (own, usual) in sizes.items():
        if (stated := _size(entries, name, usual)) != (found := getattr(tower, own)):
            raise ValueError(f"{section} has {name} {stated}, but the weights are those of {found}")


def _read(folder: Path) -> dict[str, Tensor]:
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(f"it has none of {', '.join(WEIGHTS)}")
    return load_file(path) if path.suffix == ".safetensors" else read_tensors(path, "the weights of a CLIP")


def _pixels(plain: dict[str, Any]) -> Pixels:
    """Return mean and standard deviation of the pixels: open_clip's own default is OpenAI's."""
    entries = _section(plain, "preprocess_cfg") if "preprocess_cfg" in plain else {}
    mean, std = (
        tuple(map(float, entries.get(key) or usual)) for key, usual in (("mean", CLIP_MEAN), ("std", CLIP_STD))
    )
    return mean, std  # type: ignore[return-value]  # their length is checked with the clip format


def _section(plain: dict[str, Any], name: str) -> dict[str, Any]:
    found = plain.get(name)
    if isinstance(found, dict):
        return found
    raise ValueError(f"{CONFIG} has no {name}")


def _size(entries: dict[str, Any], name: str, usual: int) -> int:
    value = entries.get(name, usual)
    if isinstance(value, list) and len({*map(str, value)}) == 1:  # height and width
        value = value[0]
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} is {shown(value)}, expected a whole number above 0")
    return value


def _eps(entries: dict[str, Any]) -> float:
    settings = _section(entries, "norm_kwargs") if entries.get("norm_kwargs") else {}
    return float(settings.get("eps", 1e-5))
