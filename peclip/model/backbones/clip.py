"""Load and freeze a two-tower encoder; know its towers, their widths and the sites where adapters may stand.

Everything that depends on the module names of Hugging Face's ``CLIPModel`` is in this file.
"""

import hashlib
import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoTokenizer, CLIPConfig, CLIPModel

from peclip.demo import CLIP
from peclip.errors import InputError, first_line
from peclip.model.fast.frozen import economise

SITES = ("vision.attention", "vision.mlp", "text.attention", "text.mlp")
"""Where an adapter may stand: on the output of every self-attention or MLP of a tower."""

DEMO = "demo"
"""The backbone name of the small CLIP that comes with peclip."""

UNREADABLE = (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError)
"""What transformers raises at a backbone that is missing, torn or none."""


@dataclass(frozen=True)
class Tower:
    """One tower of the backbone, as injection sees it."""

    name: str
    width: int
    blocks: Sequence[nn.Module]
    entrance: nn.Module
    """The module whose output (N, L, D) the prompts of depth 0 join: before the position embedding of the text tower,
    after that of the vision tower and before ``pre_layrnorm``."""

    def part(self, name: str, block: int) -> nn.Module:
        """Return the ``attention`` or ``mlp`` module of a block."""
        module = getattr(self.blocks[block], {"attention": "self_attn", "mlp": "mlp"}[name])
        assert isinstance(module, nn.Module)
        return module


@dataclass(frozen=True)
class Backbone:
    """A frozen CLIP with its tokenizer (None where token ids are given ready-made)."""

    name: str
    clip: CLIPModel
    tokenizer: Any = None

    @cached_property
    def towers(self) -> dict[str, Tower]:
        """Return the vision and the text tower by name."""
        vision, text = self.clip.vision_model, self.clip.text_model
        return {
            "vision": Tower("vision", vision.config.hidden_size, vision.encoder.layers, vision.embeddings),
            "text": Tower("text", text.config.hidden_size, text.encoder.layers, text.embeddings.token_embedding),
        }

    @cached_property
    def fingerprint(self) -> str:
        """Return a sum over some weights, by which another CLIP is told from this one; empty without weights.

        It is the same for copies in fp32 and fp16, and is to be taken before weights are moved to a lower precision.
        """
        vision, text = self.clip.vision_model, self.clip.text_model
        weights = [
            self.clip.visual_projection.weight,
            self.clip.text_projection.weight,
            vision.embeddings.class_embedding,
            vision.embeddings.position_embedding.weight,
            text.embeddings.position_embedding.weight,
            *(weight for tower in (vision, text) for weight in tower.encoder.layers[-1].mlp.fc2.parameters()),
        ]
        if any(weight.is_meta for weight in weights):
            return ""
        total = hashlib.sha256()
        for weight in weights:
            total.update(weight.detach().to("cpu", torch.float16).numpy().tobytes())
        return total.hexdigest()[:16]

    @property
    def image_size(self) -> int:
        """Return the side, in pixels, of the square frames the vision tower takes."""
        return int(self.clip.vision_model.config.image_size)

    @property
    def context(self) -> int:
        """Return the largest number of tokens of a text."""
        return int(self.clip.text_model.config.max_position_embeddings)


def load_backbone(name: str) -> Backbone:
    """Load a CLIP and its tokenizer in fp32 and freeze it.

    Args:
        name: a Hub id such as ``openai/clip-vit-base-patch16``, a folder that ``save_pretrained`` wrote, or ``demo``.

    Raises:
        InputError: there is no such backbone here and it cannot be fetched, or it is no whole CLIP.
    """
    source = _source(name)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        if not isinstance(config, CLIPConfig):
            raise InputError(f"it is a {config.model_type!r}")
        loaded: Any = CLIPModel.from_pretrained(
            source, config=config, dtype="float32", ignore_mismatched_sizes=True, output_loading_info=True
        )
    except UNREADABLE as error:
        raise InputError(_advice(name, Path(source), error)) from error
    clip, report = loaded
    # What is not there, or of another shape than config.json says, would stay random with no more than a warning.
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(f"backbone {name!r} is no whole CLIP: its weights lack {absent[0]}{more}, or in that shape")
    return Backbone(name, freeze(clip), load_tokenizer(name))


def load_tokenizer(name: str) -> Any:
    """Load the tokenizer of a CLIP.

    Args:
        name: as for :func:`load_backbone`.

    Raises:
        InputError: it is not here and cannot be fetched.
    """
    source = _source(name)
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except UNREADABLE as error:
        raise InputError(_advice(name, Path(source), error)) from error


def freeze(clip: CLIPModel) -> CLIPModel:
    """Take every gradient off the backbone, put it into evaluation mode, and let it compute sparingly."""
    economise(clip)
    return clip.requires_grad_(False).eval()


def expand_site(site: str, towers: dict[str, Tower]) -> list[tuple[str, str, int]]:
    """Resolve a site such as ``vision.mlp`` or ``vision.mlp[6:12]`` to (tower, part, block) triples.

    Raises:
        InputError: no such site, or no block in the slice; the message lists the valid ones.
    """
    match = re.fullmatch(r"(\w+\.\w+)(?:\[(-?\d+)?:(-?\d+)?\])?", site)
    if not match or match[1] not in SITES:
        raise InputError(
            f"unknown adapter site {site!r}: expected one of {', '.join(SITES)}, or with blocks as in {SITES[1]}[6:12]"
        )
    tower, part = match[1].split(".")
    count = len(towers[tower].blocks)
    start, stop = (int(text) if text else None for text in (match[2], match[3]))
    blocks = range(count)[start:stop]
    if not blocks:
        raise InputError(f"adapter site {site!r} matches no block: {match[1]} has blocks 0 to {count - 1}")
    return [(tower, part, block) for block in blocks]


def _source(name: str) -> str:
    return str(CLIP) if name == DEMO else name


def _advice(name: str, source: Path, error: Exception) -> str:
    if source.is_dir() or not isinstance(error, OSError):
        reason = first_line(error).rstrip(" :.")
        if isinstance(error, pickle.UnpicklingError):  # its own words recommend loading unsafely
            reason = "the weights are a pickle of more than tensors"
        return f"backbone {name!r} holds no CLIP that can be loaded (config.json, model.safetensors and the tokenizer files are expected): {reason}"
    return (
        f"backbone {name!r} is neither a folder nor in the local Hugging Face cache, and could not be fetched from the Hub; "
        f"on a machine with a network run: hf download {name}, or give the folder of a copy, or model.net.backbone: {DEMO}"
    )
