"""``peclip bench``: how fast training, evaluation and decoding are on this machine."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.bench.commands import Setup, measure_evaluation, measure_training
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Setup": "peclip.bench.commands",
            "measure_evaluation": "peclip.bench.commands",
            "measure_training": "peclip.bench.commands",
        },
    )

__all__ = ("Setup", "measure_evaluation", "measure_training")
