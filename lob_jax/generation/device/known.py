"""Compute the model's other inputs at a token that was just sampled, from the state of the path.

The inputs and their sources are declared in `lob_jax.models.inputs`.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.generation.device import anchors, live_book, live_flow, price_memory
from lob_jax.generation.device.anchors import Remembered
from lob_jax.generation.device.assembler import Clock, Spelling, price_so_far
from lob_jax.generation.device.live_book import LiveBook
from lob_jax.generation.device.live_flow import LiveFlow
from lob_jax.generation.device.price_memory import Past
from lob_jax.generation.device.queues import codes
from lob_jax.generation.device.state import LoopShape, PathState
from lob_jax.models.inputs import BY_NAME, Advance
from lob_jax.tokens.bins import MOST_DISTANCE

SECONDS_PER_DAY = 86_400

SOURCES: dict[Advance | None, Callable[[PathState], Any]] = {
    Advance.CLOCK: lambda paths: paths.clock,
    Advance.BOOK: lambda paths: paths.book,
    Advance.FLOW: lambda paths: (paths.flow, paths.clock),
    Advance.QUEUE: lambda paths: (paths.book, paths.spelling, paths.recent_2R),
    Advance.PAST: lambda paths: (paths.past, paths.book, paths.spelling),
    Advance.ANCHORS: lambda paths: (paths.book, paths.remembered),
    Advance.LATEST: lambda paths: paths.latest_L,
    Advance.EVENTS: lambda paths: paths.behind - 1 + paths.spelling.events,
}


def constants(known_T: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Return the inputs that keep their values at the prompt's last token, by name."""
    constant = [name for name in known_T if BY_NAME[name].advance is Advance.CONSTANT]
    return {name: jnp.asarray(known_T[name][-1], BY_NAME[name].dtype) for name in constant}


def known_at(paths: PathState, names: Iterable[str], shape: LoopShape) -> dict[str, jax.Array]:
    """Return the named inputs at the newest token of each path, [B, 1, ...]."""

    def value(name: str) -> jax.Array:
        advance = BY_NAME[name].advance
        if advance is Advance.CONSTANT:
            return paths.constant[name]
        return MAKERS[name](SOURCES[advance](paths), shape)

    return {name: value(name)[:, None] for name in names}


def _time_of_day(clock_B: Clock, shape: LoopShape) -> jax.Array:
    seconds_B = jnp.clip(clock_B.seconds, 0, SECONDS_PER_DAY - 1)
    return seconds_B * shape.model.time_buckets // SECONDS_PER_DAY


def _clock(clock_B: Clock, _: LoopShape) -> jax.Array:
    return jnp.stack([clock_B.seconds, clock_B.ns], -1)


def _book(book_B: LiveBook, shape: LoopShape) -> jax.Array:
    return jax.vmap(functools.partial(live_book.features, levels=shape.book_levels))(book_B)


def _flow(at_clock_B: tuple[LiveFlow | None, Clock], _: LoopShape) -> jax.Array:
    flow_B, clock_B = at_clock_B
    if flow_B is None:
        raise InputError(
            "the model reads the flow, and the prompt does not say what it was",
            where="Prompt.flow",
            expected="the state of the flow after the last event of the prompt",
            was=None,
            remedy="make the prompt with make_prompt or prompt_from_day, and what the run's model reads",
        )
    return jax.vmap(live_flow.features)(flow_B, clock_B)


def _queue(spelled_B: tuple[LiveBook, Spelling, jax.Array], _: LoopShape) -> jax.Array:
    return jax.vmap(_spelled_queue)(*spelled_B)


def _spelled_queue(book: LiveBook, spelling: Spelling, recent_2R: jax.Array) -> jax.Array:
    """Return the codes of the queue at the price so far, and of the last sizes; zeros once the event is applied."""
    kind, side, distance = spelling.kind, spelling.side, price_so_far(spelling)
    key = jnp.where(side == 0, -1, 1) * live_book.reference(book, side) + distance
    _, queue = live_book.queue_at(book, side, key)
    has_queue = (kind <= Kind.EXECUTE) & (jnp.abs(distance) <= MOST_DISTANCE)
    queue = jax.tree.map(lambda leaf_Q: jnp.where(has_queue, leaf_Q, 0), queue)
    is_spelled = (kind > 0) & (kind != Kind.CONTROL) & (spelling.in_time == 0)
    return jnp.where(is_spelled, codes(queue, recent_2R[side]), 0)


def _price_memory(spelled_B: tuple[Past, LiveBook, Spelling], _: LoopShape) -> jax.Array:
    return jax.vmap(price_memory.codes)(*spelled_B)


def _anchors(at_B: tuple[LiveBook, Remembered], shape: LoopShape) -> jax.Array:
    return jax.vmap(functools.partial(anchors.codes, tick=shape.tick))(*at_B)


def _latest(latest_BL: jax.Array, _: LoopShape) -> jax.Array:
    return latest_BL


def _event(number_B: jax.Array, _: LoopShape) -> jax.Array:
    return number_B


MAKERS: dict[str, Callable[[Any, LoopShape], jax.Array]] = {
    "time_of_day": _time_of_day,
    "clock": _clock,
    "book": _book,
    "flow": _flow,
    "queue": _queue,
    "price_memory": _price_memory,
    "anchors": _anchors,
    "latest": _latest,
    "event": _event,
}
