"""Read a command line and its configurations before the parser does: they decide how the parser is built."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import loggers

from peclip.configuration import load, read_configuration
from peclip.errors import InputError, options_below, shown
from peclip.guard import options_in
from peclip.model.parts.peft_config import refuse_files
from peclip.recipes import CONFIG_OPTIONS
from peclip.results.options import SEED_OPTION
from peclip.train.cli.checks import SEEDS

SECTIONS = ("trainer", "model", "data", "checkpoint", "last")
"""Options whose value in a configuration may also be the name of another file."""


class KnownLogger(NamedTuple):
    """A logger that has a name of one word on the command line.

    Attributes:
        kind: name of its class.
        options: options of the class.
        name: option of the class that gets the name of the run.
    """

    kind: str
    options: dict[str, Any]
    name: str = "name"


MLFLOW = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
"""Address at which MLflow keeps runs: a file of SQLite, as by its own default."""

LOGGERS = {
    "wandb": KnownLogger("WandbLogger", {"project": "peclip", "save_dir": "."}),
    "tensorboard": KnownLogger("TensorBoardLogger", {"save_dir": "runs"}),
    "mlflow": KnownLogger("MLFlowLogger", {"experiment_name": "peclip", "tracking_uri": MLFLOW}, name="run_name"),
}
"""Loggers by their names on the command line."""

IMPORT_PATH = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+)+")
"""The dotted name of a class within a text."""

SITE_OPTION = re.compile(r"(--model\.(?:init_args\.)?net\.adapters)\.(\w+(?:\.\w+(?:\[.*?\])?)?)")
"""An option that names a site, such as ``vision.mlp`` or ``vision.mlp[6:12]``."""

SWITCHES = ("true", "false", "null", "yes", "no", "on", "off")
"""Words of YAML that name nothing."""

TRUST = "trust"
"""Option that lets the files of a trained model name classes of other packages."""


def with_loggers(args: Sequence[str]) -> list[str]:
    """Return a command line in which ``--trainer.logger wandb`` has become the class of that logger.

    Raises:
        InputError: the word names no logger, or a configuration contains a word.
    """
    found = list(args)
    for place, arg in enumerate(args):
        option, sign, value = arg.partition("=")
        if option not in ("--trainer.logger", "--trainer.logger+"):
            continue
        value = value if sign else next(iter(args[place + 1 :]), "")
        if value in LOGGERS:
            logger = LOGGERS[value]
            given = {
                "class_path": f"lightning.pytorch.loggers.{logger.kind}",
                "init_args": {**logger.options, logger.name: value_of(args, "--name") or "peclip"},
            }
            found[place + (not sign)] = f"{option}=" * bool(sign) + json.dumps(given)
        elif _names_no_logger(value):
            raise InputError(
                f"trainer.logger is {value}, expected {', '.join(LOGGERS)}, false, or the import path of a logger such as "
                "lightning.pytorch.loggers.CometLogger"
            )
    for path, options in _configurations(args):
        if _names_no_logger(word := _section(path, options, "trainer").get("logger")):
            raise InputError(
                f"{path}: trainer.logger is {word}, expected the class_path of a logger; {', '.join(LOGGERS)} are words of the "
                "command line, as in --trainer.logger wandb"
            )
    return found


def _names_no_logger(value: Any) -> bool:
    """Return whether the value of an option is a word that is no class of Lightning's loggers."""
    is_word = isinstance(value, str) and re.fullmatch(r"[\w-]+", value)
    return bool(is_word) and value.lower() not in SWITCHES and value not in loggers.__all__


def check_seed(args: Sequence[str]) -> None:
    """Check that the seed is a number; Lightning also accepts ``true`` and ``false``.

    Raises:
        InputError: the seed is not a whole number.
    """
    given = [value for name, value in _options(args) if name == f"--{SEED_OPTION}" and value]
    given += [
        json.dumps(options[SEED_OPTION], default=str) for _, options in _configurations(args) if SEED_OPTION in options
    ]
    for value in given:
        if not re.fullmatch(r"[+-]?\d+", value):
            raise InputError(
                f"{SEED_OPTION} is {shown(value)}, expected 0 to {SEEDS - 1}: every run has a seed, with which it can be repeated"
            )


def check_configs(args: Sequence[str]) -> None:
    """Check that the configurations of a command line hold options; the parser's own message would not name the file.

    Raises:
        InputError: one is missing, is not valid YAML, or holds no options.
    """
    for path, options in _configurations(args):
        if TRUST in options:
            raise InputError(f"{path}: {TRUST} is an option of the command line alone: omit it")
        for name in SECTIONS:
            _section(path, options, name)


