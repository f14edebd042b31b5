"""Opening a database, and what is said when it cannot be opened or goes away."""

import contextlib
import sqlite3
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from lob_jax.errors import InputError
from lob_jax.serving.experiments.store import database as module
from lob_jax.serving.experiments.store.address import address_of
from lob_jax.serving.experiments.store.database import Database
from lob_jax.serving.experiments.store.errors import Unavailable
from lob_jax.serving.experiments.store.store import Store
from tests.serving.experiments.postgres import PASSWORD, USER, Postgres
from tests.serving.experiments.store.made import EXPERIMENT, outcome


def pragma(database, name):
    with database.reading() as connection:
        return connection.scalar(sa.text(f"PRAGMA {name}"))


def test_sqlite_writes_its_log_to_disk_at_each_commit(tmp_path):
    database = Database(address_of(f"sqlite:///{tmp_path / 'a.db'}"))
    full = 2
    found = {name: pragma(database, name) for name in ("synchronous", "journal_mode", "foreign_keys", "busy_timeout")}
    assert found == {"synchronous": full, "journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 10_000}
    database.close()


def test_postgresql_acknowledges_what_is_on_disk_whatever_the_database_says(postgres):
    with postgres.connection() as connection:
        connection.execute("CREATE DATABASE careless")
        connection.execute("ALTER DATABASE careless SET synchronous_commit = off")
    for url, wanted in (
        (postgres.url("careless"), "on"),
        (f"{postgres.database()}%20-csynchronous_commit%3Dlocal", "local"),
    ):
        database = Database(address_of(url))
        with database.writing() as connection:
            asked = "synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout", "client_encoding"
            found = [connection.scalar(sa.text(f"SHOW {name}")) for name in asked]
        assert found == [wanted, "10s", "30s", "UTF8"]
        database.close()


def test_a_postgresql_that_is_read_only_is_unavailable_until_it_takes_over(postgres):
    url = postgres.database()
    with contextlib.closing(Store(url)) as store:
        store.create(EXPERIMENT)
    with contextlib.closing(Store(f"{url}%20-cdefault_transaction_read_only%3Don")) as store:
        assert store.experiments() == (EXPERIMENT,)
        with pytest.raises(Unavailable, match="read-only"):
            store.assign(EXPERIMENT, "AAPL 1", at_s=2_000.0)


def test_a_transaction_that_fails_changes_nothing(url):
    database = Database(address_of(url))
    with database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE kept (a INTEGER)"))
    with pytest.raises(RuntimeError), database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE lost (a INTEGER)"))
        connection.execute(sa.text("INSERT INTO kept VALUES (1)"))
        raise RuntimeError
    with database.reading() as connection:
        assert sa.inspect(connection).get_table_names() == ["kept"]
        assert connection.scalar(sa.text("SELECT count(*) FROM kept")) == 0
    database.close()


def test_a_transaction_that_reads_sees_one_state(url):
    database = Database(address_of(url))
    count = sa.text("SELECT count(*) FROM kept")
    with database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE kept (a INTEGER)"))
    with database.reading() as reading:
        assert reading.scalar(count) == 0
        with database.writing() as connection:
            connection.execute(sa.text("INSERT INTO kept VALUES (1)"))
        assert reading.scalar(count) == 0
    with database.reading() as reading:
        assert reading.scalar(count) == 1
    database.close()


@pytest.mark.parametrize("other", ["thread", "process"])
def test_another_that_writes_for_too_long_makes_sqlite_unavailable(tmp_path, monkeypatch, other):
    monkeypatch.setattr(module, "WAIT_S", 0.2)
    url = address_of(f"sqlite:///{tmp_path / 'a.db'}")
    one = Database(url)
    two = one if other == "thread" else Database(url)
    with one.writing() as connection:
        connection.execute(sa.text("CREATE TABLE a (a INTEGER)"))
        with pytest.raises(Unavailable, match="other threads|locked"), two.writing():
            pass
    with two.writing() as connection:
        connection.execute(sa.text("INSERT INTO a VALUES (1)"))
    one.close()
    two.close()


def test_another_that_holds_an_experiment_for_too_long_makes_postgresql_unavailable(postgres, monkeypatch):
    monkeypatch.setattr(module, "SESSION", module.SESSION.replace("'10s'", "'100ms'"))
    store = Store(postgres.database())
    store.create(EXPERIMENT)
    with store._database.writing() as connection:
        connection.execute(sa.text("SELECT * FROM experiments FOR UPDATE"))
        with pytest.raises(Unavailable, match="lock timeout"):
            store.assign(EXPERIMENT, "u", at_s=0.0)
    assert store.assign(EXPERIMENT, "u", at_s=2_000.0).enrolled
    store.close()


def test_faults_of_the_program_are_not_taken_for_an_absent_database(url):
    database = Database(address_of(url))
    with database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE kept (a INTEGER NOT NULL)"))
    with pytest.raises(sa.exc.IntegrityError), database.writing() as connection:
        connection.execute(sa.text("INSERT INTO kept VALUES (NULL)"))
    database.close()


def test_sqlite_says_why_it_cannot_be_opened(tmp_path):
    (tmp_path / "text.db").write_text("no database " * 1000)
    for name, what in (("none/a.db", "unable to open"), ("text.db", "not a database"), ("", "unable to open")):
        with pytest.raises(InputError, match=what) as caught:
            Store(f"sqlite:///{tmp_path / name}")
        assert "folder" in caught.value.remedy and str(tmp_path) in caught.value.where


@pytest.mark.parametrize(
    ("url", "what"),
    [
        (f"postgresql://{USER}:wrong-secret@127.0.0.1:PORT/postgres", "password authentication failed"),
        ("postgresql://nobody:wrong-secret@127.0.0.1:PORT/postgres", "password authentication failed"),
        (f"postgresql://{USER}@127.0.0.1:PORT/postgres", "no password supplied"),
        (f"postgresql://{USER}:{PASSWORD}@127.0.0.1:PORT/wrong", "does not exist"),
        (f"postgresql://{USER}:{PASSWORD}@127.0.0.1:1/postgres", "refused"),
        (f"postgresql://{USER}:{PASSWORD}@127.0.0.1:PORT/postgres?sslmode=require", "SSL"),
        (f"postgresql://{USER}:{PASSWORD}@127.0.0.1:PORT/postgres?sslmode=wrong-secret", "sslmode"),
    ],
)
def test_postgresql_says_why_it_cannot_be_opened_and_shows_no_password(postgres, monkeypatch, url, what):
    monkeypatch.setenv("PGPASSFILE", "/dev/null")
    with pytest.raises(InputError, match=what) as caught:
        Store(url.replace("PORT", str(postgres.port)))
    error = caught.value
    while error is not None:
        assert PASSWORD not in str(error) and "wrong-secret@" not in str(error)
        error = error.__cause__
    assert "PGPASSWORD" in caught.value.remedy


def test_a_password_works_and_who_may_make_no_tables_is_told(postgres):
    url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{postgres.port}/{USER}"
    with postgres.connection() as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    schema = postgres.database().partition("options=")[2]
    Store(f"{url}?options={schema}").close()
    with pytest.raises(InputError, match="permission denied|no schema") as caught:
        Store(f"postgresql://reader:reader@127.0.0.1:{postgres.port}/{USER}")
    assert "GRANT CREATE" in caught.value.remedy


def test_an_installation_without_the_driver_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match="driver of the database is not installed") as caught:
        Store("postgresql://me@host/name")
    assert "[experiments]" in caught.value.remedy


