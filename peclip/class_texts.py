"""Texts that describe the classes to CLIP: action units of expressions, names, templates, or custom texts; no torch.

A class may have several texts, whose normalised features are averaged and normalised again, as CLIP's authors do for zero-shot
(https://arxiv.org/abs/2103.00020, section 3.1.4: an ensemble of templates).
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, get_args

from peclip.errors import InputError, listed, shown
from peclip.labels import canonical, class_names

TextStyle = Literal["action_units", "names", "sentences"]

Texts = str | tuple[str, ...]
"""The text of a class, or several of them."""

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


def texts_of(texts: Texts) -> tuple[str, ...]:
    """Return the texts of a class, one or several."""
    return (texts,) if isinstance(texts, str) else texts


def class_texts(
    labels: Sequence[str], texts: str | Sequence[str] | Mapping[str, str | Sequence[str]] = "action_units"
) -> list[Texts]:
    """Return the text of each class, or its texts, in the order of the labels.

    Args:
        labels: class names.
        texts: a style (``action_units``: FACS descriptions; ``names``: the plain name; ``sentences``: "an expression
            of ..."), a template such as "a video of a person {label}", a list of several styles and templates, or the texts
            themselves by label: one or a list.

    Raises:
        InputError: labels are not distinct; a label has no text, an empty one, one that is too long, one twice, or the same as
            another; or a style is unknown, and no template.
    """
    names = class_names(labels)
    if isinstance(texts, Mapping):
        found = _of_labels(names, texts_by_name(texts))
    elif isinstance(texts, str):
        found = _in_style(names, texts)
    else:
        styles = [
            _in_style(names, _is_text(style, "a list")) for style in _all_of(texts, "a list of styles and templates")
        ]
        found = [_joined(each, name) for name, *each in zip(names, *styles, strict=True)]
    twins: dict[frozenset[str], str] = {}
    for name, each in zip(names, found, strict=True):
        if (twin := twins.setdefault(frozenset(text.strip() for text in texts_of(each)), name)) != name:
            raise same_texts("text", twin, name)
    return found


def _in_style(names: Sequence[str], style: str) -> list[Texts]:
    """Return one text per class in a style, or by a template.

    Raises:
        InputError: it is neither, or it has no text for a class.
    """
    if style == "action_units":
        return _of_labels(names, ACTION_UNITS)
    if style == "names":
        return [*names]
    if style == "sentences":
        return [f"an expression of {name}" for name in names]
    check_template(style)
    return _of_labels(names, texts_by_name({name: style.replace(PLACEHOLDER, words(name)) for name in names}))


def _of_labels(names: Sequence[str], known: Mapping[str, Texts]) -> list[Texts]:
    """Return the texts of classes.

    Raises:
        InputError: one has none.
    """
    if missing := [name for name in names if name not in known]:
        close = get_close_matches(missing[0], known, 1)
        meant = f"did you mean {close[0]}? Else " if close else ""
        raise InputError(
            f"texts is missing {missing[0]!r} (known: {listed(known)}): {meant}add a text for it, or choose names, sentences or a "
            f"template such as 'a video of {PLACEHOLDER}'",
            "texts",
        )
    return [known[name] for name in names]


def check_template(template: str) -> None:
    """Check a template for class texts.

    Raises:
        InputError: it has no ``{label}``, or other braces.
    """
    if PLACEHOLDER not in template:
        raise InputError(
            f"texts is {shown(template)}, expected {', '.join(get_args(TextStyle))}, a template with {PLACEHOLDER} such as "
            f"'a video of a person {PLACEHOLDER}', a list of these, or a text by label",
            "texts",
        )
    if {"{", "}"} & {*template.replace(PLACEHOLDER, "")}:
        raise InputError(f"texts is {shown(template)}, which has other braces than {PLACEHOLDER}: remove them", "texts")


def same_texts(what: str, first: str, second: str) -> InputError:
    """Return the error about two labels whose texts are the same to the model."""
    return InputError(
        f"texts has the same {what} for {first!r} and {second!r}, which no model could distinguish: change one", "texts"
    )


def texts_by_name(texts: Mapping[str, str | Sequence[str]]) -> dict[str, Texts]:
    """Return class texts by the :func:`canonical` names of their labels.

    Raises:
        InputError: two of the labels are names of one class, or a text is empty, too long, not text, or twice there.
    """
    known: dict[str, Texts] = {}
    for label, each in texts.items():
        if not isinstance(label, str):
            raise InputError(f"texts has {shown(label)} for a label, expected its name in quotes", "texts")
        name = canonical(label)
        if name in known:
            raise InputError(
                f"texts has two texts for {name!r}: remove one, or list both for one of its names", "texts"
            )
        known[name] = _joined([each] if isinstance(each, str) else _all_of(each, repr(label)), label)
    return known


def _all_of(texts: Any, where: str) -> Sequence[Any]:
    """Return what should be a list of texts.

    Raises:
        InputError: it is none, or empty.
    """
    if not isinstance(texts, list | tuple):
        raise InputError(f"texts has {shown(texts)} for {where}, expected a text in quotes or a list of texts", "texts")
    if not texts:
        raise InputError(f"texts has an empty list for {where}: write a text", "texts")
    return texts


def _joined(texts: Sequence[Any], label: str) -> Texts:
    """Return checked texts of a class: one as it is, several as a tuple.

    Raises:
        InputError: as :func:`texts_by_name`.
    """
    found = tuple(_is_text(text, repr(label)) for text in texts)
    for text in found:
        if sum(text.strip() == other.strip() for other in found) > 1:
            raise InputError(f"texts has {shown(text)} twice for {label!r}: remove one", "texts")
    return found[0] if len(found) == 1 else found


def _is_text(text: Any, where: str) -> str:
    """Return a text.

    Raises:
        InputError: it is empty, too long, or not text.
    """
    if not isinstance(text, str):
        raise InputError(f"texts has {shown(text)} for {where}, expected a text in quotes", "texts")
    if not text.strip():
        raise InputError(f"texts has an empty text for {where}: write one", "texts")
    if len(text) > LONGEST_TEXT:
        raise InputError(f"texts has {len(text):,} characters for {where}, expected at most {LONGEST_TEXT:,}", "texts")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"texts has half a character in the text for {where}: {shown(text)}", "texts")
    return text
