"""Bring the tables of a database up to this version, one version at a time.

A step and its version number are one transaction, so that one that is killed has changed nothing. Processes that open
a database at once take turns, and look at the version again when it is theirs.

The tables of a step are those of its version, and stay as they are when `schema.py` changes.
"""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import exc

from lob_jax.errors import InputError
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.store import schema
from lob_jax.serving.experiments.store.address import shown
from lob_jax.serving.experiments.store.blocks import completed
from lob_jax.serving.experiments.store.database import Database, reason
from lob_jax.serving.experiments.store.errors import Unavailable
from lob_jax.serving.experiments.store.outcomes import keep_blocks
from lob_jax.serving.experiments.store.rows import to_experiment

LOCK = 0x6C6F625F6A6178  # "lob_jax" in ASCII: the advisory lock of those that change tables in PostgreSQL


def prepare(database: Database) -> None:
    """Make the tables of a database, or bring them up to this version.

    Raises:
      InputError: the database cannot be opened, or its tables are those of a newer version or of something else.
    """
    try:
        while _version(database) < schema.VERSION:
            with database.writing() as connection:
                _take_turn(connection)
                _step(connection, database)
    except (exc.DBAPIError, Unavailable) as error:
        cause = error.__cause__ if isinstance(error, Unavailable) else error
        was = reason(cause, database.url) if isinstance(cause, exc.SQLAlchemyError) else error
        raise InputError(
            "the database of experiments cannot be opened",
            where=shown(database.url),
            expected="a database that answers, in which tables may be made",
            was=was,
            remedy=_remedy(database),
        ) from error


def _version(database: Database) -> int:
    with database.reading() as connection:
        return _checked_version(connection, database)


def _checked_version(connection: sa.Connection, database: Database) -> int:
    """Return the version of the tables, 0 if there are none.

    Raises:
      InputError: they are those of a newer version or of something else.
    """
    there = set(sa.inspect(connection).get_table_names())
    if schema.SCHEMA_VERSION.name in there:
        version = connection.scalar(sa.select(schema.SCHEMA_VERSION.c.version))
        if version is not None and 1 <= version <= schema.VERSION:
            return version
        raise _refused(
            database,
            what="the database of experiments was written by a newer version of lob_jax",
            expected=f"tables of version 1 to {schema.VERSION}",
            was=f"tables of version {version}",
            remedy="update lob_jax",
        )
    foreign = sorted(there & set(schema.METADATA.tables))
    if foreign:
        raise _refused(
            database,
            what="the database holds tables of something else",
            expected="a database of experiments, or one without tables of their names",
            was=", ".join(foreign),
            remedy="use a database of its own for experiments",
        )
    return 0


def _take_turn(connection: sa.Connection) -> None:
    """Wait until no other process changes tables; SQLite's transactions that write take turns by themselves."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL lock_timeout = 0"))  # a step takes as long as it takes
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK})"))


def _step(connection: sa.Connection, database: Database) -> None:
    """Go one version on, unless another process has done so meanwhile; from no tables at once to this version."""
    version = _checked_version(connection, database)
    if version == schema.VERSION:
        return
    if version == 0:
        schema.METADATA.create_all(connection, checkfirst=False)
        connection.execute(sa.insert(schema.SCHEMA_VERSION).values(version=schema.VERSION))
        return
    STEPS[version](connection)
    connection.execute(sa.update(schema.SCHEMA_VERSION).values(version=version + 1))


def _from_1_to_2(connection: sa.Connection) -> None:
    """Keep complete blocks, sums of requests, and how long arms took to score.

    Version 1 had no blocks: they were computed from all outcomes whenever statistics were asked for.
    """
    metadata = sa.MetaData()
    for name in ("experiments", "units", "outcomes"):
        sa.Table(name, metadata, autoload_with=connection)
    metadata.create_all(connection, tables=_tables_new_in_2(metadata), checkfirst=False)
    binary = sa.LargeBinary().compile(dialect=connection.dialect)
    connection.execute(sa.text(f"ALTER TABLE outcomes ADD COLUMN seconds {binary}"))
    for text in connection.scalars(sa.select(metadata.tables["experiments"].c.experiment)).all():
        _fill_blocks(connection, metadata, to_experiment(text))


def _tables_new_in_2(metadata: sa.MetaData) -> list[sa.Table]:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    blocks = sa.Table(
        "blocks",
        metadata,
        sa.Column("id", number, primary_key=True),
        sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.name"), nullable=False),
        sa.Column("unit_id", number, sa.ForeignKey("units.id"), nullable=False),
        sa.Column("number", number, nullable=False),
        sa.Column("nats", sa.LargeBinary, nullable=False),
        sa.Column("brier", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("unit_id", "number", name="blocks_once"),
        sa.Index("blocks_in_order", "experiment", "id"),
    )
    requests = sa.Table(
        "requests",
        metadata,
        sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.name"), primary_key=True),
        sa.Column("arm", sa.Text, primary_key=True),
        *(sa.Column(name, number, nullable=False) for name in ("answered", "slow", "failed", "refused")),
        sa.Column("seconds", sa.Double, nullable=False),
    )
    return [blocks, requests]


def _fill_blocks(connection: sa.Connection, metadata: sa.MetaData, experiment: Experiment) -> None:
    """Keep the blocks of an experiment as if its outcomes came once more, in their order.

    `keep_blocks` reads and writes columns that have not changed since; a version that changes them needs a copy here.
    """
    units, outcomes = metadata.tables["units"], metadata.tables["outcomes"]
    query = (
        sa.select(outcomes.c.unit_id, outcomes.c.first, outcomes.c.events)
        .join_from(outcomes, units, outcomes.c.unit_id == units.c.id)
        .where(units.c.experiment == experiment.name, units.c.enrolled == sa.true())
        .order_by(outcomes.c.id)
    )
    for row in connection.execute(query).all():
        numbers = completed(experiment, kept=row.first, events=row.events)
        if numbers:
            keep_blocks(connection, experiment, row.unit_id, numbers=numbers)


STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _from_1_to_2}  # from each version to the next


def _refused(database: Database, *, what: str, expected: str, was: str, remedy: str) -> InputError:
    return InputError(what, where=shown(database.url), expected=expected, was=was, remedy=remedy)


def _remedy(database: Database) -> str:
    if database.is_sqlite:
        return "check that the folder of the file exists, that both can be written, and that it is a file of SQLite"
    return (
        "check that the server runs and the address is right, that the database exists (createdb NAME), the password"
        " (PGPASSWORD or ~/.pgpass), and that the user may create tables (GRANT CREATE ON SCHEMA public TO USER)"
    )
