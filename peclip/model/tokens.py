"""Class texts as token ids, with placeholders for the prompts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from peclip.errors import InputError
from peclip.model.backbones.clip import Backbone


def tokenize(backbone: Backbone, texts: Sequence[str], prompt_length: int) -> tuple[Tensor, Tensor]:
    """Return the token ids (C, N) of texts with P placeholders after the start token, and the ends-of-text (C,).

    Raises:
        InputError: a text does not fit into the context of the text tower.
    """
    tokenizer = backbone.tokenizer
    placeholder = tokenizer("X", add_special_tokens=False).input_ids[0]
    rows = [tokenizer(text, verbose=False).input_ids for text in texts]  # the loop below reports too long ones
    rows = [[row[0], *[placeholder] * prompt_length, *row[1:]] for row in rows]
    ends = [len(row) - 1 for row in rows]
    for text, end in zip(texts, ends, strict=True):
        if end >= backbone.context:
            raise InputError(
                f"texts: {text[:60]!r} has {end + 1} tokens with its prompts, {backbone.name!r} accepts at most "
                f"{backbone.context}",
                "texts",
            )
    padded = [row + [row[-1]] * (max(ends) - end) for row, end in zip(rows, ends, strict=True)]
    return torch.tensor(padded), torch.tensor(ends)


def check_tokens(token_ids: Tensor, classes: int, backbone: Backbone) -> None:
    """Check ready-made token ids.

    Args:
        token_ids: expected (C, N), N at most the context of the text tower, each id one of the vocabulary.
        classes: C.
        backbone: whose text tower reads them.

    Raises:
        InputError: they are different.
    """
    shape = tuple(token_ids.shape)
    if len(shape) != 2 or shape[0] != classes or not 2 <= shape[1] <= backbone.context:
        raise InputError(f"token_ids have shape {shape}, expected ({classes}, 2 to {backbone.context})", "token_ids")
    if token_ids.is_floating_point() or token_ids.min() < 0 or token_ids.max() >= backbone.vocabulary:
        raise InputError(f"token_ids: expected whole numbers from 0 to {backbone.vocabulary - 1}", "token_ids")
