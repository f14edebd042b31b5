"""Outcomes in the database: each one is kept once, and completes blocks."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa

from lob_jax.errors import InputError
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Outcome
from lob_jax.serving.experiments.store.blocks import block_rows, completed, joined
from lob_jax.serving.experiments.store.errors import Conflict
from lob_jax.serving.experiments.store.rows import by_arm, outcome_row
from lob_jax.serving.experiments.store.schema import BLOCKS, OUTCOMES, UNITS


def kept_outcome(connection: sa.Connection, unit_id: int, *, outcome: str, digest: str) -> Mapping[str, Any] | None:
    """Return the row of an outcome, None if it is not kept.

    Raises:
      Conflict: an outcome of this name is kept, and it is another.
    """
    wanted = ("outcome", "digest", "first", "events", "arms", "mean_nats", "mean_brier")
    columns = [OUTCOMES.c[name] for name in wanted]
    query = sa.select(*columns).where(OUTCOMES.c.unit_id == unit_id, OUTCOMES.c.outcome == outcome)
    row = connection.execute(query).mappings().one_or_none()
    if row is not None and row["digest"] != digest:
        raise Conflict(
            "another outcome of this name is kept already",
            where=f"outcome {outcome!r}",
            expected="the same content when an outcome is sent again",
            was="other content",
            remedy="give each outcome of a unit a name of its own",
        )
    return row


def keep_outcome(
    connection: sa.Connection, experiment: Experiment, unit: sa.Row[Any], outcome: Outcome, *, at_s: float
) -> Mapping[str, Any]:
    """Keep an outcome that follows what is kept of its unit, and the blocks that it completes; return its row.

    Those of units that do not take part are kept, so that they are acknowledged once and alike; they complete no block.

    Args:
      connection: a transaction that holds the experiment.
      experiment: the experiment.
      unit: the row of the unit.
      outcome: the outcome.
      at_s: when it came, UNIX seconds.

    Raises:
      InputError: the scores are not those of the arms that the unit needs.
    """
    arms = _arms_of(experiment, unit, outcome)
    row: dict[str, Any] = {**outcome_row(outcome, arms), "unit_id": unit.id, "first": unit.events, "at_s": at_s}
    connection.execute(sa.insert(OUTCOMES).values(row))
    kept = unit.events + row["events"]
    connection.execute(sa.update(UNITS).where(UNITS.c.id == unit.id).values(events=kept))
    numbers = completed(experiment, kept=unit.events, events=row["events"]) if unit.enrolled else ()
    if numbers:
        keep_blocks(connection, experiment, unit.id, numbers=numbers)
    return row


def keep_blocks(connection: sa.Connection, experiment: Experiment, unit_id: int, *, numbers: range) -> None:
    """Keep consecutive blocks of a unit, whose events are all kept, of the outcomes that have them."""
    begin, events = numbers.start * experiment.block, len(numbers) * experiment.block
    own = OUTCOMES.c.unit_id == unit_id
    earliest = sa.select(sa.func.max(OUTCOMES.c.first)).where(own, OUTCOMES.c.first <= begin).scalar_subquery()
    columns = (OUTCOMES.c.first, OUTCOMES.c.arms, OUTCOMES.c.nats, OUTCOMES.c.brier)
    query = sa.select(*columns).where(own, OUTCOMES.c.first >= earliest).order_by(OUTCOMES.c.first)
    kept = connection.execute(query).all()
    scores = ([by_arm(row[column], json.loads(row.arms)) for row in kept] for column in (2, 3))
    skip = begin - kept[0].first
    rows = block_rows(experiment, *(joined(parts, skip=skip, events=events) for parts in scores))
    of_unit = {"experiment": experiment.name, "unit_id": unit_id}
    new = [{**of_unit, "number": number, **row} for number, row in zip(numbers, rows, strict=True)]
    connection.execute(sa.insert(BLOCKS), new)


def _arms_of(experiment: Experiment, unit: sa.Row[Any], outcome: Outcome) -> list[str]:
    """Return the arms that scored an outcome, in the order of the experiment.

    In the paired design challengers may be missing, which were taken out.

    Raises:
      InputError: they are not those that the unit needs, or their scores are not as many finite numbers each.
    """
    where = f"outcome {outcome.outcome!r}"
    all_arms = [arm.name for arm in experiment.arms]
    paired, given = experiment.design == "paired", set(outcome.nats)
    needed = all_arms if paired else [unit.arm]
    right = bool(given) and given <= set(all_arms)
    if unit.enrolled:
        right = right and (all_arms[0] in given if paired else given == set(needed))
    alike = given == set(outcome.brier) == set(outcome.seconds)
    if not (right and alike):
        raise InputError(
            "the scores of an outcome are not those of the arms of its unit",
            where=where,
            expected=", ".join(needed),
            was=", ".join(sorted(given)) if alike else "log-likelihoods, Brier scores and times of different arms",
            remedy="score the events with the arms that the unit needs",
        )
    _check_scores(outcome, where)
    return [name for name in all_arms if name in given]


def _check_scores(outcome: Outcome, where: str) -> None:
    nats, brier = ([np.asarray(one) for one in part.values()] for part in (outcome.nats, outcome.brier))
    shapes = {one.shape for one in (*nats, *brier)}
    counted = len(shapes) == 1 and len(min(shapes)) == 1 and min(shapes) > (0,)
    # An event that an arm holds for impossible has a log-likelihood of -inf.
    numbers = all((one < np.inf).all() for one in nats) and all(np.isfinite(one).all() for one in brier)
    if not (counted and numbers):
        raise InputError(
            "the scores of an outcome are invalid",
            where=where,
            expected="as many numbers from each arm, at least one",
            was="some that are no numbers" if counted else f"arrays of {', '.join(map(str, sorted(shapes)))}",
            remedy="score the same events with all arms",
        )
