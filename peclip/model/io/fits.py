"""Check that trained weights fit a model: that it would use them as they were trained."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from peclip.errors import InputError, listed, short, shown
from peclip.model.backbones.contract import TextLayout
from peclip.model.io.spec import Spec, as_json_text, completed
from peclip.model.io.trained import ModelConfig, Trained


def check_fits(
    trained: Trained, config: ModelConfig, token_ids: Tensor, layout: TextLayout, prompt_length: int
) -> None:
    """Check that a model's settings match those of the weights.

    Args:
        trained: the weights.
        config: configuration of the model.
        token_ids: token ids of the model's class texts, (M, N).
        layout: layout of these texts.
        prompt_length: P, the placeholders among them.

    Raises:
        InputError: labels, CLIP, adapters, prompts, temporal head, peft, norms, class texts, logit scale or clip format differ; the
            message names both values.
    """
    source, before = trained.source, trained.config
    if config.labels != before.labels:
        raise InputError(
            f"{source} was trained on the labels {listed(before.labels)}, but the data has {listed(config.labels)}: "
            "set the labels in the trained order, or use other data"
        )
    check_backbone(trained, config)
    _check_parts(config, before, source)
    if config.peft != before.peft:
        here, there = _shown(config.peft), _shown(before.peft)
        raise InputError(f"peft is {here}, but {source} was trained with {there}", "peft")
    if config.norms != before.norms:
        here, there = (each.norms or "none" for each in (config, before))
        raise InputError(f"norms is {here}, but {source} was trained with {there}", "norms")
    if config.logit_scale != before.logit_scale:
        raise InputError(
            f"logit_scale is {config.logit_scale}, but {source} was trained with {before.logit_scale}", "logit_scale"
        )
    for label, was, now in _texts_of_both(trained, config, token_ids, layout, prompt_length):
        if was != now:
            raise InputError(
                f"texts has {shown(now)} for {label!r}, but {source} was trained with another class text, {shown(was)}",
                "texts",
            )
    for name, (old, new) in before.clip_format.differences(config.clip_format).items():
        argument = "normalize" if name in ("mean", "std") else name
        what = f"{argument} means clips with the {name} {new}" if argument != name else f"{name} is {new}"
        raise InputError(f"{what}, but {source} was trained with {old}", argument)


def check_backbone(trained: Trained, config: ModelConfig) -> None:
    """Check that a model has the CLIP on which weights were trained.

    Raises:
        InputError: its CLIP has other weights.
    """
    before = trained.config
    if config.fingerprint != before.fingerprint:
        raise InputError(
            f"backbone is {config.backbone!r} with the fingerprint {config.fingerprint}, but {trained.source} was trained "
            f"on another CLIP, {short(before.backbone)!r} with the fingerprint {short(before.fingerprint)}",
            "backbone",
        )


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Check that tensors have the names and shapes that a model expects.

    Args:
        state: the tensors by name.
        expected: tensors of the model by name.
        source: file of the tensors, for messages.

    Raises:
        InputError: names are missing or not expected, or a shape differs.
    """
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    for what, names in (("lacks", missing), ("has, but the model has not,", extra)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(
                f"{source} {what} {names[0]}{more}: it was made with other adapters, prompts or temporal head"
            )
    for name, value in expected.items():
        if value.shape != state[name].shape:
            raise InputError(
                f"{source}: {name} has shape {tuple(state[name].shape)}, the model's has {tuple(value.shape)}"
            )


def digest(state: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 digest of tensors by name."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(state[name].detach().to("cpu", torch.float32).numpy().tobytes())
    return total.hexdigest()


def model_digest(config: ModelConfig, state: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 digest of everything that the answers of a model depend on, except the location of its backbone.

    Args:
        config: configuration of the model.
        state: trained weights by name.
    """
    settings = {name: value for name, value in config.to_plain().items() if name != "backbone"}
    text = json.dumps(settings, sort_keys=True, default=as_json_text) + digest(state)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_parts(config: ModelConfig, before: ModelConfig, source: str) -> None:
    """Check adapters, prompts and temporal head: parts with the same weights may still compute something else."""
    for name, (now, old) in _parts_of_both(config, before):
        if now != old and (here := now and completed(now)) != (there := old and completed(old)):
            raise InputError(
                f"{name} is {_shown(here)}, but {source} was trained with {_shown(there)}", name.split("[")[0]
            )


def _parts_of_both(config: ModelConfig, before: ModelConfig) -> Iterator[tuple[str, tuple[Spec | None, Spec | None]]]:
    """Yield (name, (current part, trained part)) for every part in either configuration."""
    for site in sorted({*config.adapters, *before.adapters}):
        yield f"adapters[{site!r}]", (config.adapters.get(site), before.adapters.get(site))
    yield "prompts", (config.prompts, before.prompts)
    yield "temporal", (config.temporal, before.temporal)


def _shown(spec: Spec | None) -> str:
    return f"{short(spec.class_path)} {shown(spec.init_args)}" if spec else "none"


def _texts_of_both(
    trained: Trained, config: ModelConfig, token_ids: Tensor, layout: TextLayout, prompt_length: int
) -> list[tuple[str, Any, Any]]:
    """Return each label with its trained class text and that of a model: as words, or as tokens where words are unknown."""
    before = trained.config
    if before.texts and config.texts:
        return [(label, before.texts[label], config.texts[label]) for label in config.labels]
    rows = iter(layout.words(token_ids, prompt_length))
    now = [[next(rows) for _ in range(count)] for count in config.texts_per_class]
    was = [[row] for row in layout.words(torch.tensor(before.token_ids), prompt_length)] if before.token_ids else now
    return list(zip(config.labels, was, now, strict=True))
