"""The limit of open files is compared with what workers need."""

import resource

import pytest

from peclip.data.limits import allow_open_files
from peclip.errors import InputError


@pytest.fixture
def limit(monkeypatch):
    """Sets the soft and the hard limit of a process, and returns the list of limits that are set afterwards."""

    def set_limits(soft, hard):
        made = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))
        return made

    return set_limits


def test_too_few_open_files_are_one_line_before_the_start(limit):
    limit(64, 64)
    with pytest.raises(InputError) as caught:
        allow_open_files(8)
    assert str(caught.value) == (
        "num_workers is 8, which needs 100 open files, but the limit is 64: raise it (ulimit -n 1024), or set num_workers "
        "to at most 4"
    )


def test_several_devices_need_more(limit):
    limit(64, 64)
    allow_open_files(2, one_device=False)
    with pytest.raises(InputError, match="num_workers is 3, which needs 71 open files"):
        allow_open_files(3, one_device=False)


@pytest.mark.parametrize(("most", "workers"), [(64, 4), (16, 0), (1024, 16), (resource.RLIM_INFINITY, 99)])
def test_enough_open_files_are_enough(limit, most, workers):
    assert limit(most, most) == []
    allow_open_files(workers)


def test_the_limit_is_raised_as_far_as_the_user_may(limit):
    made = limit(64, 4096)
    allow_open_files(100)
    assert made == [(4096, 4096)]
