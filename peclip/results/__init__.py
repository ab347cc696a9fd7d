"""Read and report the results of runs: scores, intervals, comparisons, tables and figures. No torch."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.results.evaluation import Evaluation, read_evaluation
    from peclip.results.scores import Scores, recalls, uar, war
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Evaluation": "peclip.results.evaluation",
            "Scores": "peclip.results.scores",
            "read_evaluation": "peclip.results.evaluation",
            "recalls": "peclip.results.scores",
            "uar": "peclip.results.scores",
            "war": "peclip.results.scores",
        },
    )

__all__ = ("Evaluation", "Scores", "read_evaluation", "recalls", "uar", "war")
