"""Build what a model consists of from a backbone and factories, or from the description of a trained model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from peclip.class_texts import Texts
from peclip.clip_format import CLIP_MEAN, CLIP_STD, UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.errors import InputError, first_line, shown
from peclip.model.backbones.contract import Backbone
from peclip.model.backbones.freeze import empty_copy
from peclip.model.backbones.load import load_backbone, load_tokenizer_of_clip
from peclip.model.io.fits import check_backbone, check_state
from peclip.model.io.spec import Spec, class_of, describe, resolve
from peclip.model.io.trained import ModelConfig, Trained
from peclip.model.modules import (
    PromptFactory,
    TemporalFactory,
    build_adapters,
    build_norms,
    build_prompts,
    check_factory,
    check_takes_width,
)
from peclip.model.parts.adapters import Adapter, AdapterFactory
from peclip.model.parts.in_place import TrainedNorms
from peclip.model.parts.peft import make_layers
from peclip.model.parts.prompts import Prompts
from peclip.model.parts.temporal import MeanPool, TemporalHead
from peclip.model.tokens import check_tokens, tokenize

Normalize = Literal["backbone", "none"]
"""Normalisation of pixels: that of the backbone, or none (they stay in [0, 1])."""


@dataclass(frozen=True)
class Built:
    """Modules of a model.

    Attributes:
        backbone: frozen backbone with its towers.
        adapters: adapters by tower, part and block.
        prompts: prompts of both towers; None without prompts.
        temporal: head that makes the feature of a clip.
        config: configuration that rebuilds all of it.
        token_ids: token ids of the class texts, (M, N): those of a class follow each other; M is C if each has one.
        ends: place in each text at which its feature is read, (M,).
        peft: layers of Hugging Face PEFT, by the names of their linear layers; empty without any.
        norms: copies of norms of the backbone that train, by their names; empty without any.
    """

    backbone: Backbone
    adapters: nn.ModuleDict
    prompts: Prompts | None
    temporal: TemporalHead
    config: ModelConfig
    token_ids: Tensor
    ends: Tensor
    peft: nn.ModuleDict
    norms: nn.ModuleDict


def build(
    backbone: Backbone,
    *,
    labels: Sequence[str],
    texts: Mapping[str, Texts] | Tensor,
    adapters: Mapping[str, AdapterFactory],
    prompts: PromptFactory | None,
    logit_scale: float | None,
    num_frames: int,
    normalize: Normalize,
    upright: bool = False,
    temporal: TemporalFactory = MeanPool,
    peft: Spec | None = None,
    norms: TrainedNorms | None = None,
) -> Built:
    """Build adapters, prompts and token ids around a backbone.

    Args:
        backbone: frozen backbone; :class:`peclip.model.PEClip` describes all arguments.
        labels: C class names.
        texts: class texts by label, one or several; or ready-made token ids (C, N), one text for each class.
        adapters: adapter factories by site.
        prompts: factory of the prompts; None for none.
        logit_scale: factor on the cosine similarities, above 0, at most 1,000,000; None for that of the backbone.
        num_frames: T, frames of a clip.
        normalize: normalisation of the pixels, ``backbone`` or ``none``.
        upright: whether the model takes faces that are turned upright.
        temporal: factory of the temporal head.
        peft: configuration of Hugging Face PEFT; None for none.
        norms: towers whose norms are trained; None for neither.

    Raises:
        InputError: something is out of range or does not fit the backbone.
    """
    _check_factories(adapters, prompts, temporal)
    ids, ends = _token_ids(backbone, texts, len(labels), _prompt_length(backbone, prompts))
    modules = build_adapters(backbone, adapters)
    prompter, spec = build_prompts(backbone, prompts) if prompts else (None, None)
    ids = ids[:, : int(ends.max()) + 1].clone()  # a causal tower sees nothing after the longest end-of-text
    config = ModelConfig(
        backbone.name,
        backbone.fingerprint,
        tuple(labels),
        {site: describe(factory) for site, factory in adapters.items()},
        spec,
        backbone.logit_scale if logit_scale is None else logit_scale,
        clip_format(backbone, num_frames, normalize, upright),
        None if isinstance(texts, Tensor) else dict(texts),
        tuple(map(tuple, ids.tolist())) if isinstance(texts, Tensor) and not ids.is_meta else None,
        temporal=None if class_of(temporal) is MeanPool else describe(temporal),
        peft=peft,
        norms=norms,
    )
    layers = make_layers(backbone.clip, peft) if peft else nn.ModuleDict()
    check_takes_width(temporal, "temporal", "features")
    head = temporal(backbone.feature_width)
    return Built(backbone, modules, prompter, head, config, ids, ends.clone(), layers, build_norms(backbone, norms))


def _check_factories(
    adapters: Mapping[str, AdapterFactory], prompts: PromptFactory | None, temporal: TemporalFactory
) -> None:
    for site, factory in adapters.items():
        check_factory(f"adapters[{site!r}]", factory, Adapter)
    if prompts is not None:
        check_factory("prompts", prompts, Prompts)
    check_factory("temporal", temporal, TemporalHead)


def _token_ids(
    backbone: Backbone, texts: Mapping[str, Texts] | Tensor, classes: int, length: int
) -> tuple[Tensor, Tensor]:
    """Return the token ids (M, N) of class texts, and the place in each at which its feature is read, (M,).

    Raises:
        InputError: ready-made ids do not fit the backbone, or a text does not.
    """
    if isinstance(texts, Tensor):
        check_tokens(texts, classes, backbone, length)
        return texts, backbone.layout.ends(texts)
    return tokenize(backbone, texts, length)


def build_trained(trained: Trained, backbone: str | None) -> Built:
    """Build the modules of a trained model, without its weights.

    Args:
        trained: plain data.
        backbone: Hub id, folder or file of the backbone, if it has moved since the training.

    Raises:
        InputError: the backbone cannot be loaded or is another one, or the configuration does not fit it.
    """
    config, source = trained.config, trained.source
    name = backbone or config.backbone
    texts = torch.tensor(config.token_ids) if config.texts is None else config.texts
    adapters: Any = {site: resolve(spec, Adapter) for site, spec in config.adapters.items()}
    prompts: Any = resolve(config.prompts, Prompts) if config.prompts else None
    temporal: Any = resolve(config.temporal, TemporalHead) if config.temporal else MeanPool
    clips = config.clip_format
    normalize: Normalize = "backbone" if clips.is_normalised else "none"
    with _fitting(source, name):
        # A copy, because the model would hook its adapters into the backbone of the data.
        clip = deepcopy(trained.backbone) if trained.backbone and not backbone else load_backbone(name)
    # Other texts for a released model, which knows token ids alone.
    if config.texts is not None and clip.tokenizer is None:
        clip = replace(clip, tokenizer=load_tokenizer_of_clip(name))
    check_backbone(trained, replace(config, backbone=clip.name, fingerprint=clip.fingerprint))
    with _fitting(source, name):
        expected = _expected_state(clip, adapters, prompts, temporal, config.peft, config.norms)
    if expected is not None:
        check_state(trained.state, expected, source)
    with _fitting(source, name):
        built = build(
            clip,
            labels=config.labels,
            texts=texts,
            adapters=adapters,
            prompts=prompts,
            logit_scale=config.logit_scale,
            num_frames=clips.num_frames,
            normalize=normalize,
            upright=clips.upright,
            temporal=temporal,
            peft=config.peft,
            norms=config.norms,
        )
    # peclip normalised so before it read a preprocessor's configuration.
    if (clips.mean, clips.std) == (CLIP_MEAN, CLIP_STD):
        kept = replace(built.config.clip_format, mean=clips.mean, std=clips.std)
        built = replace(built, config=replace(built.config, clip_format=kept))
    built = replace(built, config=replace(built.config, temperature=config.temperature))
    for field, (was, here) in config.clip_format.differences(built.config.clip_format).items():
        raise InputError(f"{source}: clip_format has the {field} {was}, but its backbone {name!r} needs {here}")
    return built


@contextmanager
def _fitting(source: str, backbone: str) -> Iterator[None]:
    """Name the file and its backbone in errors of building what it describes, also in those of custom classes."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source} does not fit its backbone {shown(backbone)}: {error}") from error
    except Exception as error:  # a class may get arguments that it does not have
        raise InputError(
            f"{source}: its adapters, prompts or temporal head cannot be built: {first_line(error)}"
        ) from error


