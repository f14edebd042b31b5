"""Scores of realised events under several arms at once, each on its own engine, on the same context."""

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lob_jax.errors import InputError
from lob_jax.serving.experiments.experiment import Arm
from lob_jax.serving.experiments.running import Experiments
from lob_jax.serving.http.problems import Problem, problem_of
from lob_jax.serving.http.service import Service, log
from lob_jax.serving.http.translate import Asked
from lob_jax.serving.http.trials.database import unavailable
from lob_jax.serving.requests import Cancelled, Leaving, Refusal, Score, Scored

if TYPE_CHECKING:
    from lob_jax.serving.http.trials.sessions import Followed

FLOOR_NATS = -100.0  # of an event that a model says has no probability, or less than this
WORST_BRIER = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Scores by arm.

    Attributes:
      nats: float64 [N], never below `FLOOR_NATS`.
      brier: float64 [N], 0 to 2.
      seconds: how long each arm took.
    """

    nats: Mapping[str, np.ndarray]
    brier: Mapping[str, np.ndarray]
    seconds: Mapping[str, float]


async def scores(
    service: Service, experiments: Experiments, followed: "Followed", arms: Sequence[Arm], asked: Asked
) -> Scores:
    """Return the scores of events under all arms, or of none.

    What an arm does counts for its guards: a refusal, a failure, and events that it cannot say although the arm that
    answers can.

    Args:
      service: the engines.
      experiments: what counts requests.
      followed: the session.
      arms: the arms; that which answers the session is among them.
      asked: the request for scores.

    Raises:
      InputError: the events contradict the book.
      Problem: an arm is busy or late, or has failed: nothing is counted, and the request may be sent again.
    """
    found = await asyncio.gather(*(_scored(service, arm, asked) for arm in arms))
    by_arm = {arm.name: one for arm, one in zip(arms, found, strict=True)}
    own, _ = by_arm[followed.arm]
    if isinstance(own, InputError) and hasattr(own, "event"):
        raise own
    for name, (result, seconds) in by_arm.items():
        if isinstance(result, Leaving | Cancelled):
            raise problem_of(result)
        how = {"failed": not isinstance(result, Refusal | Scored), "refused": isinstance(result, Refusal)}
        experiments.note(followed.experiment.name, name, seconds=seconds, **how)
    for name, (result, _) in by_arm.items():
        if isinstance(result, Exception):
            raise _unavailable(name, result)
    scored = {name: (result, seconds) for name, (result, seconds) in by_arm.items() if isinstance(result, Scored)}
    return Scores(
        nats={name: _nats(result) for name, (result, _) in scored.items()},
        brier={name: _brier(result) for name, (result, _) in scored.items()},
        seconds={name: seconds for name, (_, seconds) in scored.items()},
    )


async def _scored(service: Service, arm: Arm, asked: Asked) -> tuple[Scored | Exception, float]:
    """Return what an arm says of events, or why it says nothing, and after how many seconds."""
    began = time.monotonic()
    try:
        result: Scored | Exception = (await service.last(arm.model, asked)).result
        assert isinstance(result, Scored) and isinstance(asked.request, Score)
        events = len(asked.request.history.events) - asked.request.first
        if not len(result.nats) == len(result.brier) == events:
            result = ValueError(f"{len(result.nats)} scores and {len(result.brier)} Brier scores of {events} events")
    except Exception as error:
        result = error
    return result, time.monotonic() - began


def _unavailable(arm: str, error: Exception) -> Problem:
    if not isinstance(error, Refusal):
        log.error("arm %s has failed to score", arm, exc_info=error)
    what = "has no room" if isinstance(error, Refusal) else "has failed"
    return unavailable(f"an arm of the experiment {what}")


def _nats(scored: Scored) -> np.ndarray:
    nats = np.asarray(scored.nats, np.float64)
    return np.where(np.isfinite(nats), np.maximum(nats, FLOOR_NATS), FLOOR_NATS)


def _brier(scored: Scored) -> np.ndarray:
    brier = np.asarray(scored.brier, np.float64)
    return np.where(np.isfinite(brier), np.clip(brier, 0.0, WORST_BRIER), WORST_BRIER)
