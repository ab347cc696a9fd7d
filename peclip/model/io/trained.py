"""What training leaves behind, as plain data that is checked before anything is built from it."""

import hashlib
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peclip.errors import InputError
from peclip.model.backbones.clip import Backbone
from peclip.model.io.spec import Spec, resolve
from peclip.model.parts.adapters import Adapter
from peclip.model.parts.prompts import MaPLe

FORMAT = 1
"""Version of the configuration below; raised when a reader of before would misunderstand it."""

DEFAULT_FRAMES = 16
"""Frames per clip of PE-CLIP, where nothing else is known of the clips that a model was trained on."""

Config = dict[str, Any]
"""``PEClip.config`` with ``format`` and ``input``, and in a package what :mod:`peclip.model.io.package` adds:

- ``format``: its version, :data:`FORMAT`.
- ``backbone``: Hub id, folder or ``demo``; ``fingerprint``: of that CLIP's weights.
- ``labels``: class names in the order of the logits.
- ``texts``: class texts by label; ``token_ids`` in their place where only these are known, (C, N).
- ``adapters``: class and arguments by site; ``prompts``: the same, or None.
- ``logit_scale``: what cosine similarities are multiplied by.
- ``input``: ``num_frames`` T, ``image_size`` in pixels and ``normalize`` (``clip`` or ``none``): what it was trained on.
"""


class Trained(NamedTuple):
    """A trained PE-CLIP as plain data.

    Attributes:
        config: see :data:`Config`.
        state: the tensors of adapters and prompts, as ``PEClip.trainable_state``.
        source: where they come from, for messages.
        backbone: the CLIP itself, where the source holds one; it is loaded by its name otherwise.
    """

    config: Config
    state: dict[str, Tensor]
    source: str
    backbone: Backbone | None = None


def with_input(config: Mapping[str, Any], num_frames: int, image_size: int, normalize: str) -> Config:
    """Return the configuration of a PEClip as a checkpoint carries it, with what its clips looked like.

    Args:
        config: of the PEClip.
        num_frames: T of the clips.
        image_size: side of the frames in pixels.
        normalize: how pixels were normalised, ``clip`` or ``none``.
    """
    entry = {"num_frames": num_frames, "image_size": image_size, "normalize": normalize}
    known = {key: config[key] for key in CHECKS if key in config}
    return {"format": FORMAT, **known, "input": entry}


