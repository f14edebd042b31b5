"""All that statistics need of an experiment, of which each look reads only what is new."""

import threading
from typing import Any

import numpy as np
import sqlalchemy as sa

from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Assignment, Kept, Requests
from lob_jax.serving.experiments.store import rows
from lob_jax.serving.experiments.store.database import Database
from lob_jax.serving.experiments.store.reading import kept_experiment
from lob_jax.serving.experiments.store.schema import BLOCKS, DECISIONS, REQUESTS, UNITS


class Growing:
    """What was read of an experiment so far; safe from any thread.

    Units and blocks never change, and those that come later have higher ids: what writes them holds the experiment
    until it is committed. A server that looks every few seconds would otherwise read everything each time.
    """

    def __init__(self, experiment: Experiment):
        """Begin with nothing."""
        self._experiment = experiment
        self._lock = threading.Lock()
        self._units: list[Assignment] = []
        self._places: dict[int, int] = {}  # in the list, by id
        self._last_unit = self._last_block = 0
        self._unit_B = np.zeros(0, dtype=np.int64)
        self._nats_BA = self._brier_BA = np.zeros((0, len(experiment.arms)))

    def read(self, database: Database) -> Kept:
        """Return all that is kept now, in the order in which it was kept; its arrays cannot be written.

        Raises:
          Missing: the experiment is not kept.
        """
        name, unit, block = self._experiment.name, UNITS.c, BLOCKS.c
        with self._lock:
            of_units = sa.select(UNITS).where(unit.experiment == name, unit.enrolled, unit.id > self._last_unit)
            columns = (block.id, block.unit_id, block.nats, block.brier)
            of_blocks = sa.select(*columns).where(block.experiment == name, block.id > self._last_block)
            of_trips = sa.select(DECISIONS.c.arm).where(DECISIONS.c.experiment == name, DECISIONS.c.decision == "trip")
            with database.reading() as connection:
                kept_experiment(connection, name)
                new_units = connection.execute(of_units.order_by(unit.id)).all()
                new_blocks = connection.execute(of_blocks.order_by(block.id)).all()
                tripped = frozenset(connection.scalars(of_trips))
                sums = connection.execute(sa.select(REQUESTS).where(REQUESTS.c.experiment == name)).all()
            self._add(new_units, new_blocks)
            requests = {row.arm: rows.to_requests(row) for row in sums}
            return Kept(
                units=tuple(self._units),
                unit_B=self._unit_B,
                nats_BA=self._nats_BA,
                brier_BA=self._brier_BA,
                requests={arm.name: requests.get(arm.name, Requests()) for arm in self._experiment.arms},
                taken_out=tripped,
            )

    def _add(self, units: Any, blocks: Any) -> None:
        for row in units:
            self._places[row.id] = len(self._units)
            self._units.append(rows.to_assignment(row))
            self._last_unit = row.id
        if blocks:
            places = np.array([self._places[row.unit_id] for row in blocks], dtype=np.int64)
            self._unit_B = _joined(self._unit_B, places)
            self._nats_BA = _joined(self._nats_BA, self._stacked([row.nats for row in blocks]))
            self._brier_BA = _joined(self._brier_BA, self._stacked([row.brier for row in blocks]))
            self._last_block = blocks[-1].id

    def _stacked(self, stored: list[bytes]) -> np.ndarray:
        """Return stored rows of all arms as float64 [B, A]."""
        return rows.unpacked(b"".join(stored), rows=len(stored)).reshape(-1, len(self._experiment.arms))


def _joined(before: np.ndarray, new: np.ndarray) -> np.ndarray:
    whole = np.concatenate([before, new])
    whole.flags.writeable = False  # it is given to whoever asks
    return whole
