"""Databases of earlier versions, of later ones, and of something else; in SQLite and in PostgreSQL."""

import contextlib
import dataclasses
import pathlib
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa

from lob_jax.errors import InputError
from lob_jax.serving.experiments.experiment import RampStep
from lob_jax.serving.experiments.results import Decision, Requests
from lob_jax.serving.experiments.store.address import address_of
from lob_jax.serving.experiments.store.database import Database
from lob_jax.serving.experiments.store.migrations import STEPS
from lob_jax.serving.experiments.store.schema import METADATA, VERSION
from lob_jax.serving.experiments.store.store import Store
from tests.serving.experiments.store.made import EXPERIMENT, SPLIT, outcome, same

HERE = pathlib.Path(__file__).parent
OF_1 = ("experiments", "units", "outcomes", "decisions")  # tables of version 1 with rows
KEEP = Decision(decision="keep", arm="", by="me", because="too early", at_s=7.25, known={})
# Half of the units came before it had begun to enrol any.
RAMPED = dataclasses.replace(SPLIT, name="ramped", design="paired", ramp=(RampStep(1_010.0, 1.0),))


def fill(store, numbers):
    """Record outcomes of all experiments; return what was acknowledged."""
    found = []
    for experiment in (EXPERIMENT, SPLIT, RAMPED):
        store.create(experiment)
        for number in numbers:
            unit = store.assign(experiment, f"{number % 6}", at_s=2_000.5 + 4 * number)
            arms = (unit.arm,) if experiment.design == "split" else tuple(arm.name for arm in experiment.arms)
            sent = outcome(f"{number // 6}", unit=unit.unit, events=1 + number * 7 % 23, arms=arms)
            found.append(store.record(experiment, sent, at_s=float(number)))
    return found


def transaction(url):
    return contextlib.closing(Database(address_of(url)))


@pytest.fixture(scope="module")
def now(new_database):
    """Return a database of this version with content, which tests leave as it is."""
    return filled(new_database())


def filled(url):
    with contextlib.closing(Store(url)) as store:
        fill(store, range(40))
        store.decide("trial", KEEP)
    return url


@pytest.fixture
def url_1(url, now):
    """Return a database of version 1 with the same content."""
    to_version_1(now, url)
    return url


def to_version_1(source, url):
    """Make a database of version 1 with what another of this version holds of it."""
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    statements = (HERE / f"version_1_{kind}.sql").read_text().split(";\n")
    with transaction(source) as old, transaction(url) as new, old.reading() as reading, new.writing() as writing:
        for statement in statements:
            if statement.strip():
                writing.execute(sa.text(statement))
        for name in OF_1:
            columns = [column for column in METADATA.tables[name].c if column.name != "seconds"]
            rows = [dict(row) for row in reading.execute(sa.select(*columns).order_by(columns[0])).mappings()]
            writing.execute(sa.insert(METADATA.tables[name]), rows)
            if kind == "postgresql" and "id" in rows[0]:
                writing.execute(sa.text(f"SELECT setval('{name}_id_seq', {max(row['id'] for row in rows)})"))


def described(url):
    """Return all that a database says of its tables."""
    with transaction(url) as database, database.reading() as connection:
        inspector = sa.inspect(connection)
        found = {}
        for name in sorted(inspector.get_table_names()):
            columns = inspector.get_columns(name)
            found[name] = {
                "columns": {(one["name"], str(one["type"]), one["nullable"]) for one in columns},
                "key": inspector.get_pk_constraint(name)["constrained_columns"],
                "unique": sorted((one["name"], one["column_names"]) for one in inspector.get_unique_constraints(name)),
                "indexes": sorted((one["name"], one["column_names"]) for one in inspector.get_indexes(name)),
                "foreign": sorted(
                    (one["constrained_columns"], one["referred_table"], one["referred_columns"])
                    for one in inspector.get_foreign_keys(name)
                ),
            }
        version = connection.scalar(sa.text("SELECT version FROM schema_version"))
    return version, found


