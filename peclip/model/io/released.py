"""Read a checkpoint in the layout of the authors' released program, safely, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from peclip import labels as vocabulary
from peclip.clip_format import UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.errors import InputError, in_one_line
from peclip.model.backbones.contract import Backbone
from peclip.model.backbones.load import load_tokenizer
from peclip.model.backbones.openai import HUB, Names, State, clip_of, count_below
from peclip.model.io.spec import Spec, resolve
from peclip.model.io.trained import ModelConfig, Trained
from peclip.model.parts.adapters import Adapter
from peclip.model.parts.prompts import MaPLe
from peclip.model.tokens import check_tokens, tokenize
from peclip.model.torch_file import read_tensors
from peclip.model.weights import check_weights

TOWERS = {"vision": "image_encoder", "text": "text_encoder"}
"""Prefixes of the towers' tensors."""

CLIP_NAMES = Names("image_encoder.", "text_encoder.", "clip_model.", "clip_model.")
"""Prefixes of the tensors of CLIP."""

ADAPTER = {"down": "down_proj", "up": "up_proj", "norm": "adapter_layer_norm_before", "scale": "scale", "rnn": "rnn"}
"""Layers of an adapter of peclip, and their names in the released layout."""


def read_released(
    source: str | Path | State,
    token_ids: Tensor | None = None,
    texts: Sequence[str] | None = None,
    scope: Literal["clip", "batch"] = "batch",
) -> Trained:
    """Read a checkpoint in the released layout: adapters, prompts, and the CLIP that it contains.

    Layers, widths, patch, image size, prompt length and depth, and reductions follow from the tensors' shapes. Pixels stay
    in [0, 1] without mean and standard deviation, as in the authors' program. Weights become fp32.

    Args:
        source: a file, or a state dict; names may have the prefix ``module.``. Only the tensors of a file are read:
            classes that it pickles are neither imported nor run.
        token_ids: (C, 77) with P placeholders after the start token; wins over ``texts``.
        texts: C class texts, tokenised with CLIP's own tokenizer (from the Hub or its cache). Without either, the token
            ids are recovered from the embedded prompts in the checkpoint.
        scope: extent of the TDA's recurrence, a clip or the whole batch; ``batch`` in the released program.

    Raises:
        InputError: the file does not exist or is not such a checkpoint, or tensors are missing or have other shapes.
    """
    where = str(source) if isinstance(source, str | Path) else "the state dict"
    state = _plain_names(read_tensors(Path(source)) if isinstance(source, str | Path) else source)
    try:
        backbone = clip_of(state, CLIP_NAMES)
        check_weights(dict(backbone.clip.named_parameters()), where)
        length = len(state["prompt_learner.ctx"])
        ids = _token_ids(state, token_ids, texts, backbone, length)
        check_tokens(ids, len(ids), backbone, length)
        adapters, prompts = (
            _adapters(state, scope),
            Spec("peclip.model.MaPLe", {"length": length, "depth": _depth(state)}),
        )
        trainable = _trainable(state, adapters, prompts, backbone)
        config = ModelConfig(
            backbone.name,
            backbone.fingerprint,
            tuple(_labels(len(ids))),
            adapters,
            prompts,
            logit_scale=100.0,
            clip_format=ClipFormat(16, backbone.image_size, UNIT_MEAN, UNIT_STD),
            token_ids=tuple(map(tuple, ids.tolist())),
        )
    except KeyError as error:
        raise InputError(f"{where} is not a released PE-CLIP checkpoint: it has no tensor {error.args[0]!r}") from error
    except InputError as error:
        message = str(error) if where in str(error) else f"{where}: {error}"
        raise InputError(message, *error.arguments) from error
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = in_one_line(error)
        raise InputError(f"{where} is not a released PE-CLIP checkpoint: its shapes do not fit: {reason}") from error
    return Trained(config, trainable, where, backbone)


def _adapters(state: State, scope: str) -> dict[str, Spec]:
    """Return the adapters by site."""
    recurrence = {"scope": scope, "rnn": _rnn(state)}
    kinds: dict[str, tuple[str, str, dict[str, str]]] = {
        "vision.attention": ("SharedAdapter", "attn", {}),
        "vision.mlp": ("TemporalDynamicAdapter", "mlp", recurrence),
        "text.attention": ("SharedAdapter", "attn", {}),
        "text.mlp": ("TextAdapter", "mlp", {}),
    }
    return {
        site: Spec(f"peclip.model.{name}", {"reduction": _reduction(state, site.split(".")[0], part)} | further)
        for site, (name, part, further) in kinds.items()
    }


