"""The address of a database: which ones are taken, and how it is shown, without its password."""

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL

from lob_jax.errors import InputError

SQLITE, POSTGRESQL = "sqlite", "postgresql"
DRIVERS = {SQLITE: "sqlite", POSTGRESQL: "postgresql+psycopg"}
OTHER_NAMES = {"postgres": POSTGRESQL, "sqlite+pysqlite": SQLITE, "postgresql+psycopg": POSTGRESQL}
HIDDEN = "***"


def address_of(text: str) -> URL:
    """Return the address that a text is.

    Raises:
      InputError: it is none, or not that of a kind of database that is supported; the text itself is not shown.
    """
    try:
        url = sa.make_url(text)
    except (exc.ArgumentError, ValueError):
        raise _refused("a text that is no URL") from None  # what it was may hold a password
    kind = OTHER_NAMES.get(url.drivername, url.drivername)
    if kind not in DRIVERS:
        raise _refused(url.drivername)
    if kind == SQLITE and url.database in (None, "", ":memory:"):
        raise _refused("a database in memory, which nothing outlasts")
    if kind == SQLITE and url.query:
        raise _refused(f"a file with options: {', '.join(sorted(url.query))}")
    return url.set(drivername=DRIVERS[kind])


def shown(url: URL) -> str:
    """Return an address as it may be shown."""
    secrets = {key: HIDDEN for key in url.query if "password" in key}
    return url.update_query_dict(secrets).render_as_string(hide_password=True)


def without_password(text: str, url: URL) -> str:
    """Return a text, such as an error of a driver, without the password of an address."""
    secrets = [url.password, *(value for key, value in url.query.items() if "password" in key)]
    for secret in secrets:
        text = text.replace(str(secret), HIDDEN) if secret else text
    return text


def _refused(was: str) -> InputError:
    return InputError(
        "the address of the database of experiments is not usable",
        where="config.serve.database",
        expected="sqlite:///FILE or postgresql://USER@HOST/NAME",
        was=was,
        remedy="correct it; special characters in a URL are written as %40 and the like",
    )
