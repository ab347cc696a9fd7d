"""Configurations of Hugging Face PEFT as plain data: which methods and arguments are supported, and what is wrong with others."""

import importlib
import os
import re
import warnings
from abc import ABC
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from peclip.errors import LONGEST_REASON, InputError, short, shown
from peclip.model.io.spec import Spec

METHODS = (
    "LoraConfig",
    "LoHaConfig",
    "LoKrConfig",
    "IA3Config",
    "HRAConfig",
    "MissConfig",
    "C3AConfig",
    "FourierFTConfig",
)
"""Configurations of PEFT whose layers each stand around one linear layer and train like any other weights."""

UNSUPPORTED = (
    # modules that PEFT would import
    *("megatron_config", "megatron_core"),
    # no layer around a linear layer
    *("modules_to_save", "trainable_token_indices", "target_parameters", "layer_replication"),
    # arguments of initialisations other than the INITIAL ones
    *("eva_config", "corda_config", "lora_ga_config", "loftq_config"),
    # arguments for language models, several adapters or quantised layers
    *("alora_invocation_tokens", "arrow_config", "use_qalora"),
)
"""Arguments that are refused."""

INITIAL = (True, False, "gaussian", "orthogonal")
"""Values of ``init_lora_weights`` that need no clips and leave the backbone as it is."""

NAMING = ("target_modules", "exclude_modules", "feedforward_modules")
"""Arguments that name modules, or have a pattern of their names."""


class PeftMethod(ABC):  # noqa: B024 - a configuration of PEFT, which is imported only if one is named
    """The configuration of a method of Hugging Face PEFT, such as ``peft.LoraConfig``."""

    @classmethod
    def __subclasshook__(cls, kind: type) -> bool:
        """Return whether a class is a configuration of PEFT."""
        return any((each.__module__, each.__name__) == ("peft.config", "PeftConfig") for each in kind.__mro__)


def describe_method(method: Any) -> Spec:
    """Return the class of a configuration of PEFT, and those of its arguments that are not the defaults.

    Raises:
        InputError: it is none, or not of the :data:`METHODS`, or an argument is not supported.
    """
    refuse_files(method)
    kind: Any = type(method)
    if (
        not PeftMethod.__subclasshook__(kind)
        or kind.__name__ not in METHODS
        or kind.__module__.partition(".")[0] != "peft"
    ):
        raise InputError(
            f"peft is {shown(kind.__name__)}, expected one of {', '.join(f'peft.{name}' for name in METHODS)}", "peft"
        )
    if method.inference_mode:
        raise InputError("peft: inference_mode is true, which would train nothing: omit it", "peft")
    of_every_method = {field.name for field in fields(peft_package().PeftConfig)}
    plain = kind()
    arguments = {}
    for field in fields(method):
        value: Any = getattr(method, field.name)
        make: Any = type(value)
        nested = is_dataclass(value) and value == make() and getattr(plain, field.name) is not None
        if field.init and field.name not in of_every_method and value != getattr(plain, field.name) and not nested:
            arguments[field.name] = _plain(value, field.name)
    return Spec(f"peft.{kind.__name__}", arguments)


def refuse_files(method: object) -> None:
    """Check that a method is not named by a folder or a file, such as those in which PEFT saves an adapter.

    Raises:
        InputError: it is.
    """
    if isinstance(method, str | os.PathLike) and os.path.exists(method):
        raise InputError(
            f"peft is {short(str(method))!r}, expected a configuration such as peft.LoraConfig, whose layers are trained here: an "
            "adapter that PEFT has saved can be merged into its CLIP (merge_and_unload, save_pretrained), to be the backbone",
            "peft",
        )


def method_of(spec: Spec) -> Any:
    """Return the configuration of PEFT that a spec describes.

    Raises:
        InputError: it is not of the :data:`METHODS`, an argument is not supported, or PEFT is missing or refuses it.
    """
    package, _, name = spec.class_path.partition(".")
    if package != "peft" or name not in METHODS:
        raise InputError(
            f"peft: class {spec.class_path!r} is none of {', '.join(f'peft.{name}' for name in METHODS)}", "peft"
        )
    for argument in UNSUPPORTED:
        if argument in spec.init_args:
            raise InputError(f"peft: {argument} is not supported: omit it", "peft")
    _check_arguments(spec.init_args)
    with errors_in_one_line():
        return getattr(peft_package(), name)(**spec.init_args)


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check the arguments with which PEFT itself would fail without naming them, or train without their effect.

    Raises:
        InputError: an initialisation needs clips or changes the backbone, the factor of the layers is 0, or a pattern or a number
            of one is none.
    """
    if (initial := arguments.get("init_lora_weights", True)) not in INITIAL:
        raise InputError(
            f"peft: init_lora_weights is {shown(initial)}, expected a bool, gaussian or orthogonal, which need no clips "
            "and leave the frozen backbone as it is",
            "peft",
        )
    for name in {"lora_alpha", "alpha"} & arguments.keys():
        if not arguments[name]:
            raise InputError(f"peft: {name} is 0, which would train nothing", "peft")
    numbers = {
        name: value for name, value in arguments.items() if name.endswith("_pattern") and isinstance(value, dict)
    }
    patterns = [(name, value) for name, value in arguments.items() if name in NAMING and isinstance(value, str)]
    for name, pattern in [*patterns, *((name, key) for name, value in numbers.items() for key in value)]:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(
                f"peft: {name} has {shown(pattern)}, which is not a regular expression: {error}", "peft"
            ) from error
    for name, value in numbers.items():
        for key, number in value.items():
            if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
                raise InputError(
                    f"peft: {name} has {shown(number)} for {shown(key)}, expected a number above 0", "peft"
                )


def _plain(value: Any, name: str) -> Any:
    """Return the value of an argument as plain data.

    Raises:
        InputError: it is none.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset | list | tuple):
        items = [_plain(item, name) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    if isinstance(value, dict):
        return {str(key): _plain(item, name) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"peft: {name} is {shown(value)}, which no file could describe: omit it", "peft")


def peft_package() -> Any:
    """Return the package.

    Raises:
        InputError: it is missing.
    """
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise InputError("peft needs the package peft, which is missing: pip install 'peclip[peft]'", "peft") from error


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Convert errors of PEFT to an :class:`InputError`, and its warnings too: they are about arguments without an effect."""
    try:
        with warnings.catch_warnings():
            for kind in (UserWarning, RuntimeWarning):
                warnings.filterwarnings("error", category=kind, module=r"peft\.")
            warnings.filterwarnings("ignore", ".*loftq_config")  # the parser states the defaults of all arguments
            warnings.filterwarnings("ignore", ".*merging LoRA weights")  # nothing here merges them
            yield
    except InputError:
        raise
    except Exception as error:  # PEFT raises several classes for its arguments
        words = " ".join(str(error).split())
        raise InputError(f"peft: {words[:LONGEST_REASON]}{'...' * (len(words) > LONGEST_REASON)}", "peft") from error
