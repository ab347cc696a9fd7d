"""Fixtures of the tests of training: a model, and runs of the command."""

from contextlib import chdir

import pytest

from tests.model.small import build, stir
from tests.runs import LABELS, run
from tests.train.one_epoch import ONE_EPOCH


@pytest.fixture(scope="module")
def tiny_net(tiny_clip):
    """A model whose every part does something; not to be changed."""
    return stir(build(tiny_clip, num_frames=3, labels=LABELS))


@pytest.fixture
def fit_once(tmp_path, monkeypatch, tiny_config):
    """Runs a training of one epoch in an empty folder, which must succeed, and returns its folder and what it printed."""
    monkeypatch.chdir(tmp_path)

    def start(*options):
        result = run("fit", "--config", tiny_config, *ONE_EPOCH, *options)
        assert result.status == 0, result.err
        return tmp_path / "runs/tiny/version_0", result

    return start


@pytest.fixture(scope="module")
def plain_fit(tmp_path_factory, tiny_config):
    """The folder of such a training without further options, and what it printed; not to be written to."""
    folder = tmp_path_factory.mktemp("plain")
    with chdir(folder):
        result = run("fit", "--config", tiny_config, *ONE_EPOCH)
    assert result.status == 0, result.err
    return folder / "runs/tiny/version_0", result