def _trainable(state: State, adapters: Mapping[str, Spec], prompts: Spec, backbone: Backbone) -> dict[str, Tensor]:
    """Return the tensors of adapters and prompts under peclip's names, each of which must be there in its shape."""
    towers, wanted = backbone.towers, dict[str, Tensor]()
    with torch.device("meta"):
        for site, spec in adapters.items():
            tower = towers[site.split(".")[0]]
            for name, value in resolve(spec, Adapter)(tower.width).state_dict().items():
                wanted |= {f"adapters.{site}.{block}.{name}": value for block in range(len(tower.blocks))}
        blocks = min(len(tower.blocks) for tower in towers.values())
        module = resolve(prompts, MaPLe)(towers["text"].width, towers["vision"].width, blocks)
        wanted |= {f"prompts.{name}": value for name, value in module.state_dict().items()}
    found = {name: state[released_name(name)] for name in wanted}
    for name, value in found.items():
        if value.shape != wanted[name].shape:
            raise ValueError(f"{released_name(name)} has {tuple(value.shape)}, expected {tuple(wanted[name].shape)}")
    return found


def _plain_names(state: State) -> dict[str, Tensor]:
    """Return tensors in fp32 under one name each, without ``module.``: the program saves some under several names."""
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


def released_name(name: str) -> str:
    """Return the name that a trainable tensor of PEClip has in the released layout."""
    words = name.split(".")
    if words[0] == "adapters":
        _, tower, part, block, layer, *rest = words
        site = {"attention": "adapter_pre_attn", "mlp": "adapter_pre_mlp"}[part]
        return ".".join([TOWERS[tower], "transformer.resblocks", block, site, ADAPTER[layer], *rest])
    _, kind, depth, *rest = words
    if kind == "tokens":
        return "prompt_learner.ctx" if depth == "0" else f"prompt_learner.compound_prompts_text.{int(depth) - 1}"
    owner = "proj" if depth == "0" else f"compound_prompt_projections.{int(depth) - 1}"
    return ".".join(["prompt_learner", owner, *rest])


def _depth(state: State) -> int:
    kinds = ("compound_prompts_text", "compound_prompt_projections")
    return 1 + max(count_below(state, f"prompt_learner.{kind}.") for kind in kinds)


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
        named = dict(zip(_labels(len(texts)), texts, strict=True))
        return tokenize(replace(backbone, tokenizer=load_tokenizer(name)), named, length)[0]
    table = state["clip_model.token_embedding.weight"]
    prefix, suffix = state["prompt_learner.token_prefix"], state["prompt_learner.token_suffix"]
    if len(prefix) > vocabulary.MOST:
        raise InputError(f"the checkpoint has {len(prefix):,} classes, expected at most {vocabulary.MOST:,}")
    placeholders = torch.zeros(len(prefix), length, dtype=torch.long)
    return torch.cat([_find_rows(table, prefix), placeholders, _find_rows(table, suffix)], dim=1)


def _find_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Return which rows of the token embedding (V, D) are those of (C, L, D), as ids (C, L).

    Raises:
        InputError: a row is not in the table.
    """
    flat = rearrange(rows, "c l d -> (c l) d")
    distinct, places = flat.unique(dim=0, return_inverse=True)  # most rows are padding
    # In pieces, because the distances of all rows to all tokens take gigabytes.
    found = torch.cat([torch.cdist(piece, table).argmin(dim=-1) for piece in distinct.split(500)])
    if not torch.allclose(table[found], distinct, atol=1e-3):
        raise InputError(
            "the checkpoint's embedded class texts do not come from its token embedding: pass token_ids or texts"
        )
    return rearrange(found[places], "(c l) -> c l", c=len(rows))


def _labels(count: int) -> list[str]:
    """Return the class names of a released model: the seven of DFEW, or numbered ones."""
    return list(vocabulary.SEVEN) if count == len(vocabulary.SEVEN) else [f"class {index}" for index in range(count)]
