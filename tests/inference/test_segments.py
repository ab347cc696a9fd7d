from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from peclip.inference.recognizer import Row
from peclip.inference.segments import Cell, Cells, Segment, Segments

LABELS = ("happiness", "sadness", "anger")


def row(track: int | None, start: float, end: float, label: int = 0, cautions: tuple[str, ...] = ()) -> Row:
    probabilities = dict(zip(LABELS, np.full(3, 0.1) + 0.7 * np.eye(3)[label], strict=True)) if track else {}
    return Row("a.mp4", track, start, end, LABELS[label], probabilities, cautions=cautions)


def cells_of(rows: Iterable[Row]) -> list[Cell]:
    cells = Cells()
    found = [cell for one in rows for cell in cells.add(one)]
    return [*found, *cells.finish()]


def segments_of(rows: Iterable[Row]) -> list[Segment]:
    segments = Segments()
    found = [segment for cell in cells_of(rows) for segment in segments.add(cell)]
    return sorted([*found, *segments.finish()], key=lambda segment: (segment.track, segment.start))


def shown(segments: Sequence[Segment]) -> list[tuple[int, float, float, int]]:
    return [(segment.track, segment.start, segment.end, segment.label) for segment in segments]


def windows(labels: Sequence[int], track: int = 1, begin: float = 0) -> list[Row]:
    """Return the rows of windows of 2 s that follow each other by 1 s."""
    return [row(track, begin + second, begin + second + 2, label) for second, label in enumerate(labels)]


def test_cells_share_the_time_in_which_windows_overlap():
    cells = cells_of([row(1, 0, 2), row(2, 0.5, 2), row(1, 1, 3), row(2, 1, 3), row(1, 2.8, 4)])
    spans = {track: [(cell.start, cell.end) for cell in cells if cell.track == track] for track in (1, 2)}
    assert spans == {1: [(0, 1.5), (1.5, 2.9), (2.9, 4)], 2: [(0.5, 1.5), (1.5, 3)]}


def test_absences_are_in_no_cell():
    hidden = {"absences": ((1.6, 2.8),)}
    rows = [row(1, 0, 1.6), replace(row(1, 1, 3), **hidden), row(1, 2.8, 4)]
    assert [(cell.start, cell.end) for cell in cells_of(rows)] == [(0, 1.3), (1.3, 1.6), (2.8, 2.9), (2.9, 4)]
    assert shown(segments_of(rows)) == [(1, 0, 1.6, 0), (1, 2.8, 4, 0)]


def test_two_tracks_that_are_one_face_share_the_time_of_their_windows():
    """The second is seen while the first is hidden, as after two cuts; windows have the first one's row first."""
    hidden = replace(row(1, 0, 3), absences=((1, 2.4),))
    first, second = [hidden, row(1, 1, 2.1, 1)], [row(1, 2.4, 4.5), row(1, 1.5, 2.1, 1)]
    rows = [
        *(replace(each, window=(0, 3)) for each in first),
        *(replace(each, window=(1.5, 4.5)) for each in second),
    ]
    found = [(cell.start, cell.end, int(cell.probabilities.argmax())) for cell in cells_of(rows)]
    assert found == [(0, 1, 0), (1, 2.1, 1), (2.4, 4.5, 0)]


def test_a_face_in_two_tracks_of_a_window_is_counted_once():
    rows = [replace(row(1, *span), window=(0, 4)) for span in ((0, 2), (1.6, 4), (2.5, 3))]
    assert [(cell.start, cell.end) for cell in cells_of(rows)] == [(0, 1.8), (1.8, 4)]


def test_a_gap_between_two_windows_is_an_absence_from_a_fifth_of_a_second_on():
    assert sum(cell.seconds for cell in cells_of([row(1, 0, 1.9), row(1, 2.05, 4)])) == 4
    assert sum(cell.seconds for cell in cells_of([row(1, 0, 1.9), row(1, 2.1, 4)])) == pytest.approx(3.8)


def test_segments_add_up_to_the_time_for_which_a_face_is_seen():
    labels = np.random.default_rng(0).integers(0, 3, 200).tolist()
    segments = segments_of(windows(labels))
    assert sum(segment.seconds for segment in segments) == pytest.approx(201)
    assert all(one.end == other.start for one, other in pairwise(segments))
    assert all(one.label != other.label for one, other in pairwise(segments))
    assert all(segment.seconds >= 1 for segment in segments)


def test_a_flicker_is_no_segment():
    assert shown(segments_of(windows([0, 0, 0, 1, 0, 0, 0]))) == [(1, 0, 8, 0)]


def test_a_change_that_stays_is_a_segment():
    assert shown(segments_of(windows([0, 0, 0, 1, 1, 1]))) == [(1, 0, 3.5, 0), (1, 3.5, 7, 1)]


def test_changes_that_are_too_short_belong_to_what_was_before():
    """Windows of a quarter of a second: a change of half a second is ignored."""
    labels = [0] * 8 + [1, 1] + [2, 2] + [0] * 8 + [2] * 8
    rows = [row(1, place / 4, (place + 1) / 4, label) for place, label in enumerate(labels)]
    assert shown(segments_of(rows)) == [(1, 0, 5, 0), (1, 5, 7, 2)]


def test_a_face_that_is_away_ends_its_segment():
    rows = [*windows([0, 0]), *windows([0, 0], begin=10)]
    assert shown(segments_of(rows)) == [(1, 0, 3, 0), (1, 10, 13, 0)]


def test_a_moment_is_a_segment_where_it_is_all_there_is():
    assert shown(segments_of([row(1, 0, 0.2, 2)])) == [(1, 0, 0.2, 2)]


def test_each_face_has_its_own():
    mixed = [one for pair in zip(windows([0] * 4), windows([1] * 4, track=2), strict=True) for one in pair]
    assert shown(segments_of(mixed)) == [(1, 0, 5, 0), (2, 0, 5, 1)]


def test_a_segment_has_the_mean_of_its_time_and_every_caution():
    rows = [row(1, 0, 2, 0, ("dark face",)), row(1, 2, 6, 0, ("small face",)), row(1, 6, 7, 1)]
    (segment,) = segments_of([*rows, *(row(1, 7 + second, 8 + second, 0) for second in range(3))])
    assert segment.probabilities == pytest.approx([(9 * 0.8 + 0.1) / 10, (0.8 + 9 * 0.1) / 10, 0.1])
    assert segment.cautions == ("dark face (2.0 s)", "small face (4.0 s)")


def test_a_caution_that_holds_for_all_of_a_segment_needs_no_seconds():
    rows = [row(1, 0, 2, 0, ("dark face",)), row(1, 2, 2.04, 0, ("dark face", "seen for a moment"))]
    (segment,) = segments_of(rows)
    assert segment.cautions == ("dark face", "seen for a moment (below 0.1 s)"), "never 0.0 s"


def test_nothing_is_kept_of_faces_that_left_long_ago():
    cells, segments = Cells(), Segments()
    for track in range(1, 2000):
        for cell in cells.add(row(track, 10 * track, 10 * track + 2)):
            list(segments.add(cell))
    assert len(cells._open) < 10
    assert len(segments._faces) < 20
