from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from weakref import WeakSet

import numpy as np
import pytest
import torch

from peclip.errors import InputError
from peclip.inference.windows import FEWEST, SPARE, Box, Seen, View, Window, Windows, shared


@dataclass(eq=False)
class Someone:
    number: int | None = 1


def view_of(crops: dict[Someone, torch.Tensor | None], not_followed: int = 0, left: float = 0) -> View:
    return View({one: Seen(Box(left, 0, 60, 60), 0.9, crop) for one, crop in crops.items()}, not_followed)


def slide(times: Sequence[float], windows: Windows, seen: dict[Someone, range] | None = None) -> list[Window]:
    """Push frames, each crop of which is filled with its number; without `seen`, one face is in all of them."""
    seen = {Someone(): range(len(times))} if seen is None else seen
    closed = []
    for i, seconds in enumerate(times):
        here = [one for one, frames in seen.items() if i in frames]
        crops = {
            one: torch.full((3, 2, 2), i, dtype=torch.uint8) if windows.wants(one, seconds) else None for one in here
        }
        closed += windows.push(seconds, view_of(crops))
    return closed + list(windows.finish())


def at(fps: float, frames: int) -> list[float]:
    return [i / fps for i in range(frames)]


def spans(windows: list[Window]) -> list[tuple[float, float]]:
    return [(window.start, window.end) for window in windows]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (50, [(0, 2), (1, 3), (2, 4), (3, 5)]),
        (53, [(0, 2), (1, 3), (2, 4), (3, 5), (4, 5.3)]),
        (20, [(0, 2)]),
        (21, [(0, 2), (1, 2.1)]),
        (7, [(0, 0.7)]),
        (1, [(0, 0.04)]),
        (0, []),
    ],
)
def test_windows_reach_from_the_first_frame_to_the_last(frames, expected):
    assert spans(slide(at(10, frames), Windows(4, 2.0, 1.0))) == [pytest.approx(span) for span in expected]


def test_windows_may_follow_each_other_without_overlap():
    found = slide(at(10, 35), Windows(4, 1.0, 1.0))
    assert spans(found) == [pytest.approx(span) for span in [(0, 1), (1, 2), (2, 3), (3, 3.5)]]
    assert [window.sights[0].clip[0, 0, 0, 0].item() for window in found] == [1, 11, 21, 30]


def test_frames_of_a_clip_are_chosen_by_segments():
    (window,) = slide(at(8, 16), Windows(4, 2.0, 1.0))
    assert window.sights[0].clip[:, 0, 0, 0].tolist() == [2, 6, 10, 14]
    assert window.sights[0].clip.shape == (4, 3, 2, 2)
    assert window.sights[0].clip.dtype == torch.uint8


def test_a_short_window_repeats_its_last_frame():
    (window,) = slide(at(8, 3), Windows(4, 2.0, 1.0))
    assert window.sights[0].clip[:, 0, 0, 0].tolist() == [0, 1, 2, 2]


def test_a_face_appears_and_disappears_within_a_window():
    first, second = Someone(1), Someone(2)
    found = slide(at(10, 40), Windows(4, 2.0, 2.0), {first: range(5), second: range(15, 40)})
    assert [(sight.track, sight.start, sight.end, sight.share) for window in found for sight in window.sights] == [
        (1, pytest.approx(0), pytest.approx(0.5), 5 / 20),
        (2, pytest.approx(1.5), pytest.approx(2), 5 / 20),
        (2, pytest.approx(2), pytest.approx(4), 1.0),
    ]
    assert found[0].sights[1].clip[:, 0, 0, 0].tolist() == [15, 16, 18, 19]


def test_a_window_without_a_face_is_a_window():
    found = slide(at(10, 40), Windows(4, 1.0, 1.0), {Someone(): range(25, 40)})
    assert [len(window.sights) for window in found] == [0, 0, 1, 1]


def test_what_is_left_of_a_window_is_blank():
    first, second = Someone(1), Someone(2)
    seen = {first: range(5, 10), second: range(18, 39)}
    found = slide(at(10, 60), Windows(4, 2.0, 2.0), seen)
    assert [window.blanks for window in found] == [
        [pytest.approx((0, 0.5)), pytest.approx((1, 1.8))],
        [],  # too short
        [(4, 6)],
    ]


