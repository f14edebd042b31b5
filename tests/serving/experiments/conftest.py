"""The databases of tests: a file of SQLite, and a schema of a PostgreSQL server that the tests start."""

import itertools

import pytest

from tests.serving.experiments.postgres import postgres

__all__ = ["postgres"]


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request, tmp_path_factory):
    """Return a function that gives the address of a new database of one kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").database
    folder, numbers = tmp_path_factory.mktemp("databases"), itertools.count()
    return lambda: f"sqlite:///{folder / f'{next(numbers)}.db'}"


@pytest.fixture
def url(new_database):
    """Return the address of a new database."""
    return new_database()
