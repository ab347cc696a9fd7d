"""Read JSON from outside, such as the notes that runs and folders of answers keep."""

import json
import math
from typing import Any


def parse_json(text: str) -> Any:
    """Return the content of JSON, in which every number is finite: NaN and Infinity are not JSON, and 1e999 is too large.

    Raises:
        ValueError: it is not JSON, or nested too deep.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value
