"""A bundle to open, and a copy of it to damage."""

import shutil

import pytest

from tests.export import sample


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    return sample.write(tmp_path_factory.mktemp("bundles") / "goog")


@pytest.fixture
def folder(written, tmp_path):
    """A copy to damage."""
    return shutil.copytree(written.folder, tmp_path / "copy")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Leave out the flushes, which take most of the time; one test sees that they are made, by its own."""
    monkeypatch.setattr("os.fsync", lambda _: None)
