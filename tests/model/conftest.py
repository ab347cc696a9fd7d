"""A model of all parts for the tests of this room."""

from copy import deepcopy

import pytest

from tests.model.small import build, stir


@pytest.fixture(scope="module")
def whole(tiny_clip):
    """A PEClip with all parts, none of them the identity. Tests leave it as it was."""
    return stir(build(tiny_clip)).eval()


@pytest.fixture
def net(whole):
    """A copy of it that a test may change."""
    return deepcopy(whole)
