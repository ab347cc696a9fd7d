"""Names of classes, those of expressions among them, and the texts that describe them: no torch, for every room."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Literal, get_args

from peclip.errors import InputError, listed, shown

TextStyle = Literal["action_units", "names", "sentences"]

PLACEHOLDER = "{label}"
"""Stands for the name of the class in a template for class texts."""

JOINTS = re.compile("[+,;|]")
"""Characters between the labels of a clip that has several."""

CAMEL_CASE = re.compile(r"(?:[A-Z][a-z]+){2,}")
"""A name of several words that are joined by their capitals, as in UCF101."""

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

ACTION_UNITS = {
    "happiness": "Cheek Raiser, Lip Corner Puller.",
    "sadness": "Inner Brow Raiser, Brow Lowerer, Lip Corner Depressor.",
    "neutral": "Relaxed Muscles, Even Eyebrows, Closed Lips, Calm Eyes, Smooth Forehead.",
    "anger": "Brow Lowerer, Upper Lid Raiser, Lid Tightener, Lip Tightener.",
    "surprise": "Inner Brow Raiser, Outer Brow Raiser, Upper Lid Raiser, Jaw Drop.",
    "disgust": "Nose Wrinkler, Lip Corner Depressor, Lower Lip Depressor.",
    "fear": (
        "Inner Brow Raiser, Outer Brow Raiser, Brow Lowerer, Upper Lid Raiser, Lid Tightener, Lip Stretcher, Jaw Drop."
    ),
    # EMFACS: R12A + R14A. It happens on either side of the face, and training clips are flipped.
    "contempt": "One-Sided Lip Corner Puller, One-Sided Dimpler.",
    # No entry in EMFACS. Brows and lids of its fear (1 + 4 + 5), less than all of it, over a mouth held back (24 + 32).
    "anxiety": "Inner Brow Raiser, Brow Lowerer, Upper Lid Raiser, Lip Pressor, Lip Bite.",
    # No entry in EMFACS. The shrug of brows and mouth by which faces say that nothing can be done (1 + 2 + 15 + 17).
    "helplessness": "Inner Brow Raiser, Outer Brow Raiser, Lip Corner Depressor, Chin Raiser.",
    # No entry in EMFACS. Its sadness without the inner brows (4 + 15), lips pressed (24), eyes and head down (64 + 54).
    "disappointment": "Brow Lowerer, Lip Corner Depressor, Lip Pressor, Eyes Down, Head Down.",
    # No entry in EMFACS. A face at rest as above, content: the trace of a smile (12A).
    "calm": "Relaxed Muscles, Smooth Forehead, Relaxed Eyelids, Closed Lips, Slight Lip Corner Puller.",
}
"""Class texts as action units, by their names in FACS (Ekman, Friesen and Hager, Facial Action Coding System, 2002).

The seven are PE-CLIP's own texts, and its checkpoints need them to the letter. Of the others EMFACS (Friesen and Ekman,
1983), which lists the action units of emotions, has only contempt; the rest are composed here, as the comments say, and are
not based on a study of these classes.
"""

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

LONGEST_NAME, LONGEST_TEXT = 1_000, 10_000
"""Largest numbers of characters of a class name and of a class text."""

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


def canonical(name: str) -> str:
    """Return the name under which peclip knows a class (``"Angry"`` -> ``"anger"``).

    Spellings of one name become one: composed and decomposed letters (NFC), and any run of spaces, such as a no-break space,
    which becomes a plain one. Joiners, which many scripts and emojis need, are kept.
    """
    plain = SPACES.sub(" ", unicodedata.normalize("NFC", name.strip())).strip()
    return SPELLINGS.get(plain.lower(), plain)


def flaw(name: str, others: Collection[str] = ()) -> str:
    """Return why a name cannot be that of a class, to follow the name in a message; empty if it can.

    Args:
        name: as it is written.
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
    if classes := _joined(name, others):
        own = shown(" and ".join(classes))
        return f"names {len(classes)} classes, a clip has one: keep one of them, or call the combination {own}"
    return ""


