"""Training and evaluation on PyTorch Lightning."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.train.metrics import ClassMetrics
    from peclip.train.module import PEClipModule
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ClassMetrics": "peclip.train.metrics",
            "PEClipModule": "peclip.train.module",
        },
    )

__all__ = ("ClassMetrics", "PEClipModule")
