"""The databases of tests: a file of SQLite, and a database of a PostgreSQL server that the tests start."""

import pytest

from tests.serving.experiments.postgres import postgres

__all__ = ["postgres"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the address of a new database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'experiments.db'}"
    return request.getfixturevalue("postgres").database()
