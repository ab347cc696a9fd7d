"""The ``peclip`` command: a table of its subcommands. Heavy imports happen only inside the one that runs."""

import gc
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from peclip import __version__
from peclip.errors import INTERRUPTED, InputError, in_one_line
from peclip.parser_errors import OneLineErrors
from peclip.terminal import open_streams


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        text: description in a few words.
        target: ``module:function``; its typed arguments are the options and its docstring their help.
        positional: the argument that is given without a name; with ``...`` for one or more, with ``?`` for one or none.
    """

    text: str
    target: str
    positional: str = ""


HELP_TEXTS = Path(__file__).parent / "train" / "cli" / "help"
"""The help of Lightning's subcommands, written from its parser by tools/write_help.py: building that takes seconds."""

LIGHTNING = "peclip.train.cli.command:run"
"""Function that runs the subcommands of LightningCLI with an unparsed command line."""

SEEDS = "peclip.train.seeds:run"
"""Function that runs ``fit`` or ``cv`` for several seeds with an unparsed command line."""

FOLDS = "peclip.train.cv:run"
"""Function that runs ``fit`` for every fold with an unparsed command line."""


COMMANDS = {
    "recipes": Command(
        "list the configurations that come with peclip, or print one", "peclip.recipes:recipes", "name?"
    ),
    "fit": Command("train on a data set, then evaluate the best checkpoint once", LIGHTNING),
    "validate": Command("evaluate a checkpoint on the validation clips", LIGHTNING),
    "test": Command("evaluate a checkpoint on the test clips", LIGHTNING),
    "predict": Command("write the label and the probabilities of every clip", LIGHTNING),
    "cv": Command("train and test every fold; run again, resume where it was interrupted", FOLDS),
    "compare": Command("compare runs on the same test clips", "peclip.results.compare:compare", "runs..."),
    "table": Command("put many runs into one table, seeds as replicates", "peclip.results.table:table", "runs..."),
    "prepare": Command("write the manifest of a benchmark on disk", "peclip.commands.data:prepare", "benchmark"),
    "prepare list": Command(
        "make a manifest of lists such as PATH FRAMES LABEL", "peclip.commands.data:prepare_list", "files..."
    ),
    "check": Command("count and look through the clips of a manifest", "peclip.commands.data:check", "manifest"),
    "pack": Command("pack clips into few large files for training", "peclip.commands.data:pack", "manifest"),
    "download": Command("download a public data set", "peclip.commands.data:download", "name"),
    "faces": Command(
        "crop the faces of a data set, as recognize does, to train on", "peclip.commands.data:faces", "manifest"
    ),
    "recognize": Command(
        "recognize which expressions videos show, and when", "peclip.commands.recognize:recognize", "videos..."
    ),
    "explain": Command(
        "explain an answer: which frames counted, where it looked, which text fitted",
        "peclip.commands.explain:explain",
        "clip",
    ),
    "embed": Command("write the features of clips, and draw a map of them", "peclip.commands.embed:embed", "manifest"),
    "serve": Command("serve a web page that recognizes the expressions in a video", "peclip.commands.serve:serve"),
    "bench train": Command("time training steps: clips/s, memory, share of the peak", "peclip.bench.commands:train"),
    "bench eval": Command("time the evaluation of batches in the same way", "peclip.bench.commands:evaluate"),
    "bench decode": Command("time the decoding of clips on one core", "peclip.bench.commands:decode"),
    "export": Command("write a package of adapters, or an ONNX file", "peclip.commands.model:export", "run"),
    "import": Command("make a package of a released .pth", "peclip.commands.model:import_released", "released"),
}

