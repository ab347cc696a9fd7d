"""Join the tracks of one person that got different numbers because of a cut or an absence: by likeness, or as a user states."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange

from peclip.errors import InputError
from peclip.inference.recognizer import Row
from peclip.inference.windows import Stretch, seconds_of, shared

Features = Callable[[np.ndarray], np.ndarray | None]
"""Callable that accepts the picture of a face, uint8 (S, S, 3) RGB, and returns who it shows as a vector of length 1, (D,), such
that the product of two is large if both are one person; None if it cannot tell."""

OVERLAP_WHEN_JOINED = 0.1
"""Seconds for which two tracks may overlap and still be joined by their likeness: some pictures are mixed at a cut. It is shorter than
:data:`OVERLAP_WHEN_STATED`, because likeness is only a guess, and two people at the same time are the best evidence against it."""

OVERLAP_WHEN_STATED = 0.5
"""Seconds for which two tracks may overlap and still be one face if a user says so: a track ends a little after a cut. It is
longer than :data:`OVERLAP_WHEN_JOINED`, because somebody has looked: it only catches a number that was mistyped."""

MOST = 4_000
"""Tracks that are compared with each other; of more, those that are seen in most windows."""

_NEVER = -np.inf


@dataclass
class Looks:
    """Appearance of the person in one track.

    Attributes:
        seen: stretches in which the track is seen, in seconds and in order of time.
        total: sum of its features (D,).
        count: number of features in the sum.
    """

    seen: list[Stretch]
    total: np.ndarray
    count: int

    def is_seen_with(self, other: "Looks") -> bool:
        """Return whether two tracks are seen at the same time, for longer than a cut explains."""
        return seconds_of(shared(self.seen, other.seen)) > OVERLAP_WHEN_JOINED


class Held:
    """Rows that wait for the end of their video, their pictures on disk."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115
        self._rows: list[Row] = []
        self._shapes: list[torch.Size | None] = []

    def add(self, row: Row) -> None:
        """Add a row."""
        self._shapes.append(None if row.picture is None else row.picture.shape)
        if row.picture is not None:
            self._file.write(row.picture.contiguous().numpy().tobytes())
        self._rows.append(replace(row, picture=None))

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows, once."""
        self._file.seek(0)
        with self._file:
            for row, shape in zip(self._rows, self._shapes, strict=True):
                if shape is None:
                    yield row
                else:
                    picture = torch.frombuffer(bytearray(self._file.read(shape.numel())), dtype=torch.uint8)
                    yield replace(row, picture=rearrange(picture, "(c h w) -> c h w", c=shape[0], h=shape[1]))


def gather(rows: Iterable[Row], features: Features) -> tuple[Held, dict[int, Looks]]:
    """Read the rows of a video to its end, and return them with the appearance of the person in each track.

    Faces about which :mod:`peclip.inference.cautions` warns do not count.

    Args:
        rows: rows of one video.
        features: function that returns who a picture shows.
    """
    held = Held()
    looks: dict[int, Looks] = {}
    seen: dict[int, list[Stretch]] = {}
    for row in rows:
        held.add(row)
        if row.track is None or row.picture is None:
            continue
        _extend(seen.setdefault(row.track, []), row.present)
        found = None if row.cautions else features(rearrange(row.picture, "c h w -> h w c").contiguous().numpy())
        if found is not None:
            look = looks.setdefault(row.track, Looks(seen[row.track], np.zeros_like(found, np.float64), 0))
            look.total, look.count = look.total + found, look.count + 1
    return held, looks


def _extend(seen: list[Stretch], further: Iterable[Stretch]) -> None:
    """Add the stretches of a window, which may overlap those of the windows before."""
    for start, end in further:
        if seen and start <= seen[-1][1]:
            seen[-1] = seen[-1][0], max(seen[-1][1], end)
        else:
            seen.append((start, end))


def join(looks: Mapping[int, Looks], threshold: float) -> dict[int, int]:
    """Return the new number of each track that is joined with others: the smallest number of its person.

    Agglomerative clustering with complete linkage: any two tracks of a person are at least as alike as the threshold, and none are
    seen at the same time.

    Args:
        looks: appearance of the person in each track, by its number.
        threshold: least likeness of two tracks of one person.
    """
    kept = sorted(sorted(looks, key=lambda track: -looks[track].count)[:MOST])
    if len(kept) < 2:
        return {}
    alike = _likenesses([looks[track] for track in kept])
    groups = [[track] for track in kept]
    best = alike.argmax(axis=1)
    while True:
        one = int(alike[np.arange(len(kept)), best].argmax())
        other = int(best[one])
        if alike[one, other] < threshold:
            break
        groups[one] += groups[other]
        groups[other] = []
        alike[one] = alike[:, one] = np.minimum(alike[one], alike[other])
        alike[other] = alike[:, other] = _NEVER
        for place in {one, *np.flatnonzero((best == one) | (best == other)).tolist()}:
            best[place] = alike[place].argmax()
    return {track: min(group) for group in groups if len(group) > 1 for track in group}


def _likenesses(looks: list[Looks]) -> np.ndarray:
    """Return how alike tracks are (N, N): the mean product of their features, from -1 to 1.

    It is -inf on the diagonal, and for two tracks that are seen at the same time.
    """
    means = np.stack([each.total / each.count for each in looks]).astype(np.float32)
    starts, ends = np.array([(each.seen[0][0], each.seen[-1][1]) for each in looks]).T
    alike = means @ means.T
    overlaps = np.minimum(ends[:, None], ends) - np.maximum(starts[:, None], starts) > OVERLAP_WHEN_JOINED
    for one, other in np.argwhere(np.triu(overlaps, 1)).tolist():
        if looks[one].is_seen_with(looks[other]):  # one may be seen while the other is hidden
            alike[one, other] = alike[other, one] = _NEVER
    np.fill_diagonal(alike, _NEVER)
    return alike


class Joined(NamedTuple):
    """A video whose tracks of one person are brought together.

    Attributes:
        rows: rows with the new numbers of their tracks; they can be read once.
        numbers: new number of each track that was brought together with others, as :func:`join` returns it.
    """

    rows: Iterator[Row]
    numbers: dict[int, int]


@dataclass(frozen=True)
class Joiner:
    """Brings the tracks of one person together in the rows of a video.

    For example::

        joiner = Joiner(sface, sface.THRESHOLD)
        for row in joiner(Recognizer("runs/demo/version_0")("holiday.mp4")):
            print(row.start, row.track, row.label)

    Attributes:
        features: function that returns who a picture shows, such as :class:`peclip.inference.faces.SFace`.
        threshold: least likeness of two tracks of one person.
    """

    features: Features
    threshold: float

    def __call__(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of one video, the tracks of one person with one number, when the video has ended.

        Args:
            rows: rows of a recognizer.
        """
        yield from self.joined(rows).rows

    def joined(self, rows: Iterable[Row]) -> Joined:
        """Read the rows of one video to its end, and return them with the numbers that their tracks get.

        Args:
            rows: rows of a recognizer.
        """
        held, looks = gather(rows, self.features)
        numbers = join(looks, self.threshold)
        return Joined(
            (row if row.track is None else replace(row, track=numbers.get(row.track, row.track)) for row in held),
            numbers,
        )


