"""A model of all parts for the tests of this room."""

from copy import deepcopy
from functools import cache

import pytest

from tests.model.backbones.families import write_family
from tests.model.small import build, stir


@pytest.fixture(scope="session")
def families(tmp_path_factory):
    """A function that returns the backbone of a family by its name, written once; not to be written to."""

    @cache
    def written(kind):
        return write_family(kind, tmp_path_factory.mktemp("families") / kind)

    return written


@pytest.fixture(scope="module")
def whole(tiny_clip):
    """A PEClip with all parts, none of them the identity. Tests leave it as it was."""
    return stir(build(tiny_clip)).eval()


@pytest.fixture
def net(whole):
    """A copy of it that a test may change."""
    return deepcopy(whole)
