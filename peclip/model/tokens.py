"""Class texts as token ids, with placeholders where the prompts will stand."""

from collections.abc import Sequence

import torch
from torch import Tensor

from peclip.errors import InputError
from peclip.model.backbones.clip import Backbone


def tokenize(backbone: Backbone, texts: Sequence[str], prompt_length: int) -> tuple[Tensor, Tensor]:
    """Return the token ids (C, N) of texts with P placeholders behind the start token, and the ends-of-text (C,).

    Raises:
        InputError: a text does not fit into the context of the text tower.
    """
    tokenizer = backbone.tokenizer
    placeholder = tokenizer("X", add_special_tokens=False).input_ids[0]
    rows = [tokenizer(text, verbose=False).input_ids for text in texts]  # too long ones are told below
    rows = [[row[0], *[placeholder] * prompt_length, *row[1:]] for row in rows]
    ends = [len(row) - 1 for row in rows]
    for text, end in zip(texts, ends, strict=True):
        if end >= backbone.context:
            raise InputError(
                f"class text {text[:60]!r} has {end + 1} tokens with its prompts, {backbone.name!r} takes {backbone.context}"
            )
    padded = [row + [row[-1]] * (max(ends) - end) for row, end in zip(rows, ends, strict=True)]
    return torch.tensor(padded), torch.tensor(ends)


def check_tokens(token_ids: Tensor, classes: int, backbone: Backbone) -> None:
    """Check ready-made token ids.

    Args:
        token_ids: expected (C, N), N at most the context of the text tower, each id one of the vocabulary.
        classes: C.
        backbone: whose text tower takes them.

    Raises:
        InputError: they are not so.
    """
    vocabulary = backbone.clip.text_model.config.vocab_size
    shape = tuple(token_ids.shape)
    if len(shape) != 2 or shape[0] != classes or not 2 <= shape[1] <= backbone.context:
        raise InputError(f"token_ids have shape {shape}, expected ({classes}, 2 to {backbone.context})")
    if token_ids.is_floating_point() or token_ids.min() < 0 or token_ids.max() >= vocabulary:
        raise InputError(f"token_ids: expected whole numbers of 0 to {vocabulary - 1}")