def _joined(name: str, others: Collection[str]) -> list[str]:
    """Return the classes that a label joins, as ``happiness+anger`` does; none where it is the name of one class.

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


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the :func:`canonical` names of classes.

    This is the rule for every list of labels: of a manifest, an option, a call, a checkpoint or a package.

    Raises:
        InputError: there is none or there are more than :data:`MOST`, one has a :func:`flaw`, or two are the same.
    """
    if not labels:
        raise InputError("labels is empty, expected at least one class name", "labels")
    if len(labels) > MOST:
        raise InputError(f"labels has {len(labels):,} names, expected at most {MOST:,}", "labels")
    beside, names = {canonical(label) for label in labels}, dict[str, str]()
    for label in labels:
        name = canonical(label)
        if what := flaw(name, beside):
            raise InputError(f"labels: {shown(label)} {what}", "labels")
        if name in names:
            same = "" if names[name] == label else f", which is the same class as {names[name]!r}"
            raise InputError(f"labels: duplicate label {label!r}{same}", "labels")
        names[name] = label
    return tuple(names)


def column(label: str) -> str:
    """Return the name of a label's column in a table of results: its own, with ``_`` where it is that of another column.

    So a class ``path`` has the column ``path_``, and a class ``path_`` the column ``path__``.
    """
    return f"{label}_" if label.rstrip("_") in COLUMNS else label


def label_of(column: str) -> str:
    """Return the label of a column; the reverse of :func:`column`."""
    return column[:-1] if column.endswith("_") and column.rstrip("_") in COLUMNS else column


def are_expressions(labels: Iterable[str]) -> bool:
    """Return whether classes are expressions of a face: one of them is known as such."""
    return any(canonical(label) in KNOWN for label in labels)


def words(name: str) -> str:
    """Return a class name as words: ``brush_hair`` and ``BrushHair`` are "brush hair"."""
    apart = re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower() if CAMEL_CASE.fullmatch(name) else name
    return " ".join(apart.replace("_", " ").split())


def class_texts(labels: Sequence[str], texts: str | Mapping[str, str] = "action_units") -> list[str]:
    """Return one text per class, in the order of the labels.

    Args:
        labels: class names.
        texts: a style (``action_units``: FACS descriptions; ``names``: the plain name; ``sentences``: "an expression
            of ..."), a template such as "a video of a person {label}", or the texts themselves by label.

    Raises:
        InputError: labels are not distinct; a label has no text, an empty one, one that is too long or the same as another;
            or the style is unknown, and no template.
    """
    names = class_names(labels)
    if texts == "names":
        return [*names]
    if texts == "sentences":
        return [f"an expression of {name}" for name in names]
    if isinstance(texts, str) and texts != "action_units":
        check_template(texts)
        texts = {name: texts.replace(PLACEHOLDER, words(name)) for name in names}
    known = texts_by_name(ACTION_UNITS if isinstance(texts, str) else texts)
    if missing := [name for name in names if name not in known]:
        raise InputError(
            f"texts is missing {missing[0]!r} (known: {listed(known)}): add a text for it, or choose names, sentences or a "
            f"template such as 'a video of {PLACEHOLDER}'",
            "texts",
        )
    twins: dict[str, str] = {}
    for name in names:
        if (twin := twins.setdefault(known[name].strip(), name)) != name:
            raise same_texts("text", twin, name)
    return [known[name] for name in names]


def check_template(template: str) -> None:
    """Check a template for class texts.

    Raises:
        InputError: it has no ``{label}``, or other braces.
    """
    if PLACEHOLDER not in template:
        raise InputError(
            f"texts is {shown(template)}, expected {', '.join(get_args(TextStyle))}, a template with {PLACEHOLDER} such as "
            f"'a video of a person {PLACEHOLDER}', or a text by label",
            "texts",
        )
    if {"{", "}"} & {*template.replace(PLACEHOLDER, "")}:
        raise InputError(f"texts is {shown(template)}, which has other braces than {PLACEHOLDER}: remove them", "texts")


def same_texts(what: str, first: str, second: str) -> InputError:
    """Return the error about two labels whose texts are the same to the model."""
    return InputError(
        f"texts has the same {what} for {first!r} and {second!r}, which no model could distinguish: change one", "texts"
    )


def texts_by_name(texts: Mapping[str, str]) -> dict[str, str]:
    """Return class texts by the :func:`canonical` names of their labels.

    Raises:
        InputError: two of the labels are names of one class, or a text is empty, too long or not text.
    """
    known: dict[str, str] = {}
    for label, text in texts.items():
        name = canonical(label)
        if name in known:
            raise InputError(f"texts has two texts for {name!r}: remove one", "texts")
        if not text.strip():
            raise InputError(f"texts has an empty text for {label!r}: write one", "texts")
        if len(text) > LONGEST_TEXT:
            raise InputError(
                f"texts has {len(text):,} characters for {label!r}, expected at most {LONGEST_TEXT:,}", "texts"
            )
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(f"texts has half a character in the text for {label!r}: {shown(text)}", "texts")
        known[name] = text
    return known
