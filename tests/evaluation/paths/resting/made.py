"""Watched orders whose fates are drawn at random, real ones and those on paths alike."""

import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.evaluation.paths.resting.benchmarks import fit_climatology
from lob_jax.evaluation.paths.resting.orders import Resting
from lob_jax.evaluation.paths.resting.outcomes import Known, Watched
from lob_jax.evaluation.paths.resting.scores import Benchmarks

HORIZONS = {"events": (10, 100), "seconds": (5,)}
REACH = 200


def drawn(rng, rate_O, shared_O, paths):
    """Return times to the outcomes of O orders on some paths, float64 [O, P, 4], in events.

    A fill comes at a rate, and so does a cancel; orders of a moment share part of what is random.
    """
    own = rng.exponential(1, (len(rate_O), paths))
    fill = np.ceil(own * shared_O / rate_O[:, None])
    cancel = np.ceil(rng.exponential(120, (len(rate_O), paths)))
    filled, cancelled = (fill <= cancel) & (fill <= REACH), (cancel < fill) & (cancel <= REACH)
    never = np.full(fill.shape, np.inf)
    full = np.where(filled, fill, np.inf)
    return np.stack([full, full, np.where(cancelled, cancel, np.inf), never], axis=2)


def known_of(orders, moment_O, times_O4, moments):
    """Return known orders; a second has two events."""
    reach = {"events": np.full(moments, float(REACH)), "seconds": np.full(moments, REACH / 2)}
    truth = {"events": times_O4, "seconds": times_O4 / 2}
    return Known(orders, moment_O, truth, reach, 7, (BookSnapshot.empty(),) * moments)


def made(seed, *, moments=60, each=30, paths=20, faster=1.0):
    """Return watched orders, and benchmarks fitted to as many others.

    Args:
      seed: of the draws.
      moments: N.
      each: orders of each moment.
      paths: P.
      faster: factor of the rate of fills on paths.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for of, factor in ((1, 1.0), (paths, faster), (1, 1.0)):
        if of == 1:
            distance = rng.choice((0, 0, 3, 9), moments * each)
            moment_O = np.repeat(np.arange(moments), each)
            orders = Resting(np.arange(len(distance)), distance, rng.integers(0, 3, len(distance)) * 50, distance + 1.0)
        shared = rng.gamma(2, 0.5, (moments, of))[moment_O]
        parts.append((orders, drawn(rng, factor * 0.02 / (1 + distance), shared, of)))
    (orders, truth), (_, on_paths), (others, history) = (parts[0], parts[1], parts[2])
    known = known_of(orders, moment_O, truth[:, 0], moments)
    watched = Watched(
        known, {"events": on_paths, "seconds": on_paths / 2}, dict(known.reach), np.ones(len(orders), bool)
    )
    climatology = fit_climatology(known_of(others, moment_O, history[:, 0], moments))
    return watched, Benchmarks(climatology, {unit: dict.fromkeys(of, 3.0) for unit, of in HORIZONS.items()})
