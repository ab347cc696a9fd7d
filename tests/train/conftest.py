import pytest

from tests.model.small import build, stir
from tests.runs import LABELS


@pytest.fixture(scope="module")
def tiny_net(tiny_clip):
    """A model whose every part does something; not to be changed."""
    return stir(build(tiny_clip, num_frames=3, labels=LABELS))
