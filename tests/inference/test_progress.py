"""A video that takes long says so early."""

from types import SimpleNamespace

import pytest

from peclip.inference import progress
from peclip.inference.progress import Pace, span


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def said(clock, length, answers):
    """Return what is said of a video, given when each second of it is answered."""
    lines = []
    watch = Pace(length, lines.append)
    for clock.now, end in answers:
        watch(end)
    return lines


def test_the_rest_is_estimated_from_the_second_answers_and_said_once(clock):
    answers = [(30.0, 2.0), (30.0, 2.0), (34.0, 4.0), (34.1, 4.0), (38.0, 6.0)]  # the first ones also load the texts
    assert said(clock, 104.0, answers) == ["104 s of video; about 3 min left"]


def test_the_answers_of_a_batch_come_at_once_and_say_nothing_about_the_pace(clock):
    batches = [(4.0 * place + 0.001 * row, 4.0 * place + row + 2) for place in range(4) for row in range(4)]
    assert said(clock, 125.0, batches) == ["125 s of video; about 2 min left"]


def test_many_short_videos_are_one_long_wait(clock):
    lines = []
    pace = Pace(40 * 5.0, lines.append)
    for _ in range(5):
        of_video = pace.of_next(5.0)
        for end in (2.0, 3.0, 4.0, 5.0):
            clock.now += 0.001
            of_video(end)
        clock.now += 4.0
    assert lines == ["200 s of video; about 2 min left"]


@pytest.mark.parametrize(("length", "step"), [(None, 100.0), (8.0, 0.5)])
def test_nothing_is_said_of_a_stream_or_a_short_wait(clock, length, step):
    assert said(clock, length, [(number * step, number + 1.0) for number in range(6)]) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.4, "2.4 s"), (12.0, "12 s"), (100, "1 min 40 s"), (7_800, "2 h 10 min"), (3_600, "1 h")]
)
def test_lengths_of_time_read_as_people_say_them(seconds, text):
    assert span(seconds) == text


@pytest.mark.parametrize(("left", "text"), [(12.4, "12 s"), (100, "2 min"), (7_790, "2 h 10 min")])
def test_an_estimate_is_said_without_digits_that_it_does_not_have(clock, left, text):
    (line,) = said(clock, 2.0 + left, [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (2.5, 2.5)])
    assert line.endswith(f"about {text} left")