def state_sum(state: Mapping[str, Tensor]) -> str:
    """Return a sum over tensors, by which changed ones are told."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(state[name].detach().to("cpu", torch.float32).numpy().tobytes())
    return total.hexdigest()


def check_config(config: Any, source: str, allowed: Sequence[str] = ()) -> Config:
    """Return a configuration from outside after checking every entry.

    Args:
        config: what was read.
        source: where it comes from, for the message.
        allowed: further keys that it may have.

    Raises:
        InputError: it is no configuration of peclip, of a newer version, or one of its entries is of another kind or
            names a class that is no adapter or prompt.
    """
    if not isinstance(config, dict) or not {"backbone", "labels", "adapters"} <= config.keys():
        raise InputError(f"{source} is not peclip's: it does not name a backbone, labels and adapters")
    version: Any = config.get("format")
    if not _whole(version):
        raise InputError(f"{source} is not peclip's: its format is {version!r}, expected a number")
    if version > FORMAT:
        raise InputError(
            f"{source} was written by a newer peclip (format {version}, this one reads up to {FORMAT}): update peclip"
        )
    if unknown := config.keys() - CHECKS.keys() - {"format", *allowed}:
        raise InputError(f"{source}: unknown entry {min(map(str, unknown))!r}, expected {', '.join(CHECKS)}")
    if ("texts" in config) == ("token_ids" in config):
        raise InputError(f"{source}: expected either texts or token_ids")
    for key, (fits, expected) in CHECKS.items():
        if key not in config and key in ("texts", "token_ids"):
            continue
        if not fits(config.get(key)):
            raise InputError(f"{source}: {key} is {_shown(config.get(key))}, expected {expected}")
    texts, labels = config.get("texts"), config["labels"]
    if texts is not None and (missing := [label for label in labels if label not in texts]):
        raise InputError(f"{source}: texts has none for the label {missing[0]!r}")
    _check_classes(config, source)
    return config


def check_labels(config: Config, labels: Sequence[str], source: str) -> None:
    """Check that what was trained fits the labels of the data, in their order.

    Raises:
        InputError: it does not.
    """
    trained = config["labels"]
    if list(labels) != trained:
        raise InputError(
            f"{source} was trained on the labels {', '.join(trained)}, but the data has {', '.join(labels)}: give "
            "data.labels in the trained order, or other data"
        )


def _check_classes(config: Config, source: str) -> None:
    specs: list[tuple[str, Spec, type[Adapter | MaPLe]]]
    specs = [(f"adapters {site}", spec, Adapter) for site, spec in config["adapters"].items()]
    if config["prompts"]:
        specs.append(("prompts", config["prompts"], MaPLe))
    for where, spec, kind in specs:
        try:
            _check_import(spec["class_path"], kind)
            resolve(spec, kind)
        except InputError as error:
            raise InputError(f"{source}: {where}: {error}") from error


def _check_import(class_path: str, kind: type) -> None:
    """Check that finding a class that a file names runs nothing but an installed package.

    Raises:
        InputError: its module would run a program, or is a file in the working folder, which may have come with the one
            that names it.
    """
    module = class_path.rpartition(".")[0]
    top = module.partition(".")[0]
    if module in sys.modules:
        return
    if top in sys.stdlib_module_names or any(part.startswith("__") for part in module.split(".")):
        raise InputError(f"class {class_path!r} is not a {kind.__name__}")
    if top == "peclip":
        return
    found = find_spec(top)
    places = [found.origin, *(found.submodule_search_locations or ())] if found else []
    here = Path.cwd()
    if any(place and Path(place).resolve().is_relative_to(here) and "site-packages" not in place for place in places):
        raise InputError(
            f"class {class_path!r} lies in the working folder: a file may name only what is installed or imported "
            f"already; import {module} first, or install it"
        )


def _whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(label) and isinstance(text, str) for label, text in value.items())


def _labels(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value)) and len(set(value)) == len(value)


def _token_ids(value: Any) -> bool:
    rows = value if isinstance(value, list) else []
    whole = all(isinstance(row, list) and row and all(_whole(entry, 0) for entry in row) for row in rows)
    return bool(rows) and whole and len({len(row) for row in rows}) == 1


def _spec(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"class_path", "init_args"}
        and isinstance(value["class_path"], str)
        and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", value["class_path"]) is not None
        and isinstance(value["init_args"], dict)
        and all(isinstance(name, str) for name in value["init_args"])
    )


def _specs(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(site, str) and _spec(spec) for site, spec in value.items())


def _scale(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _input(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"num_frames", "image_size", "normalize"}
        and _whole(value["num_frames"])
        and _whole(value["image_size"])
        and value["normalize"] in ("clip", "none")
    )


def _shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, and short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "backbone": (_text, "a Hub id, a folder or demo"),
    "fingerprint": (_text, "a fingerprint of the backbone"),
    "labels": (_labels, "distinct class names"),
    "texts": (_texts, "a text by label"),
    "token_ids": (_token_ids, "a row of token ids per class"),
    "adapters": (_specs, "a class_path and init_args by site"),
    "prompts": (lambda value: value is None or _spec(value), "a class_path and init_args, or null"),
    "logit_scale": (_scale, "a number above 0"),
    "input": (_input, "num_frames, image_size and normalize (clip or none)"),
}
"""Every entry of a configuration but ``format``: what it must be, and how a message says so."""
