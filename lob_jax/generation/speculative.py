"""Self-speculative decoding of one path: heads for later tokens draft, one forward pass of the model verifies.

A model with N = `heads.next_tokens` drafts the N - 1 tokens after the next one while it predicts the next one. The
following forward pass reads the token that is certain and the drafts after it. A draft d is accepted with probability
min(1, p(d) / q(d)), where p is the model's distribution at its position and q the one it was drafted from; the first
rejected draft is replaced by a sample from the normalised (p - q)+. Every token is then a sample from p (Leviathan et
al., 2023; Chen et al., 2023). Grammar mask, live-book mask, temperature and truncation apply to both distributions, so
all generated events are valid. At temperature 0 a draft is accepted if it is the most likely token.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.generation import loop
from lob_jax.generation.context import model_variables, named, nothing_revealed, prompt_window, with_slots
from lob_jax.generation.device.live_book import Reveal
from lob_jax.generation.device.orders import no_orders
from lob_jax.generation.device.sampling import inverted_by_class, masked_masses, probabilities
from lob_jax.generation.device.state import Given, LoopShape, PathState, Window
from lob_jax.generation.generated import Generated
from lob_jax.generation.paths import Row
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.generation.start import start_paths
from lob_jax.models.apply import apply
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import LOBTransformer, empty_cache
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import PAD


@dataclasses.dataclass(frozen=True)
class Speculation:
    """Counts of drafted and accepted tokens.

    Attributes:
      rounds: forward passes after the prompt.
      drafted: drafted tokens.
      accepted: accepted drafts.
    """

    rounds: int
    drafted: int
    accepted: int

    @property
    def acceptance(self) -> float:
        """Return the acceptance rate, the share of the drafts that were accepted."""
        return self.accepted / max(1, self.drafted)

    @property
    def tokens_a_round(self) -> float:
        """Return the tokens per forward pass; plain decoding has one."""
        return 1 + self.accepted / max(1, self.rounds)


class Drafting(NamedTuple):
    """The carry of the compiled loop, with B = 1.

    Attributes:
      paths: the state of the path after the pending token.
      pending_B: int32, the token that is certain but not yet read by the model.
      stream_BD: the model's residual stream at the last token that it has read.
      window: the inputs in each slot of the cache.
      revealed: the level that each token's event brought into view, by slot; None for books without a window.
      cache: keys and values.
      key: PRNG key.
      rounds: forward passes so far.
      accepted: accepted drafts so far.
    """

    paths: PathState
    pending_B: jax.Array
    stream_BD: jax.Array
    window: Window
    revealed: Reveal | None
    cache: KVCache
    key: jax.Array
    rounds: jax.Array
    accepted: jax.Array


def judged(p_BV: jax.Array, q_BV: jax.Array, draft_B: jax.Array, at_B3: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return whether each draft is accepted, bool [B], and the sample that replaces it if not, int32 [B].

    Args:
      p_BV: the target distribution.
      q_BV: the distribution that the drafts were sampled from.
      draft_B: the drafts.
      at_B3: uniform numbers in 0..1, one for the acceptance and two for the replacement.
    """
    p_B, q_B = (jnp.take_along_axis(share_BV, draft_B[:, None], 1)[:, 0] for share_BV in (p_BV, q_BV))
    rest_BV = jnp.maximum(p_BV - q_BV, 0)
    # Where p equals q nothing remains. Such a draft is accepted, but the unused sample must not be NaN.
    rest_BV = jnp.where(rest_BV.sum(-1, keepdims=True) > 0, rest_BV, p_BV)
    # u q < p instead of u < p / q: no division by zero, and a draft with p = 0 is never accepted.
    return at_B3[:, 0] * q_B < p_B, inverted_by_class(rest_BV, at_B3[:, 1:])