def _expected_state(
    backbone: Backbone,
    adapters: Mapping[str, AdapterFactory],
    prompts: PromptFactory | None,
    temporal: TemporalFactory,
    peft: Spec | None,
    norms: TrainedNorms | None,
) -> dict[str, Tensor] | None:
    """Return the trained tensors that a file describes, by name and without their memory; None if this is not known.

    Raises:
        InputError: as :func:`build_adapters` and :func:`build_prompts`.
    """
    try:
        with torch.device("meta"):
            modules = nn.ModuleDict(
                {"adapters": build_adapters(backbone, adapters), "temporal": temporal(backbone.feature_width)}
            )
            if prompts:
                modules["prompts"] = build_prompts(backbone, prompts)[0]
            if peft:
                modules["peft"] = make_layers(empty_copy(backbone.clip), peft)
            modules["norms"] = build_norms(backbone, norms)
    except NotImplementedError:  # an adapter from elsewhere that looks at its weights when it is made
        return None
    return modules.state_dict()


def _prompt_length(backbone: Backbone, prompts: PromptFactory | None) -> int:
    """Return P, the placeholders in each text.

    Raises:
        InputError: they leave no room for a text.
    """
    if prompts is None:
        return 0
    with torch.device("meta"):
        length = build_prompts(backbone, prompts)[0].length_in("text")
    most = backbone.context - backbone.layout.starts - 2  # start, a token and end
    if length > most:
        raise InputError(
            f"prompts: length is {length}, expected at most {most}: {backbone.name!r} accepts "
            f"{backbone.context} tokens of a text with its prompts",
            "prompts",
        )
    return length


def clip_format(backbone: Backbone, num_frames: int, normalize: Normalize, upright: bool) -> ClipFormat:
    """Return the clip format of a model with a backbone.

    Raises:
        InputError: ``num_frames`` is out of range, or ``normalize`` is something else.
    """
    if normalize not in get_args(Normalize):
        raise InputError(f"normalize is {normalize!r}, expected backbone or none", "normalize")
    mean, std = (backbone.mean, backbone.std) if normalize == "backbone" else (UNIT_MEAN, UNIT_STD)
    return ClipFormat(num_frames, backbone.image_size, mean, std, upright)
