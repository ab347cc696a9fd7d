"""Class texts as the text tower reads them: token ids with placeholders for the prompts; and their features, which are kept.

Features are computed again when a weight that they depend on has changed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from peclip.class_texts import Texts, same_texts, texts_of
from peclip.errors import InputError, shown
from peclip.model.backbones.contract import Backbone
from peclip.model.device import autocast_dtype


def tokenize(backbone: Backbone, texts: Mapping[str, Texts], prompt_length: int) -> tuple[Tensor, Tensor]:
    """Return the token ids (M, N) of all M class texts with P placeholders before them, and where each is read (M,).

    The placeholders follow the start token if the backbone has one.

    Args:
        backbone: backbone with its tokenizer.
        texts: class texts by label, one or several; those of a label follow each other.
        prompt_length: P, number of placeholders.

    Raises:
        InputError: as :func:`tokenize_texts`, or the texts of a label have the same tokens as those of another.
    """
    named = [(label, text) for label, each in texts.items() for text in texts_of(each)]
    found: dict[str, set[tuple[int, ...]]] = {}
    for (label, _), row in zip(named, _rows(backbone, named, prompt_length), strict=True):
        found.setdefault(label, set()).add(tuple(row))
    seen = dict[frozenset[tuple[int, ...]], str]()
    for label, rows in found.items():
        if (
            twin := seen.setdefault(frozenset(rows), label)
        ) != label:  # tokens know neither capitals nor further spaces
            raise same_texts("tokens", twin, label)
    return tokenize_texts(backbone, named, prompt_length)


def tokenize_texts(backbone: Backbone, texts: Sequence[tuple[str, str]], prompt_length: int) -> tuple[Tensor, Tensor]:
    """Return token ids and ends as :func:`tokenize`, of texts with their names, which may have the same tokens.

    Raises:
        InputError: a text does not fit into the context of the text tower, has no token or one that the tower does not know, or
            the backbone has no tokenizer.
    """
    layout, rows = backbone.layout, _rows(backbone, texts, prompt_length)
    if layout.fill is not None:
        filled = torch.cat([layout.filled(torch.tensor([row]), backbone.context, prompt_length) for row in rows])
        return filled, layout.ends(filled)
    ends = [len(row) - 1 for row in rows]
    padded = [row + [row[-1]] * (max(ends) - end) for row, end in zip(rows, ends, strict=True)]
    return torch.tensor(padded), torch.tensor(ends)


def _rows(backbone: Backbone, texts: Sequence[tuple[str, str]], prompt_length: int) -> list[list[int]]:
    """Return the tokens of each text with its placeholders."""
    starts = backbone.layout.starts
    placeholder, rows = _ids(backbone, "X")[starts], []
    for name, text in texts:
        ids = _ids(backbone, text)
        count = len(ids) + prompt_length
        if count > backbone.context:
            raise InputError(
                f"texts: {shown(text)} has {count} tokens with its prompts, {backbone.name!r} accepts at most "
                f"{backbone.context}",
                "texts",
            )
        _check_known(backbone, name, ids[starts:])
        rows.append([*ids[:starts], *[placeholder] * prompt_length, *ids[starts:]])
    return rows


def check_tokens(token_ids: Tensor, classes: int, backbone: Backbone, prompt_length: int) -> None:
    """Check ready-made token ids.

    Args:
        token_ids: token ids, expected (C, N), N at most the context of the text tower, or all of it if texts are filled up;
            each id is one of the vocabulary.
        classes: C, number of classes.
        backbone: backbone whose text tower reads them.
        prompt_length: P, placeholders before the end of each text.

    Raises:
        InputError: they are different, or there is no class.
    """
    if not classes:
        raise InputError("labels is empty, expected one class or more", "labels")
    shape = tuple(token_ids.shape)
    least = 2 if backbone.layout.fill is None else backbone.context
    if len(shape) != 2 or shape[0] != classes or not least <= shape[1] <= backbone.context:
        tokens = f"2 to {backbone.context}" if least == 2 else str(least)
        raise InputError(f"token_ids have shape {shape}, expected ({classes}, {tokens})", "token_ids")
    if (
        token_ids.is_floating_point()
        or token_ids.dtype == torch.bool
        or token_ids.min() < 0
        or token_ids.max() >= backbone.vocabulary
    ):
        raise InputError(f"token_ids: expected whole numbers from 0 to {backbone.vocabulary - 1}", "token_ids")
    if backbone.layout.fill is None:
        end = int(token_ids.max()) if backbone.layout.end is None else backbone.layout.end
        ended = token_ids.eq(end).any(dim=1).tolist()
        if not all(ended):
            raise InputError(
                f"token_ids: text {ended.index(False)} has no end, expected the token {end} in each of the rows",
                "token_ids",
            )
        first = backbone.layout.starts + prompt_length
        for number, place in enumerate(backbone.layout.ends(token_ids).tolist()):
            if place < first:
                raise InputError(
                    f"token_ids: text {number} ends at position {place}, where its start or a placeholder for prompts is expected: "
                    f"the token {end} may be at {first} or after it",
                    "token_ids",
                )


def averaged(features: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the features (C, D) of classes from the L2-normalised features (M, D) of their texts, ``counts`` for each class."""
    if len(features) == len(counts):  # one of each: not a bit changes
        return features
    return F.normalize(torch.stack([each.mean(dim=0) for each in features.split([*counts])]), dim=-1)


