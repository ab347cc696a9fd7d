"""CLIP weights in the layout of OpenAI's program, as the authors' released program stores them, in Hugging Face's CLIP."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from peclip.model.backbones.checks import check_sizes, quiet
from peclip.model.backbones.clip import Backbone, freeze

State = Mapping[str, Tensor]

TOWERS = {"vision": "image_encoder", "text": "text_encoder"}
"""Prefixes of the towers' tensors."""

HEAD = 64
"""Width of an attention head in every CLIP of OpenAI; no shape in a checkpoint shows it."""

TOP = {
    "text_model.embeddings.position_embedding.weight": "text_encoder.positional_embedding",
    "text_model.final_layer_norm": "text_encoder.ln_final",
    "text_model.embeddings.token_embedding.weight": "clip_model.token_embedding.weight",
    "vision_model.embeddings.class_embedding": "image_encoder.class_embedding",
    "vision_model.embeddings.position_embedding.weight": "image_encoder.positional_embedding",
    "vision_model.embeddings.patch_embedding.weight": "image_encoder.conv1.weight",
    "vision_model.pre_layrnorm": "image_encoder.ln_pre",
    "vision_model.post_layernorm": "image_encoder.ln_post",
    "logit_scale": "clip_model.logit_scale",
}
"""Names in Hugging Face's CLIP and in the released layout, outside of the blocks."""

PROJECTIONS = {
    "visual_projection.weight": "image_encoder.proj",
    "text_projection.weight": "text_encoder.text_projection",
}
"""Projections, which are transposed in the released layout."""

BLOCK = {
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


class Shape(NamedTuple):
    """Size of one tower, from the shapes of a checkpoint's tensors."""

    width: int
    blocks: int


def backbone_of(state: State) -> Backbone:
    """Return the frozen CLIP in a state dict, without a tokenizer.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape, or there is no CLIP of these sizes.
    """
    return Backbone(_name(state), _clip(state))


def count_below(state: State, prefix: str) -> int:
    """Return how many different words follow a prefix in the names of tensors."""
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


def _shape(state: State, tower: str) -> Shape:
    prefix = TOWERS[tower]
    return Shape(
        len(state[f"{prefix}.transformer.resblocks.0.ln_1.weight"]),
        count_below(state, f"{prefix}.transformer.resblocks."),
    )


def _image_size(state: State) -> int:
    """Return the side of a frame: one position of the vision tower is the class token, the others a square."""
    patches = len(state["image_encoder.positional_embedding"]) - 1
    return round(patches**0.5) * state["image_encoder.conv1.weight"].shape[-1]


def _config(state: State) -> CLIPConfig:
    """Return the sizes of the CLIP that a checkpoint contains, from the shapes of its tensors."""
    vision, text = _shape(state, "vision"), _shape(state, "text")
    patch = state["image_encoder.conv1.weight"].shape[-1]
    vocabulary_size = len(state["clip_model.token_embedding.weight"])
    return CLIPConfig(
        vision_config={
            "hidden_size": vision.width,
            "intermediate_size": len(state["image_encoder.transformer.resblocks.0.mlp.c_fc.bias"]),
            "num_hidden_layers": vision.blocks,
            "num_attention_heads": vision.width // HEAD,
            "patch_size": patch,
            "image_size": _image_size(state),
        },
        text_config={
            "hidden_size": text.width,
            "intermediate_size": len(state["text_encoder.transformer.resblocks.0.mlp.c_fc.bias"]),
            "num_hidden_layers": text.blocks,
            "num_attention_heads": text.width // HEAD,
            "max_position_embeddings": len(state["text_encoder.positional_embedding"]),
            "vocab_size": vocabulary_size,
            "bos_token_id": vocabulary_size - 2,
            "eos_token_id": vocabulary_size - 1,
        },
        projection_dim=state["image_encoder.proj"].shape[1],
    )


def _clip(state: State) -> CLIPModel:
    """Build the frozen CLIP that a checkpoint contains."""
    with quiet():
        config = _config(state)
        check_sizes(config)
        with torch.device("meta"):  # random weights would take time and be replaced at once
            clip = CLIPModel(config)
    tensors = {name: _clip_tensor(state, name) for name in clip.state_dict()}
    for name, value in clip.state_dict().items():
        if tensors[name].shape != value.shape:
            raise ValueError(f"{name} would have {tuple(tensors[name].shape)}, expected {tuple(value.shape)}")
    clip.to_empty(device="cpu")
    clip.load_state_dict(tensors)
    for module in (clip.text_model.embeddings, clip.vision_model.embeddings):
        module.position_ids.copy_(torch.arange(module.position_ids.shape[-1]))
    return freeze(clip)


def _clip_tensor(state: State, name: str) -> Tensor:
    """Return a tensor of CLIP, given by Hugging Face's name, from a checkpoint in the released layout."""
    if name in PROJECTIONS:
        return rearrange(state[PROJECTIONS[name]], "i o -> o i")
    tower, _, rest = name.partition("_model.encoder.layers.")
    if not rest:
        ours = next(ours for ours in TOP if name == ours or name.startswith(f"{ours}."))
        return state[TOP[ours] + name.removeprefix(ours)]
    block, _, rest = rest.partition(".")
    layer, _, kind = rest.rpartition(".")
    prefix = f"{TOWERS[tower]}.transformer.resblocks.{block}"
    if layer in IN_PROJECTION:  # queries, keys and values are one matrix there
        return state[f"{prefix}.attn.in_proj_{kind}"].chunk(3)[IN_PROJECTION.index(layer)]
    return state[f"{prefix}.{BLOCK[layer]}.{kind}"]


def _name(state: State) -> str:
    """Return the Hub id of OpenAI's CLIP with these shapes, or a plain description where there is none."""
    vision, patch = _shape(state, "vision"), state["image_encoder.conv1.weight"].shape[-1]
    key = (vision.width, vision.blocks, patch, _image_size(state))
    return HUB.get(key, f"clip {vision.width}x{vision.blocks} patch{patch}")
