"""CLIP as a frozen backbone: its towers, its features, and how to load it.

Everything that depends on Hugging Face's ``CLIPModel`` and its module names is in this file.
"""

import hashlib
import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
)
from transformers.activations import QuickGELUActivation
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from peclip.clip_format import CLIP_MEAN, CLIP_STD
from peclip.demo import CLIP
from peclip.errors import InputError, first_line
from peclip.files import check_regular
from peclip.model.backbones.checks import check_sizes, check_tokenizer, quiet
from peclip.model.fast.frozen import QuickGELU, attention, is_faster_here
from peclip.model.weights import check_weights

DEMO = "demo"
"""The backbone name of the small CLIP that comes with peclip."""

ATTENTION = "peclip"
"""Name of :func:`_attend` among the attention functions of transformers."""

PARTS = {"attention": "self_attn", "mlp": "mlp"}
"""Names of a block's sub-layers, by part of a site."""


@dataclass(frozen=True)
class Tower:
    """One tower of a backbone, as injection sees it.

    Attributes:
        name: ``vision`` or ``text``.
        width: D, of its tokens.
        module: the whole tower.
        blocks: its transformer blocks.
        entrance: the module whose output (N, L, D) the prompts of depth 0 join: before the position embedding of the
            text tower, after that of the vision tower and before its first norm.
    """

    name: str
    width: int
    module: nn.Module
    blocks: Sequence[nn.Module]
    entrance: nn.Module

    def part(self, name: str, block: int) -> nn.Module:
        """Return the ``attention`` or ``mlp`` module of a block."""
        module = getattr(self.blocks[block], PARTS[name])
        assert isinstance(module, nn.Module)
        return module


@dataclass(frozen=True)
class Backbone:
    """A frozen CLIP with its tokenizer.

    Attributes:
        name: Hub id, folder or ``demo``.
        clip: the model.
        tokenizer: of its texts; None where token ids are ready-made.
        mean: of the pixels that it was trained on, by channel (RGB).
        std: their standard deviation.
    """

    name: str
    clip: CLIPModel
    tokenizer: Any = None
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    @cached_property
    def towers(self) -> dict[str, Tower]:
        """The vision and the text tower by name."""
        vision, text = self.clip.vision_model, self.clip.text_model
        return {
            "vision": Tower("vision", vision.config.hidden_size, vision, vision.encoder.layers, vision.embeddings),
            "text": Tower("text", text.config.hidden_size, text, text.encoder.layers, text.embeddings.token_embedding),
        }

    @cached_property
    def fingerprint(self) -> str:
        """Digest of some weights that distinguishes CLIPs; empty without weights.

        It is the same for copies in fp32 and fp16, and must be taken before weights move to a lower precision.
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
        digest = hashlib.sha256()
        for weight in weights:
            digest.update(weight.detach().to("cpu", torch.float16).numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the square frames of the vision tower."""
        return int(self.clip.vision_model.config.image_size)

    @property
    def context(self) -> int:
        """Largest number of tokens of a text."""
        return int(self.clip.text_model.config.max_position_embeddings)

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return int(self.clip.text_model.config.vocab_size)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Return the projected class-token features (N, D) of normalised frames, float (N, 3, H, W)."""
        return self.clip.visual_projection(self.clip.vision_model(pixel_values=frames).pooler_output)

    def encode_tokens(self, token_ids: Tensor, ends: Tensor) -> Tensor:
        """Return the projected end-of-text features (N, D) of token ids (N, L) whose texts end at ``ends`` (N,)."""
        hidden = self.clip.text_model(input_ids=token_ids).last_hidden_state
        return self.clip.text_projection(hidden[torch.arange(len(token_ids), device=token_ids.device), ends])

    def text_weights(self) -> Iterator[nn.Parameter]:
        """Yield the weights that :meth:`encode_tokens` depends on."""
        yield from self.clip.text_model.parameters()
        yield from self.clip.text_projection.parameters()


def load_backbone(name: str) -> Backbone:
    """Load a CLIP and its tokenizer in fp32 and freeze it.

    Args:
        name: a Hub id such as ``openai/clip-vit-base-patch16``, a folder that ``save_pretrained`` wrote, or ``demo``.

    Raises:
        InputError: there is no such backbone here and it cannot be fetched, it is incomplete, a weight is not finite, or its
            tokenizer is another's.
    """
    source = _source(name)
    try:
        with quiet():
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            if not isinstance(config, CLIPConfig):
                raise InputError(f"it is a {config.model_type!r}")
            check_sizes(config, Path(source))
            loaded: Any = CLIPModel.from_pretrained(
                source, config=config, dtype="float32", ignore_mismatched_sizes=True, output_loading_info=True
            )
    except Exception as error:  # numbers that make no CLIP raise many kinds
        raise InputError(_advice(name, Path(source), error), "backbone") from error
    clip, report = loaded
    # transformers leaves a weight that is missing, or has another shape than config.json says, random with a warning.
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(
            f"backbone {name!r} is incomplete: missing or mis-shaped weights: {absent[0]}{more}", "backbone"
        )
    check_weights(dict(clip.named_parameters()), f"backbone {name!r}")
    tokenizer = load_tokenizer(name)
    check_tokenizer(name, tokenizer, clip.config.text_config)
    return Backbone(name, freeze(clip), tokenizer)


def load_tokenizer(name: str) -> Any:
    """Load the tokenizer of a CLIP.

    Args:
        name: as for :func:`load_backbone`.

    Raises:
        InputError: it is not here and cannot be fetched.
    """
    source = _source(name)
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        raise InputError(_advice(name, Path(source), error), "backbone") from error


def freeze(clip: CLIPModel) -> CLIPModel:
    """Freeze a CLIP in evaluation mode, and let attention and activations save time and memory for gradients."""
    clip.set_attn_implementation(ATTENTION)
    for module in list(clip.modules()):
        for name, child in module.named_children():
            if isinstance(child, QuickGELUActivation):
                setattr(module, name, QuickGELU())
    return clip.requires_grad_(False).eval()


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Attend as transformers' modules ask for it: by :func:`peclip.model.fast.frozen.attention` where that is faster."""
    if not is_faster_here(query):
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **options)
    causal = options.get("is_causal")
    return attention(query, key, value, mask, scaling, bool(module.is_causal if causal is None else causal)), None


def _source(name: str) -> str:
    """Return the folder or the Hub id of a backbone; the folder has files that can be read to their end."""
    source = str(CLIP) if name == DEMO else name
    for path in Path(source).iterdir() if os.path.isdir(source) else ():  # Path.is_dir raises for some names
        if not path.is_dir():
            check_regular(path)
    return source


def _advice(name: str, source: Path, error: Exception) -> str:
    if os.path.isdir(source) or not isinstance(error, OSError):  # Path.is_dir raises for some names
        reason = first_line(error).rstrip(" :.")
        if isinstance(error, pickle.UnpicklingError):  # its own words recommend loading unsafely
            reason = "the weights are a pickle of more than tensors"
        return f"backbone {name!r} cannot be loaded as a CLIP (expected config.json, model.safetensors and the tokenizer files): {reason}"
    return (
        f"backbone {name!r} is neither a folder nor in the local Hugging Face cache, and could not be fetched from the "
        f"Hub: on a machine with a network run hf download {name}, or name the folder of a copy, or {DEMO}"
    )


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
