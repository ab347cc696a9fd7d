"""Name a model in tables: after the parts that it was trained with, as its configuration states them."""

from inspect import signature
from typing import Any

from torch import nn

from peclip.model.io.spec import Spec, class_of, resolve
from peclip.model.io.trained import ModelConfig
from peclip.model.parts.adapters import PE_CLIP
from peclip.model.parts.peft_config import method_of
from peclip.model.parts.prompts import MaPLe

PROMPTS = "prompts"

SPELLED = {"Lora": "LoRA", "Miss": "MiSS"}
"""Methods of PEFT whose papers spell them otherwise than the classes of their configurations."""

MOST_MISSING = 2
"""Parts of PE-CLIP, of four, that a model named after it may lack."""


def method_name(config: ModelConfig) -> str:
    """Return what a model is called: "PE-CLIP", "PE-CLIP without TDA", "ST-Adapter", "LoRA (r=8)" or "PE-CLIP + GRU head".

    Other parts than PE-CLIP's are named with the arguments in which they differ from their defaults.
    """
    own = {site: _class(spec) for site, spec in config.adapters.items()}
    if config.prompts:
        own[PROMPTS] = _class(config.prompts)
    names = _as_pe_clip(own)
    if names is None:
        names = [_with_arguments(spec) for spec in (*config.adapters.values(), config.prompts) if spec]
    if config.temporal:
        names.append(_with_arguments(config.temporal))
    if config.peft:
        names.append(_method_of_peft(config.peft))
    if config.norms:
        names.append("norms" if config.norms == "both" else f"{config.norms} norms")
    return " + ".join(dict.fromkeys(names)) or "zero-shot CLIP"


def _as_pe_clip(own: dict[str, type[nn.Module]]) -> list[str] | None:
    """Return the name of a model whose adapters and prompts, by place, are PE-CLIP's or some of them; None for other parts."""
    whole = {site: class_of(factory) for site, factory in PE_CLIP.items()} | {PROMPTS: MaPLe}
    if not own.items() <= whole.items():
        return None
    present = {_title(kind) for kind in own.values()}
    missing = list(dict.fromkeys(_title(kind) for kind in whole.values() if _title(kind) not in present))
    partly = [
        f"{_title(kind)} at {place}" for place, kind in whole.items() if place not in own and _title(kind) in present
    ]
    if len(lacks := [*missing, *partly]) > MOST_MISSING:
        return None
    return [f"PE-CLIP without {' and '.join(lacks)}" if lacks else "PE-CLIP"]


def _class(spec: Spec) -> type[nn.Module]:
    return class_of(resolve(spec, nn.Module))


def _title(kind: type[nn.Module]) -> str:
    """Return the title that a class itself states, or its name: a class derived from it is another part."""
    return str(vars(kind).get("title") or kind.__name__)


def _with_arguments(spec: Spec) -> str:
    kind = _class(spec)
    defaults = {name: parameter.default for name, parameter in signature(kind).parameters.items()}
    return _named(_title(kind), {name: value for name, value in spec.init_args.items() if value != defaults.get(name)})


def _method_of_peft(spec: Spec) -> str:
    """Return the name of a method of PEFT, with its rank, if it has one, also if that is the default."""
    name = spec.class_path.rpartition(".")[2].removesuffix("Config")
    rank = getattr(method_of(spec), "r", None)
    return _named(SPELLED.get(name, name), ({} if rank is None else {"r": rank}) | spec.init_args)


def _named(title: str, arguments: dict[str, Any]) -> str:
    """Return a title with those of the arguments that are a number or a word."""
    shown = [f"{name}={value}" for name, value in arguments.items() if isinstance(value, str | int | float)]
    return f"{title} ({', '.join(shown)})" if shown else title
