"""Transactions in SQLite or PostgreSQL that last when they return, and what goes wrong with them."""

import contextlib
import threading
import time
from collections.abc import Generator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL

from lob_jax.errors import InputError
from lob_jax.serving.experiments.store.address import SQLITE, shown, without_password
from lob_jax.serving.experiments.store.errors import Unavailable

WAIT_S = 10.0  # how long a transaction waits for those of others
POOL = {"pool_pre_ping": True, "pool_size": 8, "max_overflow": 8, "pool_timeout": WAIT_S}
# A server that is gone without a word is noticed within half a minute.
CONNECT = {
    "connect_timeout": "5",
    "client_encoding": "utf8",  # with that of SQL_ASCII, texts would come as bytes
    "application_name": "lob_jax",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
# The second ends a transaction whose client is gone, which would lock its experiment; the third because what is
# acknowledged has to last, whatever is usual in this database.
SESSION = f"""SELECT set_config('lock_timeout', '{WAIT_S:.0f}s', false),
  set_config('idle_in_transaction_session_timeout', '30s', false),
  CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END"""
WRITES = "writes"  # the option of connections whose transactions write


class Database:
    """Connections to one database; safe from any thread."""

    def __init__(self, url: URL):
        """Prepare to connect, which nothing does yet.

        Raises:
          InputError: the database's driver is not installed.
        """
        self.url = url
        self.is_sqlite = url.drivername == SQLITE
        given = {} if self.is_sqlite else {key: value for key, value in CONNECT.items() if key not in url.query}
        try:
            # Errors do not show parameters: these are arrays, and texts of clients.
            self._engine = sa.create_engine(url, connect_args=given, hide_parameters=True, **POOL)
        except ImportError as error:
            raise _without_driver(error) from error
        event.listen(self._engine, "connect", _set_up_sqlite if self.is_sqlite else _set_up_postgresql)
        if self.is_sqlite:
            event.listen(self._engine, "begin", _begin)
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """Give a transaction that sees one state of the database all along.

        Raises:
          Unavailable: the database does not answer.
        """
        # SQLite's transactions see one state from their first read on by themselves.
        how: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._explained(), self._transaction(**how) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """Give a transaction that is on disk when this returns; in SQLite, the only one that writes meanwhile.

        Raises:
          Unavailable: the database does not answer, or another transaction holds it for too long. Whether this one is
            kept is unknown if the connection broke while it was committed.
        """
        with self._explained(), self._in_turn(), self._transaction(**{WRITES: True}) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, **how: Any) -> Generator[sa.Connection]:
        with self._engine.connect().execution_options(**how) as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def _in_turn(self) -> Generator[None]:
        """Let the threads of this process write in turn, since SQLite would let them poll for the file."""
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(timeout=WAIT_S):
            raise Unavailable(f"{shown(self.url)}: other threads write for more than {WAIT_S:.0f} s")
        try:
            yield
        finally:
            self._turn.release()

    # An InternalError is what PostgreSQL says when it is read-only, as a standby is until it takes over, and when a
    # transaction has been idle for too long.
    @contextlib.contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as error:
            raise Unavailable(f"{shown(self.url)}: {reason(error, self.url)}") from error


def reason(error: exc.SQLAlchemyError, url: URL) -> str:
    """Return what a driver says about an error, in one line without the password."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return without_password("; ".join(line.strip() for line in lines), url)


def _set_up_sqlite(connection: Any, record: object) -> None:
    """Prepare a new connection to SQLite.

    `synchronous=FULL` writes the log to disk at each commit; NORMAL, which is usual with a write-ahead log, would lose
    the last transactions if the machine fails. Python would begin transactions by itself, and not those that lock.
    """
    connection.isolation_level = None
    for pragma in (f"busy_timeout={WAIT_S * 1000:.0f}", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    _use_write_ahead_log(connection)


def _use_write_ahead_log(connection: Any) -> None:
    """Let readers go on while something is written; the file stays so, but several processes may meet at a new one."""
    import sqlite3

    end = time.monotonic() + WAIT_S
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:  # SQLite does not wait where both wait for each other
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _begin(connection: sa.Connection) -> None:
    """Begin a transaction; one that writes takes its turn at once, since one that has read cannot wait for it."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")


def _set_up_postgresql(connection: Any, record: object) -> None:
    """Prepare a new connection to PostgreSQL."""
    connection.execute(SESSION)
    connection.commit()  # settings that are rolled back are lost


def _without_driver(error: ImportError) -> InputError:
    return InputError(
        "the driver of the database is not installed",
        where="config.serve.database",
        expected="an installation with the extra [experiments]",
        was=error,
        remedy='pip install -e ".[experiments]"',
    )