def test_an_absence_within_a_window_is_no_time_of_the_face():
    found = slide(at(10, 20), Windows(4, 2.0, 2.0), {Someone(): [*range(2, 6), 7, *range(12, 20)]})
    (sight,) = found[0].sights
    assert (sight.start, sight.end, sight.seconds) == pytest.approx((0.2, 2.0, 1.3))
    assert sight.absences == (pytest.approx((0.8, 1.2)),), "one frame without it is none"
    assert found[0].blanks == [pytest.approx((0, 0.2)), pytest.approx((0.8, 1.2))]


def test_an_absence_of_one_face_is_not_blank_where_another_is_there():
    found = slide(at(10, 20), Windows(4, 2.0, 2.0), {Someone(1): [0, 1, 18, 19], Someone(2): range(8, 12)})
    assert found[0].blanks == [pytest.approx((0.2, 0.8)), pytest.approx((1.2, 1.8))]


def test_a_frame_is_shown_until_the_next_one():
    found = slide([0, 0.1, 5.0, 5.1], Windows(2, 1.0, 1.0))
    assert spans(found) == [pytest.approx(span) for span in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 5.2)]]
    assert [(sight.start, sight.end) for window in found for sight in window.sights] == spans(found)
    assert [window.sights[0].clip[:, 0, 0, 0].tolist() for window in found] == [[0, 1], *[[1, 1]] * 4, [2, 3]]
    assert [window.blanks for window in found] == [[]] * 6


def test_what_is_left_of_a_frame_counts_where_it_can_be_seen():
    """A frame that began before the window and lasts 0.1 s in it is too short beside others; one of 0.4 s is not."""
    found = slide([0, 0.9, 1.1, 1.6, 2.4, 2.5, 3.0], Windows(4, 1.0, 1.0))
    assert [window.sights[0].clip[:, 0, 0, 0].tolist() for window in found[:3]] == [
        [0, 1, 1, 1],
        [2, 3, 3, 3],
        [3, 4, 5, 5],
    ]


def test_a_face_that_comes_behind_the_start_of_a_window_starts_when_it_comes():
    nobody, someone = [0.0, 0.95, 1.7], Someone()
    found = slide([*nobody, 2.3, 2.4], Windows(2, 1.0, 1.0), {someone: range(3, 5)})
    assert [(sight.start, sight.end) for window in found for sight in window.sights] == [(2.3, 2.5)]
    assert [window.blanks for window in found] == [[(0, 1)], [(1, 2)], [(2, 2.3)]]


def test_the_last_frame_is_shown_until_the_end_of_the_video():
    windows, someone = Windows(2, 1.0, 1.0), Someone()
    closed = [*windows.push(0, view_of({someone: torch.zeros(3, 2, 2, dtype=torch.uint8)})), *windows.finish(2.5)]
    assert spans(closed) == [(0, 1), (1, 2), (2, 2.5)]
    assert [len(window.sights) for window in closed] == [1, 1, 1]


@pytest.mark.parametrize(
    ("times", "end", "expected"),
    [
        ([0, 0.25, 0.5], 0.55, 0.55),
        ([0, 0.1, 0.2], 0.35, 0.3),  # shown for longer than any other, but not held
        ([0, 0.1, 0.2], 0.2, 0.3),  # the file does not say for how long
        ([0, 0.1, 0.2], None, 0.3),
    ],
)
def test_no_window_ends_after_the_video(times, end, expected):
    windows, someone = Windows(2, 2.0, 1.0), Someone()
    for seconds in times:
        assert not list(windows.push(seconds, view_of({someone: torch.zeros(3, 2, 2, dtype=torch.uint8)})))
    assert spans([*windows.finish(end)]) == [(0, expected)]


def test_a_frame_that_turns_out_to_be_held_gets_its_crops():
    windows, someone = Windows(1, 1.0, 1.0), Someone()
    crop = torch.zeros(3, 2, 2, dtype=torch.uint8)
    closed = [
        *windows.push(0, view_of({someone: crop})),
        *windows.push(0.01, view_of({someone: None})),
        *windows.hold(0.01, view_of({someone: crop + 1})),
    ]
    closed += windows.finish(2.0)
    assert [window.sights[0].clip[0, 0, 0, 0].item() for window in closed] == [1, 1]


def test_a_window_has_the_mean_place_of_a_face_and_the_most_faces_that_are_not_followed():
    windows, someone = Windows(1, 1.0, 1.0), Someone()
    crop = torch.zeros(3, 2, 2, dtype=torch.uint8)
    for seconds, others, left in ((0, 0, 10), (0.4, 3, 20), (0.8, 1, 60)):
        assert not [*windows.push(seconds, view_of({someone: crop}, others, left))]
    (window,) = windows.finish(1.0)
    assert window.sights[0].box == pytest.approx((30, 0, 60, 60))
    assert window.sights[0].score == pytest.approx(0.9)
    assert window.not_followed == 3


