"""The endpoint for programs: recognize a video, then merge faces that are one person."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peclip.errors import InputError
from peclip.inference.app.answer import ARCHIVE, Recognized, Responder
from peclip.inference.app.boundary import FILE
from peclip.inference.app.store import Store
from peclip.inference.cautions import in_cell
from peclip.inference.join import read_same
from peclip.inference.timeline import segment_cells


def download_of(found: Recognized) -> str:
    """Return the address of the zip with all files of an answer."""
    return f"{FILE}{found.folder.name}/{ARCHIVE}"


class Endpoint:
    """Answers of the endpoint as JSON; those about a video are kept as long as its files.

    Args:
        responder: answers uploads with the model.
        store: folders of uploads and results.
    """

    def __init__(self, responder: Responder, store: Store) -> None:
        self._responder, self._store = responder, store
        self._answers: dict[str, Recognized] = {}

    def first(self, found: Recognized) -> dict[str, Any]:
        """Return the answer about a video, and keep the faces from which answers with merged persons are made."""
        kept = {token: each for token, each in self._answers.items() if each.folder.is_dir()}
        self._answers = kept | {found.folder.name: found}
        return self._written(found, None)

    def merged(self, answer: Any, same: Any) -> dict[str, Any]:
        """Return an answer in which some faces are merged into one person.

        Args:
            answer: entry ``answer`` of the first answer.
            same: groups of faces by their numbers in the first one, such as ``["1,3"]``; an empty list restores the first answer.

        Raises:
            InputError: the answer is not there, a group is something else, or two of its faces are seen at the same time.
        """
        found = self._answers.get(answer) if isinstance(answer, str) else None
        if found is None or self._store.find(f"{answer}/{ARCHIVE}") is None:
            raise InputError("there is no such answer on the server: upload the video again")
        if not (isinstance(same, list) and all(isinstance(group, str) for group in same)):
            raise InputError('same: expected a list of groups of faces, such as ["1,3"]')
        groups = read_same(same)
        if unknown := sorted(groups.keys() - {*found.faces}):
            raise InputError(f"same: there is no face {unknown[0]}: expected numbers of persons of the first answer")
        return self._written(found, {face: groups.get(face, face) for face in found.faces})

    def _written(self, found: Recognized, numbers: Mapping[int, int] | None) -> dict[str, Any]:
        answer = self._responder.write(found, numbers)
        persons = [
            {
                "person": each.track,
                "label": answer.labels[each.label],
                "first": _rounded(each.first, 3),
                "last": _rounded(each.last, 3),
                "seconds": _rounded(each.seconds, 3),
                "share": _by_label(answer.labels, each.shares),
                "probability": _by_label(answer.labels, each.probabilities),
                "caution": in_cell(answer.caution, each.warnings),
            }
            for each in answer.persons
        ]
        return {
            "answer": found.folder.name,
            "file": answer.name,
            "caution": answer.caution,
            "labels": [*answer.labels],
            "persons": persons,
            "segments": [segment_cells(each, answer.name, answer.labels, answer.caution) for each in answer.segments],
            "files": download_of(found),
        }


def _by_label(labels: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    return {label: _rounded(value, 6) for label, value in zip(labels, values, strict=True)}


def _rounded(value: float, digits: int) -> float:
    """Return a number as the tables have it."""
    return float(f"{value:.{digits}f}")
