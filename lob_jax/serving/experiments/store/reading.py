"""What is read of the database inside a transaction."""

from typing import Any

import numpy as np
import sqlalchemy as sa

from lob_jax.serving.config import NAME
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Decision, Kept, Requests
from lob_jax.serving.experiments.store import rows
from lob_jax.serving.experiments.store.errors import missing
from lob_jax.serving.experiments.store.schema import BLOCKS, DECISIONS, EXPERIMENTS, REQUESTS, UNITS


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


def everything_kept(connection: sa.Connection, experiment: Experiment) -> Kept:
    """Return all that statistics need of an experiment, in the order in which it was kept."""
    name = experiment.name
    of_units = sa.select(UNITS).where(UNITS.c.experiment == name, UNITS.c.enrolled).order_by(UNITS.c.id)
    of_blocks = sa.select(BLOCKS.c.unit_id, BLOCKS.c.nats, BLOCKS.c.brier).where(BLOCKS.c.experiment == name)
    sums = sa.select(REQUESTS).where(REQUESTS.c.experiment == name)
    units = connection.execute(of_units).all()
    blocks = connection.execute(of_blocks.order_by(BLOCKS.c.id)).all()
    requests = {row.arm: rows.to_requests(row) for row in connection.execute(sums)}
    places = {row.id: place for place, row in enumerate(units)}
    return Kept(
        units=tuple(rows.to_assignment(row) for row in units),
        unit_B=np.array([places[row.unit_id] for row in blocks], dtype=np.int64),
        nats_BA=_stacked(experiment, [row.nats for row in blocks]),
        brier_BA=_stacked(experiment, [row.brier for row in blocks]),
        requests={arm.name: requests.get(arm.name, Requests()) for arm in experiment.arms},
    )


def _stacked(experiment: Experiment, stored: list[bytes]) -> np.ndarray:
    """Return stored rows of all arms as float64 [B, A]."""
    return np.frombuffer(b"".join(stored), dtype=rows.STORED).astype(np.float64).reshape(-1, len(experiment.arms))
