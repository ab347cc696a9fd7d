"""Weights of CLIP in the layout of OpenAI's program, in Hugging Face's CLIP: FaRL's and OpenAI's files, open_clip's folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from einops import rearrange
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from peclip.model.backbones.checks import check_sizes, quiet
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.contract import Pixels
from peclip.model.backbones.freeze import with_weights, without_weights

State = Mapping[str, Tensor]

HEAD = 64
"""Width of an attention head in every CLIP of OpenAI; no shape in a checkpoint shows it."""


class Names(NamedTuple):
    """Prefixes of the names of a CLIP's tensors.

    Attributes:
        vision: prefix of the vision tower.
        text: prefix of the text tower, without the table of its tokens.
        table: prefix of that table.
        scale: prefix of the logit scale.
    """

    vision: str = "visual."
    text: str = ""
    table: str = ""
    scale: str = ""


@dataclass(frozen=True)
class Details:
    """Settings of a CLIP that no shape shows; by default those of OpenAI's.

    Attributes:
        vision_heads: attention heads of the vision tower; by default as many as are :data:`HEAD` wide.
        text_heads: attention heads of the text tower; by default as above.
        activation: activation of the MLPs, ``quick_gelu`` or ``gelu``.
        vision_eps: constant that the norms of the vision tower add to the variance.
        text_eps: the same constant of the text tower.
    """

    vision_heads: int | None = None
    text_heads: int | None = None
    activation: str = "quick_gelu"
    vision_eps: float = 1e-5
    text_eps: float = 1e-5


BLOCK_LAYERS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
"""Layers of a block."""

IN_PROJECTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
HUB = {
    (768, 12, 16, 224): "openai/clip-vit-base-patch16",
    (768, 12, 32, 224): "openai/clip-vit-base-patch32",
    (1024, 24, 14, 224): "openai/clip-vit-large-patch14",
    (1024, 24, 14, 336): "openai/clip-vit-large-patch14-336",
}
"""OpenAI's CLIPs by width and blocks of the vision tower, patch and image size."""


def clip_of(
    state: State,
    names: Names,
    name: str | None = None,
    details: Details = Details(),
    pixels: Pixels | None = None,
) -> CLIP:
    """Return the frozen CLIP in a state dict, without a tokenizer.

    Args:
        state: tensors of the CLIP, in fp32.
        names: prefixes of their names.
        name: name of the backbone; by default the Hub id of OpenAI's CLIP of these shapes.
        details: settings that no shape shows.
        pixels: mean and standard deviation of the pixels; None if unknown.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape, or there is no CLIP of these sizes.
    """
    with quiet():
        config = _config(state, names, details)
        check_sizes(config)
        clip = with_weights(without_weights(CLIPModel, config), partial(_tensor, state, names))
    return CLIP(name or hub_name(config.vision_config), clip, None, pixels)


def count_below(state: State, prefix: str) -> int:
    """Return how many different words follow a prefix in the names of tensors."""
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


def hub_name(vision: Any) -> str:
    """Return the Hub id of OpenAI's CLIP with a vision tower of these sizes, or a plain description if there is none."""
    key = (vision.hidden_size, vision.num_hidden_layers, vision.patch_size, vision.image_size)
    return HUB.get(key, f"clip {vision.hidden_size}x{vision.num_hidden_layers} patch{vision.patch_size}")


def _config(state: State, names: Names, details: Details) -> CLIPConfig:
    """Return the sizes of the CLIP that a checkpoint contains, from the shapes of its tensors."""
    patch = state[f"{names.vision}conv1.weight"].shape[-1]
    patches = len(state[f"{names.vision}positional_embedding"]) - 1  # one position is that of the class token
    vocabulary_size = len(state[f"{names.table}token_embedding.weight"])
    return CLIPConfig(
        vision_config={
            **_tower(state, names.vision, details.vision_heads, details.activation, details.vision_eps),
            "patch_size": patch,
            "image_size": round(patches**0.5) * patch,
        },
        text_config={
            **_tower(state, names.text, details.text_heads, details.activation, details.text_eps),
            "max_position_embeddings": len(state[f"{names.text}positional_embedding"]),
            "vocab_size": vocabulary_size,
            "bos_token_id": vocabulary_size - 2,
            "eos_token_id": vocabulary_size - 1,
        },
        projection_dim=state[f"{names.vision}proj"].shape[1],
    )


def _tower(state: State, prefix: str, heads: int | None, activation: str, eps: float) -> dict[str, Any]:
    width = len(state[f"{prefix}transformer.resblocks.0.ln_1.weight"])
    if heads is None and width % HEAD:
        raise ValueError(
            f"a tower is {width} wide, expected a multiple of {HEAD}, the width of OpenAI's attention heads"
        )
    return {
        "hidden_size": width,
        "intermediate_size": len(state[f"{prefix}transformer.resblocks.0.mlp.c_fc.bias"]),
        "num_hidden_layers": count_below(state, f"{prefix}transformer.resblocks."),
        "num_attention_heads": heads or width // HEAD,
        "hidden_act": activation,
        "layer_norm_eps": eps,
    }


def _tensor(state: State, names: Names, name: str) -> Tensor:
    """Return a tensor of CLIP, given by Hugging Face's name, from a checkpoint in OpenAI's layout."""
    top = {
        "text_model.embeddings.position_embedding.weight": f"{names.text}positional_embedding",
        "text_model.final_layer_norm": f"{names.text}ln_final",
        "text_model.embeddings.token_embedding.weight": f"{names.table}token_embedding.weight",
        "vision_model.embeddings.class_embedding": f"{names.vision}class_embedding",
        "vision_model.embeddings.position_embedding.weight": f"{names.vision}positional_embedding",
        "vision_model.embeddings.patch_embedding.weight": f"{names.vision}conv1.weight",
        "vision_model.pre_layrnorm": f"{names.vision}ln_pre",
        "vision_model.post_layernorm": f"{names.vision}ln_post",
        "logit_scale": f"{names.scale}logit_scale",
    }
    projections = {
        "visual_projection.weight": f"{names.vision}proj",
        "text_projection.weight": f"{names.text}text_projection",
    }
    if name in projections:  # transposed there
        return rearrange(state[projections[name]], "i o -> o i")
    tower, _, rest = name.partition("_model.encoder.layers.")
    if not rest:
        ours = next(ours for ours in top if name == ours or name.startswith(f"{ours}."))
        return state[top[ours] + name.removeprefix(ours)]
    block, _, rest = rest.partition(".")
    layer, _, kind = rest.rpartition(".")
    prefix = f"{names.vision if tower == 'vision' else names.text}transformer.resblocks.{block}"
    if layer in IN_PROJECTION:  # queries, keys and values are one matrix there
        return state[f"{prefix}.attn.in_proj_{kind}"].chunk(3)[IN_PROJECTION.index(layer)]
    return state[f"{prefix}.{BLOCK_LAYERS[layer]}.{kind}"]