def test_a_server_that_went_away_is_unavailable_until_it_is_back():
    server = Postgres()
    try:
        store = Store(server.database())
        store.create(EXPERIMENT)
        store.assign(EXPERIMENT, "AAPL 1", at_s=2_000.0)
        kept = store.record(EXPERIMENT, outcome("1"), at_s=0.0)
        server.kill()
        for ask in (
            lambda: store.record(EXPERIMENT, outcome("2"), at_s=0.0),
            lambda: store.assign(EXPERIMENT, "new", at_s=0.0),
            lambda: store.kept(EXPERIMENT),
            store.experiments,
        ):
            with pytest.raises(Unavailable, match="postgresql"):
                ask()
        server.start()
        assert store.recorded(EXPERIMENT, "AAPL 1", "1", "sha256:1").nats == kept.nats
        assert store.record(EXPERIMENT, outcome("2"), at_s=0.0).first == 4
        store.close()
    finally:
        server.remove()


def test_connections_that_the_server_ended_are_replaced(postgres):
    store = Store(postgres.database())
    store.create(EXPERIMENT)
    with postgres.connection() as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lob_jax'"
        ).fetchall()
    assert ended and store.experiments() == (EXPERIMENT,)
    store.close()


def test_a_server_that_lasts_while_a_transaction_is_at_work_ends_it(postgres):
    store = Store(postgres.database())
    store.create(EXPERIMENT)
    with pytest.raises(Unavailable), store._database.writing() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        with postgres.connection() as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        connection.execute(sa.text("SELECT 1"))
    assert store.experiments() == (EXPERIMENT,)
    store.close()


OPEN = "import sys; from lob_jax.serving.experiments.store.store import Store; Store(sys.argv[1]).close()"


def test_processes_and_threads_that_open_a_new_database_at_once_make_it_once(url):
    found = []

    def open_and_close():
        with contextlib.closing(Store(url)) as store:
            found.append(store.experiments())

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    processes = [subprocess.Popen([sys.executable, "-c", OPEN, url], stderr=subprocess.PIPE) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    assert found == [()] * 4 and [process.returncode for process in processes] == [0] * 3


def test_a_file_in_use_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.1)
    other = sqlite3.connect(tmp_path / "a.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match="locked"):
        Store(f"sqlite:///{tmp_path / 'a.db'}")
    other.close()