HELP = f"""peclip {__version__}: which expression does a face show? PE-CLIP for dynamic facial expression recognition.

usage: peclip COMMAND [--config FILE ...] [--option VALUE ...]
       peclip COMMAND --help    every option of a command
       peclip --version

commands:
{chr(10).join(f"  {name:<12} {command.text}" for name, command in COMMANDS.items())}

start here:
  peclip fit --config demo                   train on synthetic faces: nothing to download, minutes on a CPU
  peclip fit --config ferv39k --data.root /data/FERV39K
  peclip recipes                             other configurations that --config accepts by name
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        args: command line; None for that of the process.

    Raises:
        SystemExit: with status 2 after one line on stderr when the user made a mistake; with 130 after Ctrl-C; with the
            status of a subcommand that returns one.
    """
    open_streams()
    os.environ.setdefault("MKL_CBWR", "AUTO")  # else MKL's products differ from process to process on CPUs of AMD
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    if args[0] == "--version":
        print(f"peclip {__version__}")
        return
    try:
        status = _run(args[0], args[1:])
    except (InputError, OSError) as error:
        print(f"peclip: error: {in_one_line(_as_input_error(error))}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("peclip: interrupted", file=sys.stderr)
        status = INTERRUPTED
    if status:
        raise SystemExit(status)


def _as_input_error(error: InputError | OSError) -> InputError:
    """Return the system's message about a file that a user has named, such as that its name is too long.

    Raises:
        OSError: it says nothing of a file.
    """
    if isinstance(error, InputError):
        return error
    if error.filename is None or error.strerror is None:
        raise error
    return InputError(f"{error.filename}: {error.strerror}")


def _run(name: str, args: list[str]) -> int:
    group = [command for command in COMMANDS if command.startswith(f"{name} ")]
    if group and name not in COMMANDS and args[:1] in ([], ["-h"], ["--help"]):
        print("\n".join(f"  peclip {command:<12} {COMMANDS[command].text}" for command in group))
        return 0
    if group and (name not in COMMANDS or f"{name} {''.join(args[:1])}" in group):
        name, args = f"{name} {args[0]}", args[1:]
    if name not in COMMANDS:
        raise InputError(f"unknown command {name!r}, expected one of {', '.join(COMMANDS)}; see peclip --help")
    command = COMMANDS[name]
    if command.target in (LIGHTNING, FOLDS) and args in (["-h"], ["--help"]):
        print(_stored_help(name), end="")
        return 0
    several = name in ("fit", "cv") and any(arg.partition("=")[0] == "--seeds" for arg in args)
    module, _, function = (SEEDS if several else command.target).partition(":")
    gc.disable()  # no import can be collected, and the search for garbage takes a fifth of the time
    try:
        target = getattr(import_module(module), function)
    finally:
        gc.enable()
    if command.target in (LIGHTNING, FOLDS):
        from peclip.recipes import with_recipes

        return target([name, *with_recipes(args)]) or 0
    return target(**_parse(name, command, target, args)) or 0


def _stored_help(name: str) -> str:
    """Return the help of a subcommand of Lightning's; the options of ``cv`` are those of ``fit``."""
    text = (HELP_TEXTS / f"{name}.txt").read_text(encoding="utf-8")
    if name != "cv":
        return text
    of_fit = _stored_help("fit")
    return text + of_fit[of_fit.index("\noptions:\n") :]


def _parse(name: str, command: Command, target: Callable[..., Any], args: list[str]) -> dict[str, Any]:
    """Return the arguments of a subcommand's function, read from the command line."""
    from docstring_parser import parse
    from jsonargparse import ArgumentParser

    from peclip.guard import guarded

    class Parser(OneLineErrors, ArgumentParser):
        pass

    parser = Parser(prog=f"peclip {name}", description=command.text, allow_abbrev=False)
    positional = command.positional.rstrip(".?")
    texts = {entry.arg_name: entry.description for entry in parse(target.__doc__ or "").params}
    several = [name for name, kind in get_type_hints(target).items() if kind == list[str] | None and name != "return"]
    parser.add_function_arguments(target, as_positional=False, skip={*several, *([positional] if positional else [])})
    if positional:
        nargs: dict[str, Any] = {".": {"nargs": "+"}, "?": {"nargs": "?"}}.get(command.positional[-1], {})
        parser.add_argument(positional, type=str, help=texts[positional], **nargs)
    for option in several:  # these accept all words that follow
        parser.add_argument(f"--{option}", type=str, nargs="+", action="extend", help=texts[option])
    # --face-model is --face_model: either way of writing an option is common
    args = [re.sub(r"^--[\w-]+", lambda option: "--" + option[0][2:].replace("-", "_"), word) for word in args]
    args = _switched(args, target)
    with guarded():
        found = dict(parser.parse_args(args).as_dict())
    return found | {option: _words(found[option]) for option in several}


def _switched(args: list[str], target: Callable[..., Any]) -> list[str]:
    """Return a command line in which an option that is off by default has a value where its name alone stands."""
    kinds, defaults = get_type_hints(target), signature(target).parameters
    switches: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        off = defaults[name].default if name in defaults else None
        if kind is bool and off is False:
            switches[f"--{name}"] = ["true", "false", "yes", "no"]
        elif get_origin(kind) is Literal and off == "none":
            switches[f"--{name}"] = [*get_args(kind)]
    return [
        f"{word}={switches[word][0]}" if word in switches and after.lower() not in switches[word] else word
        for word, after in zip(args, [*args[1:], ""], strict=False)
    ]


def _words(given: list[str] | None) -> list[str] | None:
    """Return the words that follow an option, or the items of a list such as ``[a, b]``, as a configuration has it."""
    from yaml import YAMLError

    from peclip.configuration import Listed, load

    with suppress(YAMLError):
        if given and len(given) == 1 and isinstance(items := load(given[0]), Listed):
            return list(map(str, items.texts))
    return given
