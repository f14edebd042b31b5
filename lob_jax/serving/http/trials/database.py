"""Ask the database from the event loop, and tell clients what it says."""

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from lob_jax.errors import InputError
from lob_jax.serving.experiments.running import Experiments
from lob_jax.serving.experiments.store.errors import Conflict, Missing, Unavailable
from lob_jax.serving.http.problems import Problem

DATABASE_S = 10.0  # after which a client is told to come again
AGAIN_S = 1

P = ParamSpec("P")
R = TypeVar("R")


async def asked(experiments: Experiments, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do something that waits for the database, in another thread.

    Raises:
      Problem: it does not answer in time, there is no such experiment, or it contradicts what is kept.
    """
    try:
        async with asyncio.timeout(DATABASE_S):
            return await asyncio.wrap_future(experiments.begin(work, *args, **kwargs))
    except (Unavailable, TimeoutError) as error:
        raise unavailable("the database of experiments does not answer") from error
    except Missing as error:
        raise Problem("unknown-experiment", error.what, was=str(error.was)) from error
    except Conflict as error:
        raise conflict(error) from error


def unavailable(what: str) -> Problem:
    """Return the problem of what may answer when it is asked again."""
    return Problem("unavailable", what, headers={"Retry-After": str(AGAIN_S)})


def conflict(error: InputError) -> Problem:
    """Return the problem of what contradicts what is kept."""
    told: dict[str, Any] = {"expected": str(error.expected), "was": str(error.was), "remedy": str(error.remedy)}
    return Problem("conflict", error.what, **told)
