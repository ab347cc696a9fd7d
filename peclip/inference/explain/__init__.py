"""Explanations of an answer: which frames counted, where the model looked, and which text it matched."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.inference.explain.explanation import Explanation, explained
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Explanation": "peclip.inference.explain.explanation",
            "explained": "peclip.inference.explain.explanation",
        },
    )

__all__ = ("Explanation", "explained")
