"""The database of experiments."""

import dataclasses
import threading
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lob_jax.errors import differing
from lob_jax.serving.experiments.assignment import assigned
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Assignment, Decision, Kept, Outcome, Recorded, Requests, Standing
from lob_jax.serving.experiments.store import rows
from lob_jax.serving.experiments.store.address import address_of
from lob_jax.serving.experiments.store.database import Database
from lob_jax.serving.experiments.store.errors import Conflict, Missing
from lob_jax.serving.experiments.store.growing import Growing
from lob_jax.serving.experiments.store.migrations import prepare
from lob_jax.serving.experiments.store.outcomes import keep_outcome, kept_outcome
from lob_jax.serving.experiments.store.reading import (
    hold,
    kept_decisions,
    kept_experiment,
    kept_unit,
    of_unit,
)
from lob_jax.serving.experiments.store.schema import DECISIONS, EXPERIMENTS, REQUESTS, UNITS
from lob_jax.serving.experiments.store.standing import after, check_decision, standing_of
from lob_jax.serving.experiments.store.texts import check_name, check_text


class Store:
    """The database of experiments; all methods are safe from any thread and process.

    What writes to an experiment holds its row, so that the order of units and of blocks is that in which they were
    kept, and no event is counted twice. All methods raise `Unavailable` if the database does not answer: then the same
    may be asked again.
    """

    def __init__(self, url: str):
        """Open a database, and make its tables or bring them up to this version.

        Args:
          url: "sqlite:///FILE" or "postgresql://USER@HOST/NAME".

        Raises:
          InputError: the address is invalid, its driver is not installed, the database cannot be opened, or its tables
            are those of a newer version or of something else.
        """
        self._database = Database(address_of(url))
        try:
            prepare(self._database)
        except BaseException:
            self._database.close()
            raise
        self._growing: dict[str, Growing] = {}  # by experiment
        self._growing_lock = threading.Lock()
        self._insert = sqlite.insert if self._database.is_sqlite else postgresql.insert

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def create(self, experiment: Experiment) -> None:
        """Keep a new experiment; the same one again changes nothing.

        Raises:
          Conflict: there is another one of this name.
        """
        with self._database.writing() as connection:
            row = rows.experiment_row(experiment)
            connection.execute(self._insert(EXPERIMENTS).values(row).on_conflict_do_nothing())
            kept = kept_experiment(connection, experiment.name)
        if kept != experiment:
            there, asked = differing(kept.to_json(), experiment.to_json())
            raise Conflict(
                "there is another experiment of this name",
                where=f"experiment {experiment.name}",
                expected=f"the same again:\n{there}",
                was=asked,
                remedy="give it another name: an experiment does not change once it has begun",
            )

    def experiments(self) -> tuple[Experiment, ...]:
        """Return all experiments by the time at which they were created."""
        query = sa.select(EXPERIMENTS.c.experiment).order_by(EXPERIMENTS.c.created_s, EXPERIMENTS.c.name)
        with self._database.reading() as connection:
            return tuple(rows.to_experiment(text) for text in connection.scalars(query))

    def experiment(self, name: str) -> Experiment:
        """Return an experiment.

        Raises:
          Missing: there is none such.
        """
        with self._database.reading() as connection:
            return kept_experiment(connection, name)

    def standing(self, name: str) -> Standing:
        """Return how an experiment stands.

        Raises:
          Missing: there is none such.
        """
        with self._database.reading() as connection:
            return standing_of(kept_experiment(connection, name), kept_decisions(connection, name))

    def assign(self, experiment: Experiment, unit: str, *, at_s: float) -> Assignment:
        """Return the arm of a unit, for ever the one that it got first.

        Raises:
          InputError: the unit's name is too long or no text that can be kept.
          Missing: the experiment is not kept.
        """
        check_name("unit", unit)
        with self._database.reading() as connection:
            row = kept_unit(connection, experiment.name, unit)
        if row is not None:
            return rows.to_assignment(row)
        new = assigned(experiment, unit, at_s=at_s)
        values = {"experiment": experiment.name, **dataclasses.asdict(new), "at_s": at_s, "events": 0}
        with self._database.writing() as connection:
            hold(connection, experiment.name)
            connection.execute(self._insert(UNITS).values(values).on_conflict_do_nothing())
            return rows.to_assignment(connection.execute(of_unit(experiment.name, unit)).one())

    def recorded(self, experiment: Experiment, unit: str, outcome: str, digest: str) -> Recorded | None:
        """Return an outcome that is kept, None if it is not.

        Raises:
          InputError: a name is too long or no text that can be kept.
          Conflict: an outcome of this name is kept, and it is another.
        """
        _check_names(unit=unit, outcome=outcome, digest=digest)
        with self._database.reading() as connection:
            row = kept_unit(connection, experiment.name, unit)
            found = None if row is None else kept_outcome(connection, row.id, outcome=outcome, digest=digest)
        return None if found is None else rows.to_recorded(found, unit, before=True)

    def record(self, experiment: Experiment, outcome: Outcome, *, at_s: float) -> Recorded:
        """Keep an outcome of a unit once; it lasts when this returns.

        Raises:
          InputError: a name is too long or no text that can be kept, or the scores are not those of the unit's arms.
          Conflict: an outcome of this name is kept, and it is another.
          Missing: the experiment is not kept, or the unit has no arm yet.
        """
        _check_names(unit=outcome.unit, outcome=outcome.outcome, digest=outcome.digest)
        with self._database.writing() as connection:
            hold(connection, experiment.name)
            unit = kept_unit(connection, experiment.name, outcome.unit)
            if unit is None:
                raise _unassigned(experiment, outcome.unit)
            row = kept_outcome(connection, unit.id, outcome=outcome.outcome, digest=outcome.digest)
            before = row is not None
            if row is None:
                row = keep_outcome(connection, experiment, unit, outcome, at_s=at_s)
        return rows.to_recorded(row, outcome.unit, before=before)

    def count(self, name: str, requests: Mapping[str, Requests]) -> None:
        """Add what arms have done with requests; twice, if the connection broke at the end and it is called again.

        Raises:
          InputError: an arm is not one of the experiment.
          Missing: there is no such experiment.
        """
        with self._database.writing() as connection:
            experiment = kept_experiment(connection, name)
            for arm in sorted(requests):  # in the same order everywhere, so that no two wait for each other
                experiment.arm(arm)
                counted = dataclasses.asdict(requests[arm])
                new = self._insert(REQUESTS).values(experiment=name, arm=arm, **counted)
                sums = {key: REQUESTS.c[key] + new.excluded[key] for key in counted}
                connection.execute(new.on_conflict_do_update(index_elements=["experiment", "arm"], set_=sums))

    def kept(self, experiment: Experiment) -> Kept:
        """Return all that statistics need, in the order in which it was kept; its arrays cannot be written.

        Raises:
          Missing: the experiment is not kept.
        """
        with self._growing_lock:
            growing = self._growing.setdefault(experiment.name, Growing(experiment))
        return growing.read(self._database)

    def decide(self, name: str, decision: Decision) -> Standing:
        """Keep a decision about an experiment, and return how it stands then.

        The circuit breaker of an arm may be opened by several servers at once: only the first one's decision is kept.

        Raises:
          InputError: the decision is invalid.
          Conflict: the experiment does not allow it as it stands.
          Missing: there is no such experiment.
        """
        for key in ("by", "because"):
            check_text(key, getattr(decision, key))
        with self._database.writing() as connection:
            hold(connection, name)
            experiment = kept_experiment(connection, name)
            standing = standing_of(experiment, kept_decisions(connection, name))
            check_decision(experiment, standing, decision)
            if decision.decision == "trip" and decision.arm in standing.tripped:
                return standing
            row = {"experiment": name, **rows.decision_row(decision)}
            connection.execute(sa.insert(DECISIONS).values(row))
        return after(standing, decision)

    def decisions(self, name: str) -> tuple[Decision, ...]:
        """Return the decisions about an experiment, in their order.

        Raises:
          Missing: there is no such experiment.
        """
        with self._database.reading() as connection:
            kept_experiment(connection, name)
            return kept_decisions(connection, name)


def _check_names(**names: str) -> None:
    for key, name in names.items():
        check_name(key, name)


def _unassigned(experiment: Experiment, unit: str) -> Missing:
    return Missing(
        "the unit has no arm yet",
        where=f"experiment {experiment.name}",
        expected="a unit that was assigned before its outcomes came",
        was=unit,
        remedy="open a session for the unit, or ask for its arm, before sending outcomes",
    )
