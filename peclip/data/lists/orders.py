"""Names for the numbers of a list: in the order that the user states, from 0 or from 1, and never against its own paths."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peclip.data.benchmarks.actors import CREMAD_LABELS, CREMAD_NAME, RAVDESS_LABELS, RAVDESS_NAME
from peclip.data.benchmarks.mafw import LABELS as MAFW_LABELS
from peclip.data.lists.reading import ClipList, Row
from peclip.data.manifest.formats import NUMBER
from peclip.errors import InputError, shown
from peclip.labels import KNOWN, SEVEN, canonical, class_names

ALPHABETICAL = tuple(sorted(SEVEN))

ORDERS = {
    "dfew": SEVEN,
    "ferv39k": SEVEN,
    "ferv39k_s2d": ALPHABETICAL,
    "mafw": MAFW_LABELS,
    "mafw_dferclip": tuple(name for name in KNOWN if name in MAFW_LABELS),
    "mafw_s2d": tuple(sorted(MAFW_LABELS)),
    "afew": ALPHABETICAL,
    "ravdess": RAVDESS_LABELS,
    "cremad": CREMAD_LABELS,
}
"""Orders in which lists number the labels.

DFEW's is that of its release; FERV39K's and MAFW's are those of most programs (MAE-DFER, HiCMAE; DFER-CLIP has its own for
MAFW, and S2D sorts both by alphabet); AFEW's is that of PE-CLIP; those of RAVDESS and CREMA-D of MAE-DFER and HiCMAE.
"""


@dataclass(frozen=True)
class Naming:
    """The labels of lists.

    Attributes:
        labels: names of the classes, by list and row.
        note: sentence on the name that each number stands for; empty if the lists have names.
    """

    labels: Sequence[Sequence[str]]
    note: str


def read_order(text: str) -> tuple[str, ...]:
    """Return names in the order of their numbers.

    Args:
        text: the names, with commas between, or one of :data:`ORDERS`.

    Raises:
        InputError: it is neither, or a name is given twice.
    """
    names = text.split(",")
    if len(names) == 1:
        if text.strip().lower() not in ORDERS:
            raise InputError(
                f"labels is {shown(text)}, expected names in the order of their numbers (happiness,sadness,...), or the order of "
                f"one of {', '.join(ORDERS)}",
                "labels",
            )
        return ORDERS[text.strip().lower()]
    return class_names(names)


def name_labels(lists: Sequence[ClipList], order: Sequence[str] | None, first: int | None) -> Naming:
    """Return the names of the labels of lists, which all count in the same way.

    Args:
        lists: lists that all have numbers, or all have names.
        order: the names that the numbers stand for, or those that occur.
        first: the number of the first name; None if the numbers decide.

    Raises:
        InputError: numbers have no names, or more than one meaning; a name is not one of the order; or the names of files
            contradict it.
    """
    rows = [(one, row) for one in lists for row in one.rows]
    numbers = [bool(NUMBER.fullmatch(row.label)) for _, row in rows]
    if not any(numbers):
        return Naming([[_known(one, row, order) for row in one.rows] for one in lists], "")
    if not all(numbers):
        one, row = rows[numbers.index(not numbers[0])]
        raise InputError(f"{one.where(row)}: label {shown(row.label)} among {'numbers' if numbers[0] else 'names'}")
    if order is None:
        raise InputError(
            f"{lists[0].path}: the labels are numbers ({_span(rows)}): name them in their order with labels "
            f"happiness,sadness,..., or with that of a benchmark: {', '.join(ORDERS)}",
            "labels",
        )
    first = _first(lists, order, first)
    _check_range(lists, order, first)
    _check_paths(rows, order, first)
    given = ", ".join(f"{first + place} {name}" for place, name in enumerate(order))
    return Naming(
        [[order[number_of(row) - first] for row in one.rows] for one in lists],
        f"the labels count from {first}: {given}",
    )


def number_of(row: Row) -> int:
    """Return the number with which a row is labelled."""
    return int(float(row.label))


def _known(one: ClipList, row: Row, order: Sequence[str] | None) -> str:
    name = canonical(row.label)
    if order is not None and name not in order:
        raise InputError(f"{one.where(row)}: label {shown(row.label)} is none of {', '.join(order)}")
    return name


def _span(rows: Sequence[tuple[ClipList, Row]]) -> str:
    found = sorted({number_of(row) for _, row in rows})
    return f"{found[0]} to {found[-1]}"


def _first(lists: Sequence[ClipList], order: Sequence[str], given: int | None) -> int:
    """Return the number of the first name: 0 if a list has a 0, 1 if one has as many as there are names."""
    if given is not None:
        return given
    shows: dict[int, tuple[ClipList, Row]] = {}
    for one in lists:
        for row in one.rows:
            if number_of(row) in (0, len(order)):
                shows.setdefault(min(number_of(row), 1), (one, row))
    if len(shows) == 2:
        (one, zero), (other, last) = shows[0], shows[1]
        raise InputError(
            f"{one.where(zero)} has label 0, and {other.where(last)} label {len(order)} of {len(order)} names: from 0 the "
            f"last would be {len(order) - 1}; do labels name too few, or do the lists count differently?",
            "labels",
        )
    if shows:
        return next(iter(shows))
    rows = [(one, row) for one in lists for row in one.rows]
    possible = [number for number in (0, 1) if not any(_contradictions(rows, order, number))]
    if len(possible) == 1 and any(label_in_path(row) for _, row in rows):
        return possible[0]
    raise InputError(
        f"{lists[0].path}: the labels go from {_span(rows)}, with {len(order)} names: do they count from 0 or from 1? set "
        "first_label 0 or 1",
        "first_label",
    )


def _check_range(lists: Sequence[ClipList], order: Sequence[str], first: int) -> None:
    for one in lists:
        for row in one.rows:
            if not 0 <= number_of(row) - first < len(order):
                raise InputError(
                    f"{one.where(row)}: label {row.label}, but {len(order)} names from {first} on go to "
                    f"{first + len(order) - 1}: {', '.join(order)}",
                    "labels",
                )


def label_in_path(row: Row) -> str | None:
    """Return the expression that the last folders of a path, or a name of RAVDESS or CREMA-D, state; None without one."""
    name = row.parts[-1].partition(".")[0]
    if found := CREMAD_NAME.fullmatch(name):
        return canonical(found["emotion"])
    if found := RAVDESS_NAME.fullmatch(name):
        code = int(found["emotion"])
        return RAVDESS_LABELS[code - 1] if 1 <= code <= len(RAVDESS_LABELS) else None
    named = {label for part in row.parts[-3:-1] if (label := canonical(part)) in KNOWN}
    return named.pop() if len(named) == 1 else None


def _contradictions(
    rows: Sequence[tuple[ClipList, Row]], order: Sequence[str], first: int
) -> Iterator[tuple[ClipList, Row, str]]:
    """Yield the rows whose path states another expression than the number, with that expression."""
    for one, row in rows:
        stated, place = label_in_path(row), number_of(row) - first
        if stated is not None and 0 <= place < len(order) and stated != order[place]:
            yield one, row, stated


def _check_paths(rows: Sequence[tuple[ClipList, Row]], order: Sequence[str], first: int) -> None:
    """Refuse an order that the paths contradict throughout: each number occurs with one expression, but not with that of the order."""
    stated: dict[int, set[str]] = {}
    for _, row in rows:
        if (label := label_in_path(row)) is not None:
            stated.setdefault(number_of(row), set()).add(label)
    found = {number: labels.copy().pop() for number, labels in stated.items() if len(labels) == 1}
    if len(found) != len(stated) or len(set(found.values())) != len(found):
        return  # folders of the same name mean something else
    for one, row, label in _contradictions(rows, order, first):
        pairs = ", ".join(f"{number} {name}" for number, name in sorted(found.items()))
        raise InputError(
            f"{one.where(row)}: label {row.label} is {order[number_of(row) - first]} in this order, but {label} by the path "
            f"{'/'.join(row.parts[-3:])}; by the paths the numbers are {pairs}",
            "labels",
        )
