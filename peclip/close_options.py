"""Advice on options that a command does not have: the one that was probably meant."""

from collections.abc import Collection
from difflib import get_close_matches

MEANT = {
    "seed": "seed_everything",
    "epochs": "trainer.max_epochs",
    "lr": "model.lr_adapters",
    "learning_rate": "model.lr_adapters",
    "gpus": "trainer.devices",
    "workers": "data.num_workers",
    "frames": "data.num_frames",
}
"""Names by which other programs call an option, and the option."""


def advice(unknown: str, known: Collection[str]) -> str:
    """Return the options that were probably meant by words that a command does not know; an empty string if none is close.

    Args:
        unknown: the words, as in ``--lr 3``.
        known: the options of the command, as in ``--data.batch_size``.
    """
    if not unknown.startswith("-") and "--ckpt_path" in known:
        return (
            f"the trained model is --ckpt_path {unknown}" if "--out" in known else f"did you mean --config {unknown}?"
        )
    close = [_close(word.partition("=")[0], known) for word in unknown.split() if word.startswith("--")]
    named = ", ".join(dict.fromkeys(filter(None, close)))
    return f"did you mean {named}?" if named else ""


def _close(option: str, known: Collection[str]) -> str:
    """Return the option that has this name, or the end of it, or a similar one; of several the one with the shortest path."""
    options: dict[str, str] = {}
    for each in sorted(known, key=lambda each: each.count(".")):
        for name in (_plain(each), _plain(each).rpartition(".")[2]):
            options.setdefault(name, each)
    whole, last = _plain(option), _plain(option).rpartition(".")[2]
    if (meant := f"--{MEANT.get(whole)}") in known:
        return meant
    for name in (whole, last):
        if name in options:
            return options[name]
    return next((options[each] for name in (whole, last) for each in get_close_matches(name, options, 1, 0.7)), "")


def _plain(option: str) -> str:
    return option.lstrip("-").replace("-", "_").lower()
