"""The baseline generators by name, and their continuations of real sequences."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.generators.live_book import Continue, start_books
from lob_jax.evaluation.fidelity.generators.poisson import cont_stoikov_talreja
from lob_jax.evaluation.fidelity.generators.resampled import block_bootstrap, copied_windows, zero_order
from lob_jax.statistics.flow import Flow, flow_of_paths

COPIED = "copied_windows"
FITTED: Mapping[str, Callable[[Flow], Continue]] = {
    "block_bootstrap": block_bootstrap,
    "zero_order": zero_order,
    "cont_stoikov_talreja": cont_stoikov_talreja,
}
NAMES = (COPIED, *FITTED)


def baseline_flows(
    names: Iterable[str],
    training: Flow,
    real: Flow,
    *,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Flow]:
    """Return flows of baseline generators, one sequence for each real one and as long as it.

    Each generator is fitted on training flow alone and continues the real sequence's first book; copied windows are
    training sequences as they are.

    Args:
      names: of `NAMES`.
      training: real flow from before `real`.
      real: the sequences whose first books are continued.
      seed: of the draws.
      on_progress: called with a generator's name, the sequences generated so far, and their number.

    Raises:
      InputError: there is no such generator, or the training flow is too short.
    """
    return {
        name: _flow(name, training, real, np.random.default_rng([seed, NAMES.index(name)]), on_progress)
        for name in _known(names)
    }


def _known(names: Iterable[str]) -> list[str]:
    names = list(names)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InputError(
            "no such baseline generator",
            where="config.score.baselines",
            expected=" | ".join(NAMES),
            was=unknown[0],
            remedy="choose of these",
        )
    return names


def _flow(
    name: str,
    training: Flow,
    real: Flow,
    rng: np.random.Generator,
    on_progress: Callable[[str, int, int], None] | None,
) -> Flow:
    if name == COPIED:
        return copied_windows(training, sequences=len(real), rng=rng)
    going_on, lengths, days = FITTED[name](training), np.diff(real.edges), []
    for start, events in zip(start_books(real), lengths[lengths > 0].tolist(), strict=True):
        days.append(going_on(start, events, rng))
        if on_progress is not None:
            on_progress(name, len(days), len(real))
    return flow_of_paths(days, levels=real.levels)