def all_kept(url):
    with contextlib.closing(Store(url)) as store:
        return [store.kept(experiment) for experiment in (EXPERIMENT, SPLIT, RAMPED)]


def assert_same(url, now):
    """Assert that a database that was of version 1 is as one that never was."""
    for one, other in zip(all_kept(url), all_kept(now), strict=True):
        assert len(one.unit_B) >= 5 and same(one, other)
    assert described(url) == described(now)


def test_a_database_of_version_1_becomes_what_one_of_this_version_is(new_database):
    url, now = new_database(), filled(new_database())
    to_version_1(now, url)
    assert described(url)[0] == 1 and "blocks" not in described(url)[1]
    assert_same(url, now)
    assert described(url)[0] == VERSION == 2 and [*STEPS] == [1]
    with contextlib.closing(Store(url)) as one, contextlib.closing(Store(now)) as other:
        assert one.decisions("trial") == (KEEP,)
        assert [len(one.kept(RAMPED).units), one.kept(RAMPED).unit_B.max()] == [3, 2]
        first = one.recorded(EXPERIMENT, "0", "0", "sha256:0")
        assert first is not None and first == other.recorded(EXPERIMENT, "0", "0", "sha256:0")
        assert fill(one, range(20, 60)) == fill(other, range(20, 60))
        for store in (one, other):
            store.count("trial", {"new": Requests(answered=3)})
    assert_same(url, now)


@pytest.mark.slow
def test_processes_that_open_it_at_once_migrate_it_once(url_1, now):
    program = "import sys; from lob_jax.serving.experiments.store.store import Store; Store(sys.argv[1]).close()"
    command = [sys.executable, "-c", program, url_1]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    assert [process.communicate()[1] for process in processes] == [b""] * 4
    assert_same(url_1, now)


KILLED = """
import os, signal, sys
from lob_jax.serving.experiments.store import migrations
from lob_jax.serving.experiments.store.store import Store

left = int(sys.argv[2])
keep_blocks = migrations.keep_blocks

def killed_after_some(*given, **named):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    keep_blocks(*given, **named)

migrations.keep_blocks = killed_after_some
Store(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 30])
def test_one_that_is_killed_in_the_middle_changes_nothing(url_1, now, after):
    before = described(url_1)
    done = subprocess.run([sys.executable, "-c", KILLED, url_1, str(after)])
    assert done.returncode == -signal.SIGKILL
    assert described(url_1) == before and before[0] == 1
    assert_same(url_1, now)


def change_version(url, to):
    Store(url).close()
    with transaction(url) as database, database.writing() as connection:
        connection.execute(sa.text(f"UPDATE schema_version SET version = {to}"))


@pytest.mark.parametrize("version", [VERSION + 1, 0, "NULL + 1"])
def test_a_later_version_is_refused_and_left_alone(url, version):
    if version == "NULL + 1":
        with transaction(url) as database, database.writing() as connection:
            connection.execute(sa.text("CREATE TABLE schema_version (version INTEGER)"))
    else:
        change_version(url, version)
    before = described(url)
    with pytest.raises(InputError, match="newer version") as caught:
        Store(url)
    assert caught.value.remedy == "update lob_jax" and described(url) == before


def test_tables_of_something_else_are_left_alone(url):
    with transaction(url) as database, database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE units (name TEXT)"))
        connection.execute(sa.text("CREATE TABLE other (name TEXT)"))
    with pytest.raises(InputError, match="something else") as caught:
        Store(url)
    assert caught.value.was == "units"
    with transaction(url) as database, database.reading() as connection:
        assert sorted(sa.inspect(connection).get_table_names()) == ["other", "units"]


def test_tables_of_other_names_do_not_matter(url):
    with transaction(url) as database, database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE other (name TEXT)"))
    with contextlib.closing(Store(url)) as store:
        assert store.experiments() == ()
