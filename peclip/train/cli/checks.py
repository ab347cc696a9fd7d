"""Check a command line and its configurations before anything is built or written."""

import sys
from collections.abc import Sequence
from inspect import isclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer

from peclip.errors import InputError, in_one_line
from peclip.model import Adapter, MaPLe
from peclip.model.io.spec import Spec, resolve
from peclip.train.private_hooks import cpu_multiplies_bf16

SECTIONS = ("trainer", "model", "data", "checkpoint", "last")
"""Options whose value in a configuration may also be the name of another file."""

SEEDS = 2**32
"""NumPy accepts seeds from 0 to below this."""


def check_values(options: Namespace, training: bool) -> None:
    """Check values that Lightning accepts unchecked and that would fail later or mean something else.

    Raises:
        InputError: one is out of range.
    """
    seed, name, trainer = options.seed_everything, options.name, options.trainer
    if not 0 <= seed < SEEDS:
        raise InputError(f"seed_everything is {seed}, expected 0 to {SEEDS - 1}")
    if name in ("", ".") or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"name is {name!r}, expected the name of a folder below runs")
    if options.ckpt_path == "":
        raise InputError("ckpt_path is empty: name a run, a .ckpt or a package, or omit it")
    if trainer.accumulate_grad_batches < 1:
        raise InputError(f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}, expected at least 1")
    if training and 0 in (trainer.max_epochs, trainer.max_steps):
        name = "max_epochs" if trainer.max_epochs == 0 else "max_steps"
        raise InputError(f"trainer.{name} is 0: nothing would be trained; peclip test evaluates a model as it is")
    for name in ("val_check_interval", "check_val_every_n_epoch"):
        if trainer[name] == 0:
            raise InputError(f"trainer.{name} is 0, expected more; trainer.limit_val_batches 0 omits validation")
    if training and trainer.limit_train_batches is not None and not trainer.limit_train_batches > 0:
        raise InputError(f"trainer.limit_train_batches is {trainer.limit_train_batches}: no batch remains to train on")


def check_checkpoint(path: Path) -> None:
    """Check that a checkpoint to resume from exists.

    Raises:
        InputError: it does not.
    """
    if not path.is_file():
        raise InputError(f"{path}: no checkpoint to resume from, expected last, a .ckpt file or the folder of a run")


def check_configs(args: Sequence[str]) -> None:
    """Check that the configurations of a command line are YAML; the parser's own message would not name the file.

    Raises:
        InputError: one is missing, is not valid YAML, or holds no options.
    """
    for place, arg in enumerate(args):
        name, _, value = arg.partition("=")
        if name not in ("--config", "-c"):
            continue
        named = value or next(iter(args[place + 1 :]), "")
        if not named or named.startswith("-"):
            raise InputError(f"{name}: no file follows it, expected a YAML file or a recipe such as demo")
        path = Path(named)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: cannot be read as a configuration ({error.strerror})") from error
        except yaml.MarkedYAMLError as error:
            line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise InputError(f"{path}{line}: not valid YAML, {error.problem}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not valid YAML, {in_one_line(error)}") from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: expected options, such as name, trainer, model and data")
        _check_classes(content, str(path))
        for section in SECTIONS:
            options = content.get(section, {})
            if not isinstance(options, dict) and not (isinstance(options, str) and Path(options).is_file()):
                raise InputError(f"{path}: {section} is {options!r}, expected options below it, or omit it")


def _check_classes(options: Any, where: str) -> None:
    """Check that no class of the standard library is named: the parser imports, and so runs, a module before it checks it.

    Raises:
        InputError: one is.
    """
    if isinstance(options, str) and where.endswith(tuple(f": {name}" for name in SECTIONS)) and Path(options).is_file():
        check_configs(["--config", options])
    items = options.items() if isinstance(options, dict) else enumerate(options) if isinstance(options, list) else ()
    for key, value in items:
        parts = str(value).split(".")
        if key == "class_path" and (
            parts[0] in sys.stdlib_module_names or any(part.startswith("__") for part in parts)
        ):
            raise InputError(f"{where} names {value!r}, which cannot be an option of a training")
        _check_classes(value, f"{where}: {key}" if where.count(": ") == 0 else f"{where}.{key}")


def check_callables(options: Any, key: str) -> None:
    """Check that no option of a callback, a logger or the trainer is a function, which would be called.

    Raises:
        InputError: one is.
    """
    if callable(options) and not isinstance(options, Namespace):
        raise InputError(
            f"{key} is the function {getattr(options, '__qualname__', options)}: functions are not allowed in a configuration"
        )
    if isinstance(options, Namespace | dict):
        for name, value in dict(options.as_dict() if isinstance(options, Namespace) else options).items():
            check_callables(value, f"{key}.{name}")
    elif isinstance(options, list):
        for value in options:
            check_callables(value, key)


def check_parts(net: Namespace) -> None:
    """Check that the adapters and prompts of a configuration are such classes; any other class or function would be run.

    Raises:
        InputError: one is another class, or has other arguments.
    """
    parts: dict[str, tuple[Any, type[Adapter | MaPLe]]]
    parts = {f"adapters.{site}": (spec, Adapter) for site, spec in (net.adapters or {}).items()}
    if net.prompts is not None:
        parts["prompts"] = (net.prompts, MaPLe)
    for key, (spec, kind) in parts.items():
        if isclass(spec) and issubclass(spec, kind):  # a default
            continue
        if not isinstance(spec, Namespace) or "class_path" not in spec:
            raise InputError(f"model.net.{key} is {spec!r}, expected the class_path of a class")
        arguments = spec.get("init_args") or Namespace()
        try:
            resolve(Spec(spec.class_path, arguments.as_dict()), kind)
        except InputError as error:
            raise InputError(f"model.net.{key}: {error}") from error


def fits_cluster(trainer: Trainer) -> Trainer:
    """Return the trainer after checking that SLURM or torchrun has started a process for each of its devices.

    Raises:
        ValueError: the numbers differ; Lightning's message names both.
    """
    if environment := getattr(trainer.strategy, "cluster_environment", None):
        environment.validate_settings(num_devices=trainer.num_devices, num_nodes=trainer.num_nodes)
    return trainer


def best_precision(accelerator: Any) -> str:
    """Return ``bf16-mixed`` where the device multiplies bf16 matrices in hardware, else ``32-true``."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if cpu_multiplies_bf16() else "32-true"


def names_module(args: Sequence[str]) -> bool:
    """Return whether a command line names a module of one's own: ``model.class_path``, there or in a configuration."""
    for place, arg in enumerate(args):
        name, _, value = arg.partition("=")
        if name in ("--model", "--model.class_path"):
            return True
        if name in ("--config", "-c"):
            path = Path(value or args[place + 1])
            model = yaml.safe_load(path.read_text(encoding="utf-8")).get("model")
            if isinstance(model, dict) and "class_path" in model:
                return True
    return False
