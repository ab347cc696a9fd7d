"""Names of classes, those of expressions among them, and the texts that describe them: no torch, for every room."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from itertools import cycle

from peclip.errors import InputError, shown
from peclip.files import FORMULA

JOINTS = re.compile("[+,;|]")
"""Characters between the labels of a clip that has several."""


MOST_CLASSES = 30
"""Classes that a picture, a matrix or a screen shows one by one; of more, files have the numbers."""

SEVEN = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
"""The seven basic expressions in the order of DFEW."""

KNOWN = (*SEVEN, "contempt", "anxiety", "helplessness", "disappointment", "calm")
"""Every expression peclip has a text for. This order is the default order of the classes."""

SPELLINGS = {
    "happy": "happiness",
    "happiness": "happiness",
    "hap": "happiness",
    "sad": "sadness",
    "sadness": "sadness",
    "neutral": "neutral",
    "neu": "neutral",
    "angry": "anger",
    "anger": "anger",
    "ang": "anger",
    "surprise": "surprise",
    "surprised": "surprise",
    "disgust": "disgust",
    "disgusted": "disgust",
    "dis": "disgust",
    "fear": "fear",
    "fearful": "fear",
    "fea": "fear",
    "contempt": "contempt",
    "anxiety": "anxiety",
    "helplessness": "helplessness",
    "disappointment": "disappointment",
    "calm": "calm",
}
"""Spellings of the expressions in releases, in lower case, and the name that peclip uses."""


COLOURS = {
    "happiness": "#dd9d0b",
    "sadness": "#1152c4",
    "neutral": "#96abb7",
    "anger": "#bd2f14",
    "surprise": "#d090f7",
    "disgust": "#3ebc6b",
    "fear": "#714b80",
    "contempt": "#c153bb",
    "anxiety": "#7508f3",
    "helplessness": "#f0518d",
    "disappointment": "#854c3b",
    "calm": "#068270",
}
"""Colours of the classes in every picture.

They are chosen so that people with any colour blindness distinguish them, as a test simulates, and so that they stand out on white
and on black.
"""

MOST = 10_000
"""Largest number of classes."""

LONGEST_NAME = 1_000
"""Largest number of characters of a class name."""

SPACES = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
"""Characters that look like a space, of which some do not break a line: Unicode's category Zs."""

CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, halves of characters and line breaks, which files and terminals do not keep."""

REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Unicode's directions of characters that reorder the text after them, also that of the next cell of a table."""


COLUMNS = {
    *("file", "path", "track", "start", "end", "truth", "label", "predicted"),
    *(
        "face_share",
        "face_left",
        "face_top",
        "face_width",
        "face_height",
        "face_score",
        "face_brightness",
        "face_picture",
    ),
    *("faces_not_followed", "caution"),
}
"""Names of the columns, besides those of the labels, that tables of results have."""


_RUNS = re.compile(rf"[=＝]|[{re.escape(''.join(FORMULA))}].*[(|!]")  # noqa: RUF001 - wide signs, see FORMULA


def canonical(name: str) -> str:
    """Return the name under which peclip knows a class (``"Angry"`` -> ``"anger"``); others become :func:`plain`."""
    written = plain(name)
    return SPELLINGS.get(written.lower(), written)


def plain(name: str) -> str:
    """Return a name in the one of its spellings that look the same.

    Composed and decomposed letters become one (NFC), and so does any run of spaces, such as a no-break space, which becomes a
    plain one. Joiners, which many scripts and emojis need, are kept.
    """
    return SPACES.sub(" ", unicodedata.normalize("NFC", name.strip())).strip()


