"""Score the paths of many prompts as forecasts of the mid price."""

from typing import Any

import numpy as np

from lob_jax.book.replay import replay, snapshots_at
from lob_jax.data.records.records import RecordSource
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.forecasts import Outcomes, score_forecasts
from lob_jax.evaluation.paths.moves import Horizons, moves_in, moves_of, reached
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.runs.continuations.generate import Continuations
from lob_jax.runs.continuations.prompts import Continued

MOMENTS = {
    "events": (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000),
    "seconds": (1, 2, 5, 10, 20, 60, 120, 300, 600),
}
FEWEST_PROMPTS, FEWEST_PATHS = 3, 2
SHARE = 0.9  # of the prompts that must reach a horizon, with all their paths


def forecast_moves(paths: Continuations, train: RecordSource, *, seed: int = 0) -> dict[str, Any]:
    """Score paths as forecasts of the mid price, against random walks and the moves of the training split.

    Horizons in events are those within the paths; horizons in seconds those that nearly all sequences reach.

    Args:
      paths: the paths of at least three prompts, at least two of each.
      train: the records of the training split; only those of the same instrument are read.
      seed: seed of the benchmarks' draws, the PIT and the bootstrap.

    Returns:
      By "events" and "seconds", what `score_forecasts` returns; None if hardly any sequence reaches a horizon.

    Raises:
      InputError: there are too few prompts or paths.
    """
    if len(paths.real) < FEWEST_PROMPTS or len(paths.days[0]) < FEWEST_PATHS:
        raise InputError(
            "too few paths to score as forecasts",
            where="config.generate.prompts, config.generate.paths",
            expected=f"at least {FEWEST_PROMPTS} prompts and {FEWEST_PATHS} paths of each",
            was=f"{len(paths.real)} prompts and {len(paths.days[0])} paths of each",
            remedy="generate more",
        )
    return {by: _scored(paths, train, by, seed) for by in MOMENTS}


def _scored(paths: Continuations, train: RecordSource, by: str, seed: int) -> dict[str, Any] | None:
    everything = Horizons(by, MOMENTS[by])
    truth = [_real_moves(one, everything) for one in paths.real]
    generated = [np.stack([moves_of(day, everything) for day in days]) for days in paths.days]
    both = [np.concatenate([one[None], many]) for one, many in zip(truth, generated, strict=True)]
    count = reached(both, share=SHARE)
    if not count:
        return None
    horizons = Horizons(by, everything.moments[:count])
    outcomes = Outcomes(
        horizons,
        truth_NH=np.stack(truth)[:, :count],
        paths_NPH=np.stack(generated)[..., :count],
        volatility_N=np.array([_volatility(one, by) for one in paths.real]),
        history_MH=moves_in(train, horizons, symbol=paths.instrument.symbol),
    )
    return score_forecasts(outcomes, seed=seed)


def _real_moves(one: Continued, horizons: Horizons) -> np.ndarray:
    """Return the moves of the events that really followed a prompt, float64 [H]."""
    (book,) = snapshots_at(one.day, np.array([one.events]))
    return moves_of(one.day.part(one.events, len(one.day.events), start=book), horizons)


def _volatility(one: Continued, by: str) -> float:
    """Return the root mean square move of the mid in a prompt, in ticks per event or per root of a second."""
    states = replay(one.day, levels=1)
    mid = (states.mid2() / 2 / one.day.instrument.tick)[: one.events + 1][states.two_sided()[: one.events + 1]]
    seconds = (one.prompt.clock_ns - one.day.start.time_ns) / NS_PER_SECOND
    over = one.events if by == "events" else max(seconds, 1 / NS_PER_SECOND)
    return float(np.sqrt(np.square(np.diff(mid)).sum() / over))
