"""Read a checkpoint in the layout of the authors' released program, safely, into a PEClip."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from peclip import labels as vocabulary
from peclip.errors import InputError, in_one_line
from peclip.model.backbones.clip import Backbone, freeze, load_tokenizer
from peclip.model.io.torch_file import read_tensors
from peclip.model.parts.adapters import SharedAdapter, TemporalDynamicAdapter, TextAdapter
from peclip.model.parts.prompts import MaPLe
from peclip.model.peclip import AdapterFactory, PEClip
from peclip.model.tokens import tokenize

State = Mapping[str, Tensor]

TOWERS = {"vision": "image_encoder", "text": "text_encoder"}
HEAD = 64
"""Every CLIP of OpenAI has attention heads of this width; a checkpoint does not tell it."""

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
"""Names in Hugging Face's CLIP, and in the released layout: outside the blocks, within them, and in the adapters."""
PROJECTIONS = {
    "visual_projection.weight": "image_encoder.proj",
    "text_projection.weight": "text_encoder.text_projection",
}
BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
IN_PROJECTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
ADAPTER = {"down": "down_proj", "up": "up_proj", "norm": "adapter_layer_norm_before", "scale": "scale", "rnn": "rnn"}

HUB = {
    (768, 12, 16, 224): "openai/clip-vit-base-patch16",
    (768, 12, 32, 224): "openai/clip-vit-base-patch32",
    (1024, 24, 14, 224): "openai/clip-vit-large-patch14",
    (1024, 24, 14, 336): "openai/clip-vit-large-patch14-336",
}
"""OpenAI's CLIPs by width and blocks of the vision tower, patch and image size."""


class Shape(NamedTuple):
    """What the shapes of a checkpoint's tensors tell of one tower."""

    width: int
    blocks: int


def load_released(
    source: str | Path | State,
    token_ids: Tensor | None = None,
    texts: Sequence[str] | None = None,
    scope: Literal["clip", "batch"] = "batch",
) -> PEClip:
    """Build a PEClip from a checkpoint in the released layout.

    Layers, widths, patch, image size, prompt length and depth, and reductions are read off the tensors' shapes. The
    model is fp32 and in evaluation mode, and takes the video as it is given: the authors' program uses pixels in
    [0, 1] without mean and standard deviation.

    Args:
        source: a file, or a state dict; names may carry the prefix ``module.``. Of a file only tensors are read:
            classes that it pickles are neither imported nor run.
        token_ids: (C, 77) with P placeholders after the start token; wins over ``texts``.
        texts: C class texts, tokenised with CLIP's own tokenizer (from the Hub or its cache). With neither, the token
            ids are found again from the checkpoint's own embedded prompts.
        scope: over what the TDA's recurrence runs; the released program's is ``batch``.

    Raises:
        InputError: the file is not there, holds no such checkpoint, or tensors are missing.
    """
    named = isinstance(source, str | Path)
    where = str(source) if named else "the state dict"
    state = _plain_names(read_tensors(Path(source)) if isinstance(source, str | Path) else source)
    try:
        clip = _clip(state)
        backbone = Backbone(_backbone_name(state), clip)
        length = len(state["prompt_learner.ctx"])
        kinds = ("compound_prompts_text", "compound_prompt_projections")
        depth = 1 + max(_count(state, f"prompt_learner.{kind}.") for kind in kinds)
        ids = _token_ids(state, token_ids, texts, backbone, length)
        factories: dict[str, AdapterFactory] = {
            "vision.attention": partial(SharedAdapter, reduction=_reduction(state, "vision", "attn")),
            "vision.mlp": partial(
                TemporalDynamicAdapter, reduction=_reduction(state, "vision", "mlp"), scope=scope, rnn=_rnn(state)
            ),
            "text.attention": partial(SharedAdapter, reduction=_reduction(state, "text", "attn")),
            "text.mlp": partial(TextAdapter, reduction=_reduction(state, "text", "mlp")),
        }
        net = PEClip.assemble(
            backbone,
            ids,
            _labels(len(ids)),
            factories,
            partial(MaPLe, length=length, depth=depth),
        )
        net.load_trainable(_adapters_and_prompts(state, net.trainable_state()), where)
    except KeyError as error:
        raise InputError(f"{where} is not a released PE-CLIP checkpoint: it has no tensor {error.args[0]!r}") from error
    except InputError:
        raise
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = in_one_line(error)
        raise InputError(f"{where} is not a released PE-CLIP checkpoint: its shapes do not fit: {reason}") from error
    return net.eval()


def _plain_names(state: State) -> dict[str, Tensor]:
    """Drop ``module.`` and fold the names under which a tensor is repeated into one; tensors become fp32."""
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        name = name.removeprefix("module.")
        if name.startswith("clip_model.visual."):
            name = "image_encoder." + name.removeprefix("clip_model.visual.")
        elif name.startswith("clip_model.") and not name.startswith(
            ("clip_model.logit_scale", "clip_model.token_embedding")
        ):
            name = "text_encoder." + name.removeprefix("clip_model.")
        elif name.startswith("prompt_learner.token_embedding."):
            name = "clip_model." + name.removeprefix("prompt_learner.")
        plain[name] = value.float() if value.is_floating_point() else value
    return plain