def flaw(name: str, others: Collection[str] = ()) -> str:
    """Return why a name cannot be that of a class, to follow the name in a message; empty if it can.

    Args:
        name: name as it is written.
        others: canonical names of the classes beside it.
    """
    if len(name) > LONGEST_NAME:
        return f"is not a class name: it has {len(name):,} characters, expected at most {LONGEST_NAME:,}"
    kinds = {character: unicodedata.category(character) for character in name}
    if {*kinds.values()} <= {"Zs", "Cf"}:
        return "is not a class name: it is empty"
    for character, kind in kinds.items():
        if kind in CONTROLS or unicodedata.bidirectional(character) in REORDERING:
            return f"is not a class name: it contains the control character {character!a}, remove it"
    if _RUNS.match(name):
        return "is not a class name: spreadsheets would compute it, begin with a letter"
    if classes := _joined(name, others):
        own = shown(" and ".join(classes))
        return f"names {len(classes)} classes, a clip has one: keep one of them, or call the combination {own}"
    return ""


def _joined(name: str, others: Collection[str]) -> list[str]:
    """Return the classes that a label joins, as ``happiness+anger`` does; none if it is the name of one class.

    Args:
        name: the label.
        others: the labels beside it. A name that joins neither these nor expressions may have a comma or a plus in it.
    """
    parts = [canonical(part) for part in JOINTS.split(name) if part.strip()]
    expressions = [part in KNOWN for part in parts]
    is_joined = len(parts) > 1 and (any(expressions) or (len({*parts}) > 1 and {*parts} <= {*others}))
    return parts if is_joined else []


def ordered(names: Iterable[str]) -> list[str]:
    """Return the distinct names in class order: known expressions as in :data:`KNOWN`, then others by alphabet."""
    rank = {name: place for place, name in enumerate(KNOWN)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(KNOWN)), name))


def label_colours(labels: Sequence[str]) -> list[str]:
    """Return the colour of each label: its own, or for others those of :data:`COLOURS` that no label has, in their order.

    Of more labels than there are colours some have the same.
    """
    own = {COLOURS[label] for label in labels if label in COLOURS}
    others = cycle([colour for colour in COLOURS.values() if colour not in own] or COLOURS.values())
    return [COLOURS.get(label) or next(others) for label in labels]


def ink(colour: str) -> str:
    """Return in which colour text is readable on a colour such as ``#dd9d0b``: black or white."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "white"


def divided(labels: Sequence[str]) -> list[str]:
    """Return the names of an option whose entries may hold several, separated by commas."""
    return [name.strip() for entry in labels for name in entry.split(",")]


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the :func:`canonical` names of classes.

    This is the rule for every list of labels: of a manifest, an option, a call, a checkpoint or a package.

    Raises:
        InputError: there is none or there are more than :data:`MOST`, one has a :func:`flaw`, or two are the same.
    """
    is_list = isinstance(labels, Iterable) and not isinstance(labels, str | set | frozenset)
    named = [*labels] if is_list else []
    if not is_list or not all(isinstance(label, str) for label in named):
        raise InputError(f"labels is {shown(labels)}, expected a list of class names", "labels")
    if not named:
        raise InputError("labels is empty, expected at least one class name", "labels")
    if len(named) > MOST:
        raise InputError(f"labels has {len(named):,} names, expected at most {MOST:,}", "labels")
    beside, names = {canonical(label) for label in named}, dict[str, str]()
    for label in named:
        name = canonical(label)
        if what := flaw(name, beside):
            raise InputError(f"labels: {shown(label)} {what}", "labels")
        if name in names:
            same = "" if names[name] == label else f", which is the same class as {names[name]!r}"
            raise InputError(f"labels: duplicate label {label!r}{same}", "labels")
        names[name] = label
    return tuple(names)


def column(label: str) -> str:
    """Return the name of a label's column in a table of results: its own, with ``_`` if it is that of another column.

    So a class ``path`` has the column ``path_``, and a class ``path_`` the column ``path__``.
    """
    return f"{label}_" if label.rstrip("_") in COLUMNS else label


def label_of(column: str) -> str:
    """Return the label of a column; the reverse of :func:`column`."""
    return column[:-1] if column.endswith("_") and column.rstrip("_") in COLUMNS else column


def are_expressions(labels: Iterable[str]) -> bool:
    """Return whether classes are expressions of a face: one of them is known as such."""
    return any(canonical(label) in KNOWN for label in labels)