def test_who_is_not_confirmed_is_not_reported():
    (window,) = slide(at(10, 10), Windows(4, 1.0, 1.0), {Someone(None): range(10), Someone(7): range(10)})
    assert [sight.track for sight in window.sights] == [7]


@pytest.mark.parametrize(("num_frames", "most"), [(4, FEWEST), (40, SPARE * 40)])
def test_few_crops_are_kept_however_many_frames_there_are(num_frames, most):
    windows, someone, kept, wanted = Windows(num_frames, 2.0, 1.0), Someone(), WeakSet(), 0
    for seconds in at(240, 5 * 240):
        crop = torch.zeros(3, 2, 2, dtype=torch.uint8) if windows.wants(someone, seconds) else None
        kept |= {crop} if crop is not None else set()
        wanted += crop is not None and seconds >= 2  # from then on, as many as a window needs
        for window in windows.push(seconds, view_of({someone: crop})):
            assert window.sights[0].share == 1
        assert len(kept) <= most + 1
    assert len(kept) >= most / 2
    assert wanted <= 3 / 2 * most


@pytest.mark.parametrize("length", [1.0, 2.0, 60.0])
def test_the_length_of_a_window_does_not_change_what_is_seen_of_a_shorter_video(length):
    (window,) = slide(at(30, 30), Windows(8, length, length))
    assert window.sights[0].clip[:, 0, 0, 0].tolist() == [1, 5, 9, 13, 16, 20, 24, 28]


def test_frames_of_a_long_window_are_evenly_spaced():
    found = slide(at(4, 240), Windows(8, 30.0, 10.0))
    assert len(found) == 4
    for number, window in enumerate(found):
        expected = [40 * number + 7.5 + 15 * place for place in range(8)]
        assert window.sights[0].clip[:, 0, 0, 0].tolist() == pytest.approx(expected, abs=4)


def test_a_still_before_frames_takes_none_of_them():
    """The still is shown when each of the next windows begins."""
    found = slide([0, *(20.5 + i / 60 for i in range(240))], Windows(8, 4.0, 1.0))
    assert [len({*window.sights[0].clip[:, 0, 0, 0].tolist()}) for window in found[-2:]] == [8, 8]


def test_many_faces_one_after_the_other_have_room_for_as_many_crops_as_sixteen():
    windows, kept = Windows(4, 60.0, 60.0), WeakSet()
    for number, seconds in enumerate(at(25, 1400)):
        if number % 35 == 0:  # four other faces
            faces = [Someone(number + place) for place in range(4)]
        crops = {one: torch.zeros(1) if windows.wants(one, seconds) else None for one in faces}
        kept |= {crop for crop in crops.values() if crop is not None}
        list(windows.push(seconds, view_of(crops)))
        del crops
    assert 8 * FEWEST < len(kept) <= 16 * FEWEST


def test_stretches_that_two_lists_share_are_those_of_each_pair():
    generator = np.random.default_rng(0)
    for _ in range(200):
        one, other = ([*pairwise(sorted(generator.choice(60, 12, replace=False).tolist()))][::2] for _ in range(2))
        pairs = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
        assert shared(one, other) == sorted(pair for pair in pairs if pair[1] > pair[0])


@pytest.mark.parametrize(
    ("length", "stride", "named"),
    [
        (0, 1, "window is 0"),
        (-1, 1, "window"),
        (61, 1, "window is 61"),
        (2, 0, "stride is 0"),
        (2, 2.5, "stride is 2.5"),
    ],
)
def test_numbers_out_of_range_are_named(length, stride, named):
    with pytest.raises(InputError, match=named):
        Windows(4, length, stride)


@pytest.mark.parametrize(("length", "stride"), [(float("nan"), 1), (2, float("nan"))])
def test_values_that_are_not_finite_are_refused(length, stride):
    with pytest.raises(InputError, match="nan"):
        Windows(4, length, stride)


def test_a_picture_that_begins_after_a_window_has_empty_windows_before_it():
    """As of a file whose sound begins earlier."""
    windows = slide([5.0, 5.1, 5.2], Windows(4, 2.0, 1.0))
    assert [(window.start, window.end, len(window.sights)) for window in windows[:2]] == [(0.0, 2.0, 0), (1.0, 3.0, 0)]
    assert windows[0].blanks == [(0.0, 2.0)]
    assert windows[-1].end == pytest.approx(5.3)
    assert windows[-1].sights