def _shape(state: State, tower: str) -> Shape:
    prefix = TOWERS[tower]
    return Shape(
        len(state[f"{prefix}.transformer.resblocks.0.ln_1.weight"]), _count(state, f"{prefix}.transformer.resblocks.")
    )


def _count(state: State, prefix: str) -> int:
    """Return how many numbers follow a prefix among the names."""
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


def _image_size(state: State) -> int:
    """Return the side of a frame: one position of the vision tower is the class token, the others a square."""
    patches = len(state["image_encoder.positional_embedding"]) - 1
    return round(patches**0.5) * state["image_encoder.conv1.weight"].shape[-1]


def _clip(state: State) -> CLIPModel:
    """Build the frozen CLIP that a checkpoint contains."""
    vision, text = _shape(state, "vision"), _shape(state, "text")
    patch = state["image_encoder.conv1.weight"].shape[-1]
    vocabulary_size = len(state["clip_model.token_embedding.weight"])
    config = CLIPConfig(
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
    with torch.device("meta"):  # no time spent on random weights that are replaced at once
        clip = CLIPModel(config)
    clip.to_empty(device="cpu")
    clip.load_state_dict({name: _clip_tensor(state, name) for name in clip.state_dict()})
    for module in (clip.text_model.embeddings, clip.vision_model.embeddings):
        module.position_ids.copy_(torch.arange(module.position_ids.shape[-1]))
    return freeze(clip)


def _clip_tensor(state: State, name: str) -> Tensor:
    """Return a tensor of CLIP, given by Hugging Face's name, from a checkpoint in the released layout."""
    if name in PROJECTIONS:
        return state[PROJECTIONS[name]].transpose(0, 1)
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


def _adapters_and_prompts(state: State, wanted: State) -> dict[str, Tensor]:
    """Return the trainable tensors under peclip's names, each of which must be there."""
    return {name: state[released_name(name)] for name in wanted}


def released_name(name: str) -> str:
    """Return the name that a trainable tensor of PEClip has in the released layout."""
    parts = name.split(".")
    if parts[0] == "adapters":
        _, tower, part, block, layer, *rest = parts
        site = {"attention": "adapter_pre_attn", "mlp": "adapter_pre_mlp"}[part]
        return ".".join([TOWERS[tower], "transformer.resblocks", block, site, ADAPTER[layer], *rest])
    _, kind, depth, *rest = parts
    if kind == "tokens":
        return "prompt_learner.ctx" if depth == "0" else f"prompt_learner.compound_prompts_text.{int(depth) - 1}"
    owner = "proj" if depth == "0" else f"compound_prompt_projections.{int(depth) - 1}"
    return ".".join(["prompt_learner", owner, *rest])


def _reduction(state: State, tower: str, part: str) -> int:
    hidden, width = state[f"{TOWERS[tower]}.transformer.resblocks.0.adapter_pre_{part}.down_proj.weight"].shape
    return width // hidden


def _rnn(state: State) -> Literal["gru", "lstm", "rnn"]:
    rows, hidden = state["image_encoder.transformer.resblocks.0.adapter_pre_mlp.rnn.weight_hh_l0"].shape
    kinds: dict[int, Literal["gru", "lstm", "rnn"]] = {3: "gru", 4: "lstm", 1: "rnn"}
    return kinds[rows // hidden]


def _token_ids(
    state: State, token_ids: Tensor | None, texts: Sequence[str] | None, backbone: Backbone, length: int
) -> Tensor:
    if token_ids is not None:
        return torch.as_tensor(token_ids)
    if texts is not None:
        name = backbone.name if backbone.name in HUB.values() else HUB[768, 12, 16, 224]  # they all share one tokenizer
        return tokenize(replace(backbone, tokenizer=load_tokenizer(name)), texts, length)[0]
    table = state["clip_model.token_embedding.weight"]
    prefix, suffix = state["prompt_learner.token_prefix"], state["prompt_learner.token_suffix"]
    placeholders = torch.zeros(len(prefix), length, dtype=torch.long)
    return torch.cat([_find_rows(table, prefix), placeholders, _find_rows(table, suffix)], dim=1)


def _find_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Return which rows of the token embedding (V, D) stand in (C, L, D), as ids (C, L).

    Raises:
        InputError: a row is none of the table's.
    """
    distinct, places = rows.flatten(0, -2).unique(dim=0, return_inverse=True)  # most rows are padding
    found = torch.cdist(distinct, table).argmin(dim=-1)
    if not torch.allclose(table[found], distinct, atol=1e-3):
        raise InputError(
            "the checkpoint's embedded class texts do not come from its token embedding: give token_ids or texts"
        )
    return found[places].view(rows.shape[:-1])


def _backbone_name(state: State) -> str:
    """Return the Hub id of OpenAI's CLIP with these shapes, or a plain description where there is none."""
    vision, patch = _shape(state, "vision"), state["image_encoder.conv1.weight"].shape[-1]
    key = (vision.width, vision.blocks, patch, _image_size(state))
    return HUB.get(key, f"clip {vision.width}x{vision.blocks} patch{patch}")


def _labels(count: int) -> list[str]:
    """Return the class names of a released model: the seven of DFEW, or numbered ones."""
    return list(vocabulary.SEVEN) if count == len(vocabulary.SEVEN) else [f"class {index}" for index in range(count)]
