"""A checkpoint in the released layout that is the golden one with smaller widths, for tests of reading."""

import zlib
from functools import cache

import torch

from tests.conftest import GOLDEN

SMALLER = {512: 64, 768: 128, 1536: 192, 2048: 256, 2304: 384, 3072: 512, 96: 16, 288: 48, 64: 8, 49408: 300, 50: 5}
"""Small sizes for each size of the golden tensors: 64-pixel frames, towers 128 and 64 wide, 300 tokens."""

START, END, PLACEHOLDER = 298, 299, 7


def small_ids(classes=4):
    """Token ids (classes, 77): start, two placeholders, a text of random length, end, zeros."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.zeros(classes, 77, dtype=torch.long)
    for row in ids:
        length = int(torch.randint(3, 12, (1,), generator=generator))
        words = torch.randint(10, 290, (length,), generator=generator)
        row[: length + 4] = torch.tensor([START, PLACEHOLDER, PLACEHOLDER, *words, END])
    return ids


def small_state(gates=3):
    """Names and tensors, not to be changed; ``gates`` is 3 for a GRU, 4 for an LSTM, 1 for a plain recurrence."""
    return dict(_state(gates))


@cache
def _state(gates):
    state = {}
    for name, shape in GOLDEN["param_shapes"].items():
        sizes = [SMALLER.get(size, size) for size in shape]
        if ".rnn." in name:
            sizes[0] = gates * 16
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        state[name] = 0.1 * torch.randn(sizes, generator=generator) + (name.endswith("weight") and "ln_" in name)
    return state


def as_saved(state, ids=None):
    """The state as the released program saves it: embedded class texts, aliases, and the prefix ``module.``."""
    ids = small_ids() if ids is None else ids
    embedded = state["clip_model.token_embedding.weight"][ids]
    state = state | {name: state[original] for name, original in GOLDEN["aliases"].items()}
    state["prompt_learner.token_prefix"] = embedded[:, :1]
    state["prompt_learner.token_suffix"] = embedded[:, 3:]
    return {f"module.{name}": value for name, value in state.items()}
