"""Addresses of databases: which ones are taken, and that no password is shown."""

import pytest

from lob_jax.errors import InputError
from lob_jax.serving.experiments.store.address import address_of, shown, without_password


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sqlite:///a.db", "sqlite"),
        ("sqlite+pysqlite:////srv/a.db", "sqlite"),
        ("postgresql://me@host/name", "postgresql+psycopg"),
        ("postgres://me@host/name", "postgresql+psycopg"),
        ("postgresql+psycopg://host/name", "postgresql+psycopg"),
    ],
)
def test_addresses_that_are_taken(text, kind):
    assert address_of(text).drivername == kind


@pytest.mark.parametrize(
    "text",
    ["", "secret", "me:secret@host", "mysql://me:secret@host/n", "postgresql+asyncpg://me:secret@h/n", "sqlite://"]
    + ["sqlite:///:memory:", "sqlite:///a.db?timeout=secret", "postgresql://me:secret@host:port/n", "/srv/secret.db"],
)
def test_others_are_refused_without_being_shown(text):
    with pytest.raises(InputError) as caught:
        address_of(text)
    assert "secret" not in str(caught.value) and caught.value.__cause__ is None
    assert caught.value.where == "config.serve.database"


def test_no_password_is_shown():
    texts = ["postgresql://me:secret@host/n", "postgresql://me@host/n?password=secret&sslpassword=secret&sslmode=allow"]
    for text in texts:
        assert "secret" not in shown(address_of(text)) and "me" in shown(address_of(text))
    assert shown(address_of(texts[1])).endswith("?password=%2A%2A%2A&sslmode=allow&sslpassword=%2A%2A%2A") or (
        shown(address_of(texts[1])).endswith("?password=***&sslmode=allow&sslpassword=***")
    )
    assert shown(address_of("postgresql://host/n?sslmode=allow")) == "postgresql+psycopg://host/n?sslmode=allow"


def test_errors_of_drivers_are_freed_of_passwords():
    url = address_of("postgresql://me:se%40cret@host/n?sslpassword=other")
    assert without_password("se@cret other me", url) == "*** *** me"
    assert without_password("nothing", address_of("sqlite:///a.db")) == "nothing"
