"""A video that takes long says so early."""

from types import SimpleNamespace

import pytest

from peclip.inference import pace
from peclip.inference.pace import Pace, duration


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def said(clock, length, answers):
    """What is said of a video, given when each second of it is answered."""
    lines = []
    watch = Pace(length, lines.append)
    for clock.now, end in answers:
        watch(end)
    return lines


def test_the_rest_is_estimated_from_the_second_answers_and_said_once(clock):
    answers = [(30.0, 2.0), (30.0, 2.0), (34.0, 4.0), (34.1, 4.0), (38.0, 6.0)]  # the first ones also load the texts
    assert said(clock, 104.0, answers) == ["104 s of video; about 3 min left"]


@pytest.mark.parametrize(("length", "step"), [(None, 100.0), (8.0, 0.5)])
def test_nothing_is_said_of_a_stream_or_a_short_wait(clock, length, step):
    assert said(clock, length, [(number * step, number + 1.0) for number in range(6)]) == []


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (100, "2 min"), (7_800, "2 h 10 min")])
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text