class TextCache:
    """Keeps the features of the class texts, with and without adapters and prompts."""

    def __init__(self) -> None:
        self._kept: dict[bool, tuple[Any, Tensor]] = {}

    def get(self, bare: bool, device: torch.device, weights: Sequence[Tensor], compute: Callable[[], Tensor]) -> Tensor:
        """Return the features, computed again if the device, the precision or a weight has changed.

        Args:
            bare: whether they are those of the model without adapters and prompts.
            device: device on which they are computed.
            weights: all tensors that they depend on.
            compute: function that computes them.
        """
        key = (device, autocast_dtype(device), *map(_state, weights))
        known, features = self._kept.get(bare, (None, None))
        if features is None or known != key:
            with torch.inference_mode(False), torch.no_grad():  # training steps may use what an evaluation has computed
                features = compute()
            if not any(weight.is_inference() for weight in weights):  # their versions are not counted
                self._kept[bare] = (key, features)
        return features

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def _ids(backbone: Backbone, text: str) -> list[int]:
    if backbone.tokenizer is None:
        raise InputError(f"texts: {backbone.name!r} has no tokenizer, only ready-made token ids", "texts")
    return backbone.tokenizer(
        backbone.prepared(text), verbose=False
    ).input_ids  # suppresses the warning about texts that are too long


def _check_known(backbone: Backbone, label: str, row: list[int]) -> None:
    """Check the tokens of a text, the end token included.

    Raises:
        InputError: there is none but the end token, or the text tower has no row for one.
    """
    if len(row) < 2:
        raise InputError(f"texts: the text for {label!r} has no token", "texts")
    if unknown := [token for token in row if token >= backbone.vocabulary]:
        token = backbone.tokenizer.convert_ids_to_tokens(unknown[0])
        raise InputError(
            f"texts: the text for {label!r} has the token {token!r} ({unknown[0]}), but the text tower of {backbone.name!r} "
            f"knows {backbone.vocabulary} tokens, from 0: remove it from the text, or use a text tower with a row for it",
            "texts",
        )


def _state(weight: Tensor) -> tuple[int, int, int]:
    """Return values that change with a weight: steps count up its version, and moving or converting it takes new memory."""
    try:
        memory = weight.data_ptr()
    except RuntimeError:  # a sharded weight has no memory of its own, and is not moved
        memory = 0
    return id(weight), 0 if weight.is_inference() else weight._version, memory