def read_same(groups: Sequence[str]) -> dict[int, int]:
    """Return the new number of each track of some groups: the smallest number of its group.

    Args:
        groups: such as ``3,7``; groups that share a number are one.

    Raises:
        InputError: a group is something else.
    """
    joined: list[set[int]] = []
    for group in groups:
        words = [word.strip() for word in group.split(",")]
        are_numbers = all(word.isdecimal() and word.isascii() and int(word) for word in words)
        found = {int(word) for word in words} if are_numbers else set()
        if len(found) < 2:
            raise InputError(
                f"same is {group!r}: expected two or more numbers of faces, such as 3,7 without brackets", "same"
            )
        touched = [other for other in joined if other & found]
        joined = [other for other in joined if not other & found] + [found.union(*touched)]
    return {number: min(group) for group in joined for number in group}


def bring_together(rows: Iterable[Row], same: Mapping[int, int]) -> Iterator[Row]:
    """Yield rows with the numbers that :func:`read_same` returns.

    Args:
        rows: rows of one video.
        same: new number of each track that belongs to a group, by its number.

    Raises:
        InputError: two tracks of a group are seen at the same time, so that they are two people; or a number is that of no
            track.
    """
    seen: set[int] = set()
    latest: dict[int, Row] = {}  # the last row of each track
    for row in rows:
        if row.track is None or row.track not in same:
            yield row
            continue
        seen.add(row.track)
        for number, other in latest.items():
            if number == row.track or same[number] != same[row.track]:
                continue
            together = shared(row.present, other.present)
            if seconds_of(together) > OVERLAP_WHEN_STATED:
                raise InputError(
                    f"same: {row.file} shows the faces {number} and {row.track} at the same time, from {together[0][0]:.1f} s on: "
                    "they are two people"
                )
        latest[row.track] = row
        yield replace(row, track=same[row.track])
    if missing := sorted(same.keys() - seen):
        raise InputError(
            f"same: there is no face {missing[0]}: the numbers are those of summary.csv of a run without same"
        )
