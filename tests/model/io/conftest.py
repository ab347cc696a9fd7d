"""A small model with random parts, and its package."""

import pytest

from tests.model.small import build, stir


@pytest.fixture(scope="module")
def net(tiny_clip):
    return stir(build(tiny_clip)).eval()


@pytest.fixture
def folder(net, tmp_path):
    net.save_pretrained(tmp_path / "package")
    return tmp_path / "package"
