"""Folders of the families, to read and to change."""

import shutil

import pytest


@pytest.fixture(scope="module")
def written(families):
    """Return the folder of a family; not to be written to."""

    def folder(kind):
        path = families(kind).path
        return path.parent if path.is_file() else path

    return folder


@pytest.fixture
def copy(written, tmp_path):
    """Return a copy of the folder of a family, which a test may change."""
    return lambda kind: shutil.copytree(written(kind), tmp_path / kind)