def verdict(
    wanted_NV: jax.Array, draft_NV: jax.Array, draft_N: jax.Array, done_N: jax.Array, at_N3: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return how many drafts of a round are accepted, those before the first rejected one, and the token after them.

    Args:
      wanted_NV: the model's distribution after the pending token and after each of the N - 1 drafts.
      draft_NV: the distribution that each draft was sampled from; the last row is unused.
      draft_N: the drafts; the last entry is unused.
      done_N: whether the path is complete before each draft, in which case the draft is irrelevant and accepted.
      at_N3: uniform numbers in 0..1, see `judged`.
    """
    stands_K, other_K = judged(wanted_NV[:-1], draft_NV[:-1], draft_N[:-1], at_N3[:-1])
    stood = jnp.cumprod(stands_K | done_N[:-1]).sum()
    other_N = jnp.append(other_K, inverted_by_class(wanted_NV[-1:], at_N3[-1:, 1:]))
    return stood, other_N[stood]


def _moved(paths: PathState, token_B: jax.Array, given: Given, shape: LoopShape) -> PathState:
    """Advance paths by a token each, except those that are done."""
    moved, _ = loop.moved_by(paths, token_B, given, shape)
    moved = moved._replace(written=paths.written + 1, fresh=moved.spelling.events)
    return jax.tree.map(functools.partial(loop.where_paths, paths.done), paths, moved)


def _distribution(logits_BV: jax.Array, masks: tuple[jax.Array, jax.Array], shape: LoopShape) -> jax.Array:
    return probabilities(logits_BV, *masks, **shape.sampling)


def _noted(
    paths: PathState, logits_MV: jax.Array, masks: tuple[jax.Array, jax.Array], counts_M: jax.Array
) -> PathState:
    """Add the probability masked at M tokens to the path's sums; `counts_M` selects the tokens to count."""
    grammar_M, book_M = masked_masses(logits_MV, *masks)
    return paths._replace(
        chosen=paths.chosen + counts_M.sum(),
        grammar_mass=paths.grammar_mass + jnp.where(counts_M, grammar_M, 0).sum(),
        book_mass=paths.book_mass + jnp.where(counts_M, book_M, 0).sum(),
    )


def _read(params: Any, context: Window, shape: LoopShape, slots: int) -> tuple[jax.Array, KVCache]:
    """Return the model's residual stream at the last token of a context [B, D], and a cache with `slots` slots."""
    cache = empty_cache(shape.model, len(context.tokens_BT), slots)
    x_BTD, cache = apply(LOBTransformer(shape.model), {"params": params}, *context, cache=cache, method="stream")
    return x_BTD[:, -1], cache


@functools.partial(jax.jit, static_argnames=("shape", "slots"))
def begin(
    params: Any, paths: PathState, context: Window, given: Given, key: jax.Array, *, shape: LoopShape, slots: int
) -> Drafting:
    """Read a context and sample the token after it.

    Args:
      params: the model's parameters.
      paths: the state of the path after the context.
      context: the tokens to read, with their other inputs.
      given: the tokenizer's lookup tables, no orders, and the distribution of levels that come into view.
      key: PRNG key.
      shape: static settings of the loop.
      slots: slots of the cache.
    """
    stream_BD, cache = _read(params, context, shape, slots)
    last = {name: known[:, -1:] for name, known in context.known.items()}
    logits_BTV = apply(LOBTransformer(shape.model), {"params": params}, stream_BD[:, None], last, method="logits_of")
    logits_BV = logits_BTV[:, 0]
    masks, key = loop.masks_of(paths, given.tables, shape), jax.random.fold_in(key, paths.written[0])
    token_B = inverted_by_class(_distribution(logits_BV, masks, shape), jax.random.uniform(key, (1, 2)))
    noted = _noted(paths, logits_BV, masks, ~paths.done)
    moved = _moved(noted, token_B, given, shape)
    window, revealed = with_slots((context, nothing_revealed(paths, context.tokens_BT.shape)), slots)
    return Drafting(moved, token_B, stream_BD, window, revealed, cache, key, jnp.int32(0), jnp.int32(0))


@functools.partial(jax.jit, static_argnames=("shape", "slots"))
def resume(params: Any, state: Drafting, context: Window, *, shape: LoopShape, slots: int) -> Drafting:
    """Refill the cache from a context that ends before the pending token."""
    stream_BD, cache = _read(params, context, shape, slots)
    nothing = nothing_revealed(state.paths, context.tokens_BT.shape)
    window, revealed = with_slots((context, nothing), slots)
    return state._replace(stream_BD=stream_BD, window=window, revealed=revealed, cache=cache)


@functools.partial(jax.jit, static_argnames=("shape", "drafts"), donate_argnames="state")
def extend(
    variables: dict[str, Any], state: Drafting, given: Given, stop: jax.Array, *, shape: LoopShape, drafts: int
) -> Drafting:
    """Draft and verify until the path is done or the cache holds at least `stop` tokens, at most `drafts` more."""
    return jax.lax.while_loop(
        lambda carry: ~carry.paths.done.all() & (carry.cache.length < stop),
        lambda carry: _round(variables, carry, given, shape, drafts + 1),
        state,
    )


def _round(variables: dict[str, Any], carry: Drafting, given: Given, shape: LoopShape, N: int) -> Drafting:
    """Draft N - 1 tokens, read them after the pending one, and keep those that are accepted."""
    model, length = LOBTransformer(shape.model), carry.cache.length
    at_N5 = jax.random.uniform(jax.random.fold_in(carry.key, carry.rounds), (N, 5))
    guess_KV = apply(model, variables, carry.stream_BD[:, None], tokens=N - 1, method="ahead_logits")[0, 0]

    def guess(behind: tuple[PathState, jax.Array], by: tuple[jax.Array, jax.Array]) -> tuple[tuple, tuple]:
        (paths, token_B), (logits_V, at_2) = behind, by
        masks = loop.masks_of(paths, given.tables, shape)
        draft_BV = _distribution(logits_V[None], masks, shape)
        next_B = jnp.where(paths.done, PAD, inverted_by_class(draft_BV, at_2[None]))
        known = (paths, loop.inputs_of(paths, token_B, carry.window, shape), masks, draft_BV, next_B)
        return (_moved(paths, next_B, given, shape), next_B), known

    by = (jnp.pad(guess_KV, ((0, 1), (0, 0))), at_N5[:, :2])  # after the last draft there is nothing left to draft
    _, known = jax.lax.scan(guess, (carry.paths, carry.pending_B), by)
    states, inputs, *rest = known
    masks, draft_NV, draft_N = jax.tree.map(lambda leaf: leaf[:, 0], rest)

    new = jax.tree.map(lambda leaf: jnp.swapaxes(leaf[:, 0], 0, 1), inputs)
    shown = jax.tree.map(lambda leaf: leaf.T, states.book.revealed)
    x_BTD, cache = apply(model, variables, *new, cache=carry.cache, method="stream")
    logits_NV = apply(model, variables, x_BTD, new.known, method="logits_of")[0]
    wanted_NV, done_N = _distribution(logits_NV, masks, shape), states.done[:, 0]
    stood, behind = verdict(wanted_NV, draft_NV, draft_N, done_N, at_N5[:, 2:])
    kept = jax.tree.map(lambda leaf: leaf[stood], states)
    kept = _noted(kept, logits_NV, masks, (jnp.arange(N) <= stood) & ~done_N)
    pending_B = jnp.where(kept.done, PAD, behind).astype(jnp.int32)

    def put(whole: jax.Array, some: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(whole, some.astype(whole.dtype), length, 1)

    return carry._replace(
        paths=_moved(kept, pending_B, given, shape),
        pending_B=pending_B,
        stream_BD=jax.lax.dynamic_index_in_dim(x_BTD, stood, 1, keepdims=False),
        window=jax.tree.map(put, carry.window, new),
        revealed=None if carry.revealed is None else jax.tree.map(put, carry.revealed, shown),
        # Keys and values of rejected drafts remain beyond this length, where the next round overwrites them.
        cache=dataclasses.replace(cache, length=length + 1 + stood),
        rounds=carry.rounds + 1,
        accepted=carry.accepted + stood,
    )


def generate_speculatively(
    params: Any,
    prompt: Prompt,
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
    drafts: int | None = None,
) -> tuple[Generated, Speculation]:
    """Continue a prompt with complete events on one path, several tokens per forward pass; also return the counts.

    The distribution of the generated events is the same as with `loop.generate`; the random numbers differ. When the
    context is full, the path continues from its newest half, whatever kind of positions the model uses.

    Args:
      params: the model's parameters.
      prompt: real events and the state of the market after them.
      model: the model's configuration.
      tokenizer: the tokenizer of the model's tokens.
      instrument: the instrument, for its tick and clock.
      sampling: sampling settings, with a single path.
      drafts: tokens drafted per round; by default as many as the model has heads for.

    Raises:
      InputError: as in `loop.generate`; or the model has too few heads for `drafts`, or `sampling` asks for more than
        one path, for orders of the user, or for antithetic numbers.
    """
    drafts = model.heads.next_tokens - 1 if drafts is None else drafts
    _check(model, sampling, drafts)
    paths, origins = start_paths([prompt], tokenizer, instrument, sampling)
    shape = loop.loop_shape(model, tokenizer, prompt, instrument, sampling)
    longest = model.max_seq_length
    given = loop.given_of(prompt, tokenizer, sampling, no_orders())
    context, _ = prompt_window([prompt], 1, longest // 2)
    kept = context.tokens_BT.shape[1]
    state = begin(params, paths, context, given, jax.random.key(sampling.seed), shape=shape, slots=longest)
    parts, variables = [], model_variables(params, model, rows=drafts + 1)
    while True:
        # A round writes drafts + 1 slots; past the end, dynamic_update_slice would clamp and overwrite earlier slots.
        state = extend(variables, state, given, jnp.int32(longest - drafts), shape=shape, drafts=drafts)
        end = int(state.cache.length)
        parts.append(jax.tree.map(lambda leaf, at=slice(kept, end): np.asarray(leaf)[:, at], _by_slot(state)))
        if bool(state.paths.done.all()):
            break
        kept = longest // 2
        context = named(state.window.cut(end - kept, end), model)
        state = resume(params, state, context, shape=shape, slots=longest)
    pending = (state.pending_B, None if state.revealed is None else state.paths.book.revealed)
    parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:, None], pending))
    tokens_BT, revealed = jax.tree.map(lambda *leaves: np.concatenate(leaves, 1), *parts)
    nobody_BT = np.zeros(tokens_BT.shape, np.int32)
    piece = loop.Piece(Row(tokens_BT, nobody_BT, nobody_BT, revealed), state.paths)
    rounds, accepted = int(state.rounds), int(state.accepted)
    about = Speculation(rounds, rounds * drafts, accepted)
    how: dict[str, Any] = {"start": prompt.start, "tokenizer": tokenizer, "instrument": instrument}
    return loop.collect([piece], origins, **how), about


def _by_slot(state: Drafting) -> tuple[jax.Array, Reveal | None]:
    return state.window.tokens_BT, state.revealed


def _check(model: ModelConfig, sampling: SamplingConfig, drafts: int) -> None:
    checks = [
        (model.heads.next_tokens > 1, "model.heads.next_tokens", "2 or more", model.heads.next_tokens),
        (0 < drafts < model.heads.next_tokens, "drafts", f"1 to {model.heads.next_tokens - 1}", drafts),
        (sampling.paths == 1, "sampling.paths", "1", sampling.paths),
        (not sampling.inject, "sampling.inject", "no orders", sampling.inject),
        (not sampling.antithetic, "sampling.antithetic", "False", sampling.antithetic),
    ]
    for holds, where, expected, was in checks:
        if not holds:
            raise InputError(
                "this cannot be decoded speculatively",
                where=where,
                expected=expected,
                was=was,
                remedy="use lob_jax.generation.loop.generate, or train with configs/next_tokens.py",
            )
