"""The state of paths where they begin: at the end of their prompt, with its book and clock and a key of their own."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.book.view import MOST_REMEMBERED
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.generation.device import anchors, assembler, live_book, live_flow
from lob_jax.generation.device.assembler import Clock
from lob_jax.generation.device.known import constants
from lob_jax.generation.device.live_book import LiveBook
from lob_jax.generation.device.orders import nothing_own
from lob_jax.generation.device.state import PathState, Prompt, SamplingConfig
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require

FEWEST_PLACES, FEWEST_ORDERS = 64, 16  # minimum capacity of a live book: levels per side, orders per level
FIRST_NUMBER = np.uint32(2**31)  # keys of prompts are numbered from here, those of paths from 0


def start_paths(
    prompts: Sequence[Prompt], tokenizer: Tokenizer, instrument: Instrument, sampling: SamplingConfig
) -> tuple[PathState, list[int]]:
    """Return the state of all paths at the end of their prompts, and the origin of each path's book prices.

    The paths of a prompt are adjacent. All books have the capacity that the largest one needs.

    Raises:
      InputError: there is no prompt, one is empty, two have the same number, or the tokenizer does not support
        generation.
    """
    _check(prompts)
    require(tokenizer, Ability.GENERATION, what="generation", where="the tokenizer")
    rooms = [book_room(prompt.book, inject=len(sampling.inject)) for prompt in prompts]
    room = {name: max(room[name] for room in rooms) for name in rooms[0]}
    units: dict[str, Any] = {"tick": instrument.tick, "signed": instrument.signed}
    books = [
        live_book.from_snapshot(prompt.book, behind=prompt.behind, closed=prompt.closed, **units, **room)
        for prompt in prompts
    ]
    each = [
        _at_end(prompt, *book, tokenizer, instrument, sampling) for prompt, book in zip(prompts, books, strict=True)
    ]
    together = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *each)
    numbers_N = np.array([prompt.number for prompt in prompts], np.uint32)
    paths = _repeated(together, jax.random.key(sampling.seed), numbers_N, paths=sampling.paths)
    return paths, [origin for _, origin in books for _ in range(sampling.paths)]


def _check(prompts: Sequence[Prompt]) -> None:
    """Check that every prompt has tokens to predict from, and random numbers of its own."""
    if not prompts or not all(len(prompt.tokens_T) for prompt in prompts):
        raise InputError(
            "the prompt is empty" if prompts else "there is no prompt",
            where="generate",
            expected="at least one event",
            was="no tokens",
            remedy="set generate.prompt_events to 1 or more",
        )
    numbers = [prompt.number for prompt in prompts]
    if len(set(numbers)) < len(numbers) or not 0 <= min(numbers) <= max(numbers) < FIRST_NUMBER:
        raise InputError(
            "prompts without a number of their own would share their random numbers",
            where="Prompt.number",
            expected=f"a different one for each prompt, from 0 to {FIRST_NUMBER - 1}",
            was=numbers[:10],
            remedy="number the prompts, for example with dataclasses.replace(prompt, number=n)",
        )


def _at_end(
    prompt: Prompt,
    book: LiveBook,
    origin: int,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> PathState:
    """Return the state of one path at the end of a prompt, without its key."""
    midnight_ns = instrument.midnight_ns()
    seconds, ns = divmod(prompt.clock_ns - midnight_ns, NS_PER_SECOND)
    zero, nothing = jnp.int32(0), jnp.float32(0)
    return PathState(
        grammar=jnp.int32(tokenizer.grammar.start),
        spelling=assembler.blank(),
        clock=Clock(jnp.int32(seconds), jnp.int32(ns)),
        book=book,
        own=nothing_own(len(sampling.inject)),
        key=zero,
        fresh=zero,
        within=zero,
        written=zero,
        chosen=zero,
        grammar_mass=nothing,
        book_mass=nothing,
        constant=constants(prompt.known_T),
        last=jnp.int32(sampling.events),
        behind=jnp.int32(prompt.known_T["event"][-1] + 1),
        antithetic=jnp.bool_(sampling.antithetic),
        done=jnp.bool_(False),
        recent_2R=jnp.asarray(prompt.recent),
        remembered=anchors.from_prices(prompt.remembered, origin=origin, tick=instrument.tick),
        latest_L=jnp.asarray(prompt.known_T["latest"][-1]) if "latest" in prompt.known_T else None,
        flow=None if prompt.flow is None else live_flow.from_state(prompt.flow, book, midnight_ns=midnight_ns),
    )


@functools.partial(jax.jit, static_argnames="paths")
def _repeated(each: PathState, root: jax.Array, numbers_N: jax.Array, *, paths: int) -> PathState:
    """Repeat the state of each prompt's paths, each with a different key, which only the numbers of both determine."""
    # fold_in instead of split, so that the key of a path does not depend on the number of paths or of prompts.
    own_N = jax.vmap(lambda number: jax.random.fold_in(root, FIRST_NUMBER + number))(numbers_N)
    roots_N = jnp.where(numbers_N == 0, root, own_N)
    fold = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    keys_NP = fold(roots_N, jnp.arange(paths))
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, paths, 0), each)._replace(key=keys_NP.reshape(-1))


def book_room(start: BookSnapshot, *, inject: int = 0) -> dict[str, int]:
    """Return the capacity of a live book: levels per side and orders per level, twice those of the starting book.

    A book with a window has no more levels than it keeps in view, and remembers those that leave it. A level of a
    pooled book is one order, and two more for each of the `inject` orders of the user that may join it: that order, and
    the lots behind it.
    """
    _, orders = np.unique(np.stack([start.side, start.price]), axis=1, return_counts=True)
    levels = max((len(np.unique(start.price[start.side == side])) for side in (1, -1)), default=0)
    longest = int(orders.max(initial=0))
    return {
        "places": _power(start.window) if start.window else max(FEWEST_PLACES, _power(2 * levels)),
        "orders": _power(max(longest, 1) + 2 * inject) if start.pooled else max(FEWEST_ORDERS, _power(2 * longest)),
        "remembers": MOST_REMEMBERED if start.window else 0,
    }


def _power(number: int) -> int:
    """Return the smallest power of two >= number; with fewer distinct shapes, the loop is compiled less often."""
    return 1 << max(0, math.ceil(math.log2(max(1, number))))
