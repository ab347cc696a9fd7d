"""Expression vocabularies and the texts that describe their classes: plain data that every room may read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from peclip.errors import InputError

TextStyle = Literal["action_units", "names", "sentences"]

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


def canonical(name: str) -> str:
    """Return peclip's name of an expression (``"Angry"`` -> ``"anger"``); any other name comes back stripped."""
    return SPELLINGS.get(name.strip().lower(), name.strip())


def ordered(names: Iterable[str]) -> list[str]:
    """Return the distinct names in class order: known expressions as in :data:`KNOWN`, then others by alphabet."""
    rank = {name: place for place, name in enumerate(KNOWN)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(KNOWN)), name))


def check_labels(labels: Sequence[str]) -> None:
    """Check that labels are distinct names on one line, and at least one.

    Raises:
        InputError: they are not.
    """
    if not labels:
        raise InputError("labels is empty, expected at least one class name", "labels")
    for place, label in enumerate(labels):
        if not (label.strip() and label.isprintable()):
            raise InputError(f"labels: {label!r} is not a class name", "labels")
        if label in labels[:place]:
            raise InputError(f"labels: duplicate label {label!r}", "labels")


def class_texts(labels: Sequence[str], texts: TextStyle | Mapping[str, str] = "action_units") -> list[str]:
    """Return one text per class, in the order of the labels.

    Args:
        labels: class names.
        texts: a style (``action_units``: FACS descriptions; ``names``: the plain name; ``sentences``: "an expression
            of ..."), or the texts themselves by label.

    Raises:
        InputError: labels are not distinct; a label has no text, an empty one or the same as another; or the style is unknown.
    """
    check_labels(labels)
    if texts == "names":
        return list(labels)
    if texts == "sentences":
        return [f"an expression of {label}" for label in labels]
    if isinstance(texts, str) and texts != "action_units":
        raise InputError(f"texts is {texts!r}, expected action_units, names, sentences or a text by label", "texts")
    known: Mapping[str, str] = ACTION_UNITS if isinstance(texts, str) else texts
    if missing := [label for label in labels if label not in known]:
        raise InputError(
            f"texts is missing {missing[0]!r} (known: {', '.join(known)}): add a text for it, or choose names or sentences",
            "texts",
        )
    for place, label in enumerate(labels):
        if not known[label].strip():
            raise InputError(f"texts has an empty text for {label!r}: write one", "texts")
        if twin := [other for other in labels[:place] if known[other].strip() == known[label].strip()]:
            raise InputError(
                f"texts has the same text for {twin[0]!r} and {label!r}, which no model could distinguish: change one",
                "texts",
            )
    return [known[label] for label in labels]
