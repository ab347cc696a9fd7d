"""A configuration and its data, to be broken."""

import pytest

from tests.runs import write_config, write_data


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, under a name that no message holds by chance."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def data(place):
    """The manifest of three training and three test clips, to be broken."""
    return write_data(place / "data", {"train": 2, "test": 1})


@pytest.fixture
def config(place, tiny_clip, data):
    return write_config(place / "config.yaml", tiny_clip, data)
