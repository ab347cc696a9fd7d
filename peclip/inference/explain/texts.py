"""The class texts that a clip is compared with: how well each fits, and how much each of its action units contributes."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from peclip.class_texts import Texts, texts_of
from peclip.model import PEClip

MOST = 30
"""Most classes whose action units are tried; of more, those with the largest logits."""

AT_ONCE = 64
"""Texts that are encoded at a time."""


@dataclass(frozen=True)
class Unit:
    """A part of the description of a class: one of its texts if it has several, else a part of its only text.

    Attributes:
        name: words of this part, as in the text.
        worth: decrease of the logit of the class if this part is omitted; below 0 if the clip fits better without it.
    """

    name: str
    worth: float


@dataclass(frozen=True)
class ClassText:
    """The text of a class, and how it fits a clip.

    Attributes:
        label: name of the class.
        text: text of the class, several joined by semicolons; None if only its tokens are known.
        logit: logit of the class for the clip.
        probability: probability of the class, from 0 to 1.
        units: parts of the text in order of decreasing worth; empty if there is only one, or if they were not tried.
    """

    label: str
    text: str | None
    logit: float
    probability: float
    units: tuple[Unit, ...] = ()


def units_of(texts: Texts) -> list[str]:
    """Return several texts, or the parts of one between commas ("Cheek Raiser, Jaw Drop." -> Cheek Raiser, Jaw Drop)."""
    if not isinstance(texts, str):
        return [*texts]
    return [unit.strip() for unit in re.split("[,;،、]", texts.strip().rstrip(".")) if unit.strip()]


def without(texts: Texts, place: int) -> Texts:
    """Return texts, or a text, without one of the parts."""
    units = units_of(texts)
    rest = units[:place] + units[place + 1 :]
    if not isinstance(texts, str):
        return tuple(rest)
    return ", ".join(rest) + ("." if texts.strip().endswith(".") else "")


def fitting_texts(net: PEClip, feature: Tensor, logits: Tensor) -> list[ClassText]:
    """Return the class texts in order of decreasing logit.

    Args:
        net: the model.
        feature: L2-normalised feature of the clip, (D,).
        logits: logits of the clip, (C,).
    """
    texts, probabilities = net.config.texts or {}, net.probabilities(logits).tolist()
    ranked = sorted(range(len(logits)), key=logits.tolist().__getitem__, reverse=True)
    tried = {net.labels[place] for place in ranked[:MOST]} if net.backbone.tokenizer is not None else set()
    worths = _worths(net, feature, {label: texts[label] for label in texts if label in tried})
    found = []
    for place in ranked:
        label, logit = net.labels[place], float(logits[place])
        units = sorted(worths.get(label, ()), key=lambda unit: unit.worth, reverse=True)
        text = "; ".join(texts_of(texts[label])) if label in texts else None
        found.append(ClassText(label, text, logit, probabilities[place], tuple(units)))
    return found


def _worths(net: PEClip, feature: Tensor, texts: dict[str, Texts]) -> dict[str, list[Unit]]:
    """Return the worth of each part of the descriptions of some classes, by label."""
    several = {label: text for label, text in texts.items() if len(units_of(text)) > 1}
    wanted = [
        *several.values(),
        *(without(text, place) for text in several.values() for place in range(len(units_of(text)))),
    ]
    with torch.inference_mode():
        encoded = [
            net.encode_text(wanted[first : first + AT_ONCE]) @ feature for first in range(0, len(wanted), AT_ONCE)
        ]
        logits = iter((net.logit_scale * torch.cat(encoded)).tolist() if encoded else ())
    whole = {label: next(logits) for label in several}
    return {
        label: [Unit(unit, whole[label] - next(logits)) for unit in units_of(text)] for label, text in several.items()
    }
