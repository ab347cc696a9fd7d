"""``peclip bench``: how fast training, evaluation and decoding are on this machine."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.bench.loops import measure_evaluation, measure_training
    from peclip.bench.setup import Setup
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Setup": "peclip.bench.setup",
            "measure_evaluation": "peclip.bench.loops",
            "measure_training": "peclip.bench.loops",
        },
    )

__all__ = ("Setup", "measure_evaluation", "measure_training")
