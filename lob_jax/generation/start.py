"""The state of paths where they begin: at the end of their prompt, with its book and clock and a key of their own."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.generation.device import anchors, assembler, live_book, live_flow, price_memory
from lob_jax.generation.device.assembler import Clock
from lob_jax.generation.device.known import constants
from lob_jax.generation.device.live_book import LiveBook
from lob_jax.generation.device.orders import nothing_own
from lob_jax.generation.device.state import PathState
from lob_jax.generation.prompt import FIRST_NUMBER, Prompt, book_room, check_prompts
from lob_jax.generation.settings import SamplingConfig
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require


def start_paths(
    prompts: Sequence[Prompt], tokenizer: Tokenizer, instrument: Instrument, sampling: SamplingConfig
) -> tuple[PathState, list[int]]:
    """Return the state of all paths at the end of their prompts, and the origin of each path's book prices.

    The paths of a prompt are adjacent. All books have the capacity that the largest one needs.

    Raises:
      InputError: there is no prompt, one is empty, two have the same number, or the tokenizer does not support
        generation.
    """
    check_prompts(prompts)
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
        past=_past(prompt, origin, instrument.tick),
        latest_L=jnp.asarray(prompt.known_T["latest"][-1]) if "latest" in prompt.known_T else None,
        flow=None if prompt.flow is None else live_flow.from_state(prompt.flow, book, midnight_ns=midnight_ns),
    )


def _past(prompt: Prompt, origin: int, tick: int) -> price_memory.Past | None:
    """Return the past of the paths of a prompt, if its model reads it."""
    if "price_memory" not in prompt.known_T:
        return None
    return price_memory.from_past(prompt.past, origin=origin, tick=tick)


@functools.partial(jax.jit, static_argnames="paths")
def _repeated(each: PathState, root: jax.Array, numbers_N: jax.Array, *, paths: int) -> PathState:
    """Repeat the state of each prompt's paths, each with a different key, which only the numbers of both determine."""
    # fold_in instead of split, so that the key of a path does not depend on the number of paths or of prompts.
    own_N = jax.vmap(lambda number: jax.random.fold_in(root, FIRST_NUMBER + number))(numbers_N)
    roots_N = jnp.where(numbers_N == 0, root, own_N)
    fold = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    keys_NP = fold(roots_N, jnp.arange(paths))
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, paths, 0), each)._replace(key=keys_NP.reshape(-1))
