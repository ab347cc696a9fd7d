"""Texts that describe the classes to CLIP: action units of expressions, names, templates, or texts of one's own; no torch."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from peclip.errors import InputError, listed, shown
from peclip.labels import canonical, class_names

TextStyle = Literal["action_units", "names", "sentences"]

LONGEST_TEXT = 10_000
"""Largest number of characters of a class text."""

PLACEHOLDER = "{label}"
"""Stands for the name of the class in a template for class texts."""

CAMEL_CASE = re.compile(r"(?:[A-Z][a-z]+){2,}")
"""A name of several words that are joined by their capitals, as in UCF101."""

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