def check_sites(args: Sequence[str]) -> None:
    """Check that no option names a site of adapters, whose name has a dot, at which the parser would divide it.

    Raises:
        InputError: an option names a site.
    """
    for name, value in _options(args):
        if found := SITE_OPTION.match(name):
            option, site = found.groups()
            class_path = value if "." in value else "CLASS"
            raise InputError(
                f"{name}: a site has a dot in its name, so no option names one: set all adapters together, as in "
                f"{option} '{{\"{site}\": {{class_path: {class_path}, init_args: {{}}}}}}'"
            )


def check_model(args: Sequence[str]) -> None:
    """Check that no section of options is set to a trained model.

    Raises:
        InputError: a section is.
    """
    option = "--init_from" if args[0] in ("fit", "cv") else "--ckpt_path"
    for name, value in _options(args):
        if name in ("--model", "--checkpoint") and (value.endswith(".ckpt") or Path(value).is_dir()):
            raise InputError(f"{name} {value}: the trained model is {option} {value}")


def check_peft(args: Sequence[str]) -> None:
    """Check that PEFT's method is not a folder, in which the parser would look for a class.

    Raises:
        InputError: the method is a folder.
    """
    given: list[object] = [value for name, value in _options(args) if name.endswith("net.peft")]
    for path, options in _configurations(args):
        model = _section(path, options, "model")
        net = model.get("init_args", model).get("net")
        given += [net.get("peft")] if isinstance(net, dict) else []
    for value in given:
        with options_below("model.net"):
            refuse_files(value)


def names_config(args: Sequence[str]) -> bool:
    """Return whether a command line names a configuration, in any way to write the option."""
    return any(name in CONFIG_OPTIONS for name, _ in _options(args))


def names_module(args: Sequence[str]) -> bool:
    """Return whether a command line names a custom module: ``model.class_path``, there or in a configuration."""
    sections = [_section(path, options, "model") for path, options in _configurations(args)]
    for name, value in _options(args):
        if name == "--model.class_path":
            return True
        if name == "--model" and value not in SWITCHES:
            try:
                sections.append(options_in(value, "model", Path()))
            except InputError:  # the name of a class
                return True
    return any("class_path" in options for options in sections)


def value_of(args: Sequence[str], option: str) -> str | None:
    """Return the value of an option on a command line or in its configurations, the last one; None if it is absent.

    Args:
        args: command line, whose configurations can be read.
        option: name of the option, such as ``--ckpt_path``.
    """
    found: Any = None
    for name, value in _options(args):
        if name == option:
            found = value
        elif name in CONFIG_OPTIONS:
            found = read_configuration(Path(value)).get(option[2:], found)
    return found if isinstance(found, str) and found != "null" else None


def trusts_model(args: Sequence[str]) -> bool:
    """Return whether a command line sets ``--trust true``; the parser refuses values that are neither true nor false."""
    return any(name == f"--{TRUST}" and load(value) is True for name, value in _options(args))


def classes_named(args: Sequence[str]) -> frozenset[str]:
    """Return the import paths that the user names: in options of the model, and in configurations."""
    texts = [value for name, value in _options(args) if name.startswith("--model")]
    texts += [str([_section(path, options, name) for name in SECTIONS]) for path, options in _configurations(args)]
    return frozenset(path for text in texts for path in IMPORT_PATH.findall(text))


def _options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of a command line with their values, which are empty if none follows."""
    for place, arg in enumerate(args):
        name, sign, value = arg.partition("=")
        if re.match(r"-c.", name):  # -cFILE
            yield "-c", arg[2:].removeprefix("=")
        elif name.startswith("-"):
            yield name, value if sign else next(iter(args[place + 1 :]), "")


def _configurations(args: Sequence[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the configurations of a command line, in their order.

    Raises:
        InputError: one is missing or cannot be read.
    """
    for name, value in _options(args):
        if name in CONFIG_OPTIONS:
            if not value or value.startswith("-"):
                raise InputError(f"{name}: no file follows it, expected a YAML file or a recipe such as demo")
            yield Path(value), read_configuration(Path(value))


def _section(path: Path, options: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the options of a section, which may be in a separate file.

    Raises:
        InputError: there are none.
    """
    found = options.get(name, {})
    if isinstance(found, str):
        return options_in(found, f"{path}: {name}", path.parent)
    if not isinstance(found, dict):
        raise InputError(f"{path}: {name} is {shown(found)}, expected options below it, or omit it")
    return found
