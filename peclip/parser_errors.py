"""Messages of a parser of options about a mistake, in plain words, and advice on misspelt options."""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

from peclip.errors import InputError

NO_OBJECT = re.compile(
    r"Not a valid subclass of (\w+)(?:\. Got value: .*)?\n *Subclass types expect one of:(?:\n *- a .*)+"
)
"""Message of jsonargparse about a value that describes no object of a class."""

TYPES = (
    (r"Expected a <class '([\w.]+)'>", r"expected \1"),
    (r"Expected a typing\.Literal\['?([^',\]]*)'?\]", r"expected \1"),
    (r"Expected a typing\.Literal\[(.*?)\]", r"expected one of \1"),
    (r"Expected a dot import path string: .*", "expected an import path"),
    (
        r"Type \S{1,99}Callable\[.{1,200}\] expects a function .{1,200}, but got .{1,200}?\. Got",
        "expected an import path. Got",
    ),
)
"""Messages of jsonargparse about a value that has another type, and plain words for them."""

UNION = re.compile(
    r"Does not validate against any of the Union subtypes\s+Subtypes: .*\s+Errors:\n"
    r"((?:(?!Does not validate)[\s\S])*?)\n *Given value type: .*"
)
"""Message of jsonargparse about a value that has none of several types: the error of each is an item of a list."""

PARSER_WORDS = (  # what jsonargparse says, and how a person would
    (r" Given value type: <class '[\w.]+'>", ""),
    (r" Given value: ", ". Got value: "),
    (r"; see \S+ --help", ""),
    (r'Parser key "([^"]+)":', r"\1:"),
    *TYPES,
    (r"^(\S+): (\w+): (expected .*?)\. Got value: NestedArg\(.*\)$", r"\1.\2: \3"),
    (r"^(\S+): Option '([^']*)' is not accepted\. Got value: NestedArg\(.*\)$", r"\1 has no option \2"),
    (r"Option '([^']*)' is not accepted\. Got value: (?=[\[{])", r"there is no option \1 in "),
    (r"(\. Got value: .*?)\. Got value: (?=[\[{])", r"\1, in "),
    (r"NestedArg\(key='([^']*)', val=(.*?)\)(?=;|$)", r"\1 \2"),
    (
        r"arguments are required: (videos|clip)$",
        r"arguments are required: \1. Name what is read before options with several values, such as --labels",
    ),
    (
        r"unrecognized arguments: (-[^-\s]\S*\.\w+)$",
        r"unrecognized arguments: \1 (a file of that name is written ./\1)",
    ),
    (
        r"^(\S+): the following arguments are required: (\w+)[\w, ]*\. Got value: "
        + r"(?:(?!class_path).)*class_path'?[=:] ?'[\w.]*?(\w+)'(?:(?!class_path).)*$",
        r"\1: \3 needs \2, as in --\1.\2 VALUE",
    ),
)

LONGEST = 1000
"""Characters of a parser's message, which quotes values."""

MEANT = {
    "seed": "seed_everything",
    "epochs": "trainer.max_epochs",
    "lr": "model.lr_adapters",
    "learning_rate": "model.lr_adapters",
    "gpus": "trainer.devices",
    "workers": "data.num_workers",
    "frames": "data.num_frames",
}
"""Names by which other programs call an option, and the option."""


class _ParserError(InputError):
    """The message of a parser; around an argument of a class, the parser of the command adds the name of the option."""


class OneLineErrors:
    """Mixed into a jsonargparse parser, it raises an :class:`InputError` where the parser would print its usage."""

    prog: str
    _option_string_actions: dict[str, Any]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong and where the options are explained; an :class:`InputError` that was raised on the way says it."""
        cause: BaseException | None = ex
        while cause is not None:
            if isinstance(cause, InputError) and not isinstance(cause, _ParserError):
                raise cause
            cause = cause.__cause__
        words = in_plain_words(message)
        if (found := re.fullmatch(r"unrecognized arguments: (.*[^)])", words)) and (
            meant := advice(found[1], self._option_string_actions)
        ):
            words = f"{words} ({meant})"
        raise _ParserError(f"{words}; see {self.prog.replace(' [options]', '')} --help") from ex


def in_plain_words(message: str) -> str:
    """Return a message of jsonargparse as one line in plain words. Values in it are cut, so that it is searched in a short time."""
    message = "\n".join(line[:LONGEST] for line in message[: 20 * LONGEST].splitlines())
    message = NO_OBJECT.sub(r"expected the class path of a \1", message)
    while UNION.search(message):  # the innermost first
        message = UNION.sub(_error_of_union, message)
    words = _reworded(" ".join(line.strip(" -") for line in message.splitlines()), PARSER_WORDS)
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


def _error_of_union(found: re.Match[str]) -> str:
    """Return the error about an option of a class, if there is one, else all types that the value could have."""
    errors = [_reworded(" ".join(each.split()), TYPES) for each in re.split(r"^ *- ", found[1], flags=re.MULTILINE)]
    within = [each for each in errors if each and not each.startswith("expected ")]
    if within:  # an option of another class is unknown to this one
        return min(within, key=lambda each: "is not accepted" in each)
    types = [
        name for name in dict.fromkeys(each.removeprefix("expected ") for each in errors if each) if name != "NoneType"
    ]
    return "expected " + " or ".join(types or ["null"])


def _reworded(text: str, words: Iterable[tuple[str, str]]) -> str:
    for said, plain in words:
        text = re.sub(said, plain, text)
    return text


def advice(unknown: str, known: Collection[str]) -> str:
    """Return the options that were probably meant by words that a command does not know; an empty string if none is close.

    Args:
        unknown: the words, as in ``--lr 3``.
        known: the options of the command, as in ``--data.batch_size``.
    """
    if not unknown.startswith("-"):
        if {"--ckpt_path", "--out"} <= set(known):
            return f"the trained model is --ckpt_path {unknown}"
        option = next((each for each in ("--config", "--model", "--root", "--out") if each in known), "")
        return f"did you mean {option} {unknown}?" if option and " " not in unknown else ""
    close = [_close(word.partition("=")[0], known) for word in unknown.split() if word.startswith("--")]
    named = ", ".join(dict.fromkeys(filter(None, close)))
    return f"did you mean {named}?" if named else ""


def _close(option: str, known: Collection[str]) -> str:
    """Return the option that has this name, or the end of it, or a similar one; of several the one with the shortest path."""
    options: dict[str, str] = {}
    for each in sorted(known, key=lambda each: each.count(".")):
        for name in (_plain(each), _plain(each).rpartition(".")[2]):
            options.setdefault(name, each)
    whole, last = _plain(option), _plain(option).rpartition(".")[2]
    if (meant := f"--{MEANT.get(whole)}") in known:
        return meant
    for name in (whole, last):
        if name in options:
            return options[name]
    return next((options[each] for name in (whole, last) for each in get_close_matches(name, options, 1, 0.7)), "")


def _plain(option: str) -> str:
    return option.lstrip("-").replace("-", "_").lower()
