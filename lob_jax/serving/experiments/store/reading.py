"""What is read of the database inside a transaction."""

from typing import Any

import sqlalchemy as sa

from lob_jax.serving.config import NAME
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Decision
from lob_jax.serving.experiments.store import rows
from lob_jax.serving.experiments.store.errors import missing
from lob_jax.serving.experiments.store.schema import DECISIONS, EXPERIMENTS, UNITS


def hold(connection: sa.Connection, name: str) -> None:
    """Let no other transaction hold this experiment before the end of this one; SQLite's hold the whole database.

    Raises:
      Missing: there is no such experiment.
    """
    _check(name)
    # Rows that refer to the experiment can be written meanwhile, which FOR UPDATE would hold up.
    query = sa.select(EXPERIMENTS.c.name).where(EXPERIMENTS.c.name == name).with_for_update(key_share=True)
    if connection.scalar(query) is None:
        raise missing(name)


def kept_experiment(connection: sa.Connection, name: str) -> Experiment:
    """Return an experiment; raise Missing if there is none such."""
    _check(name)
    text = connection.scalar(sa.select(EXPERIMENTS.c.experiment).where(EXPERIMENTS.c.name == name))
    if text is None:
        raise missing(name)
    return rows.to_experiment(text)


def _check(name: str) -> None:
    if not NAME.fullmatch(name):  # it may hold what a database does not take
        raise missing(name)


def kept_unit(connection: sa.Connection, name: str, unit: str) -> sa.Row[Any] | None:
    """Return the row of a unit; None if it has no arm yet."""
    return connection.execute(of_unit(name, unit)).one_or_none()


def of_unit(name: str, unit: str) -> sa.Select[Any]:
    """Return the query for the row of a unit."""
    return sa.select(UNITS).where(UNITS.c.experiment == name, UNITS.c.unit == unit)


def kept_decisions(connection: sa.Connection, name: str) -> tuple[Decision, ...]:
    """Return the decisions about an experiment, in their order."""
    query = sa.select(DECISIONS).where(DECISIONS.c.experiment == name).order_by(DECISIONS.c.id)
    return tuple(rows.to_decision(row) for row in connection.execute(query))
