"""Self-speculative decoding of one path: heads for later tokens draft, one forward pass of the model judges the drafts.

A model of N = `heads.next_tokens` guesses the N - 1 tokens behind the next one while it predicts that. The next
forward pass reads the token that is certain and the guesses behind it, and a guess d stands with probability
min(1, p(d) / q(d)), p the model's distribution there and q the draft's; the first that falls is replaced by a draw from
(p - q)+. That makes every token a draw from p (Leviathan et al., 2023; Chen et al., 2023). Both are masked by grammar
and live book, tempered and truncated alike, so what is generated is valid all the same. At temperature 0 a guess stands
where it is the most likely token.
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
from lob_jax.generation.context import model_variables, named, prompt_window, with_slots
from lob_jax.generation.device.orders import OrderTable, no_orders
from lob_jax.generation.device.sampling import inverted_by_class, masked_masses, probabilities
from lob_jax.generation.device.state import Generated, LoopShape, PathState, Prompt, SamplingConfig, Window
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import LOBTransformer, empty_cache
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import PAD


@dataclasses.dataclass(frozen=True)
class Speculation:
    """How well drafts did.

    Attributes:
      rounds: forward passes behind the prompt.
      drafted: tokens that were guessed.
      accepted: how many of them stood.
    """

    rounds: int
    drafted: int
    accepted: int

    @property
    def acceptance(self) -> float:
        """Return the share of the guesses that stood."""
        return self.accepted / max(1, self.drafted)

    @property
    def tokens_a_round(self) -> float:
        """Return how many tokens a forward pass gives; plain decoding gives one."""
        return 1 + self.accepted / max(1, self.rounds)


class Drafting(NamedTuple):
    """The carry of the compiled loop; B = 1.

    Attributes:
      paths: behind the pending token.
      pending_B: int32, the token that is certain and not yet read.
      stream_BD: the model's stream at the last token that it has read.
      window: inputs by slot of the cache.
      cache: keys and values.
      key: PRNG key.
      rounds: forward passes so far.
      accepted: guesses that stood so far.
    """

    paths: PathState
    pending_B: jax.Array
    stream_BD: jax.Array
    window: Window
    cache: KVCache
    key: jax.Array
    rounds: jax.Array
    accepted: jax.Array


def judged(p_BV: jax.Array, q_BV: jax.Array, draft_B: jax.Array, at_B3: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return whether drafts stand, bool [B], and the draw that replaces each of those that fall, int32 [B].

    Args:
      p_BV: the distribution wanted.
      q_BV: the one that drafts were drawn from.
      draft_B: the drafts.
      at_B3: numbers of 0..1, one for the verdict and two for the draw.
    """
    p_B, q_B = (jnp.take_along_axis(share_BV, draft_B[:, None], 1)[:, 0] for share_BV in (p_BV, q_BV))
    rest_BV = jnp.maximum(p_BV - q_BV, 0)
    rest_BV = jnp.where(rest_BV.sum(-1, keepdims=True) > 0, rest_BV, p_BV)
    return at_B3[:, 0] * q_B < p_B, inverted_by_class(rest_BV, at_B3[:, 1:])


def verdict(
    wanted_NV: jax.Array, draft_NV: jax.Array, draft_N: jax.Array, done_N: jax.Array, at_N3: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return how many guesses of a round stand, those in front of the first that falls, and the token behind them.

    Args:
      wanted_NV: the model's distribution behind the pending token and behind each of the N - 1 guesses.
      draft_NV: the distribution that each guess was drawn from; its last row is of no guess.
      draft_N: the guesses; the last is none.
      done_N: whether the path has all its events before each of them; what is guessed there is no matter.
      at_N3: numbers of 0..1, see `judged`.
    """
    stands_K, other_K = judged(wanted_NV[:-1], draft_NV[:-1], draft_N[:-1], at_N3[:-1])
    stood = jnp.cumprod(stands_K | done_N[:-1]).sum()
    other_N = jnp.append(other_K, inverted_by_class(wanted_NV[-1:], at_N3[-1:, 1:]))
    return stood, other_N[stood]


def _moved(paths: PathState, token_B: jax.Array, tables: Any, orders: OrderTable, shape: LoopShape) -> PathState:
    """Move paths over tokens; those that are done stay."""
    move = functools.partial(loop.WORDS[shape.tokenizer].move, tables=tables, orders=orders, shape=shape)
    moved = jax.vmap(lambda path, token: move(path, token)[0])(paths, token_B)
    moved = moved._replace(written=paths.written + 1)
    return jax.tree.map(functools.partial(loop.where_paths, paths.done), paths, moved)


def _distribution(logits_BV: jax.Array, masks: tuple[jax.Array, jax.Array], shape: LoopShape) -> jax.Array:
    allowed_BV = masks[0] & masks[1]
    return probabilities(logits_BV, allowed_BV, temperature=shape.temperature, truncation=shape.truncation)


def _noted(
    paths: PathState, logits_MV: jax.Array, masks: tuple[jax.Array, jax.Array], counts_M: jax.Array
) -> PathState:
    """Add what the masks took at M tokens to the path's sums, of those tokens that count."""
    grammar_M, book_M = masked_masses(logits_MV, *masks)
    return paths._replace(
        chosen=paths.chosen + counts_M.sum(),
        grammar_mass=paths.grammar_mass + jnp.where(counts_M, grammar_M, 0).sum(),
        book_mass=paths.book_mass + jnp.where(counts_M, book_M, 0).sum(),
    )


def _read(params: Any, context: Window, shape: LoopShape, slots: int) -> tuple[jax.Array, KVCache]:
    """Return the model's stream at the last token of a context [B, D], and a cache of so many slots."""
    cache = empty_cache(shape.model, len(context.tokens_BT), slots)
    x_BTD, cache = LOBTransformer(shape.model).apply({"params": params}, *context, cache=cache, method="stream")
    return x_BTD[:, -1], cache


@functools.partial(jax.jit, static_argnames=("shape", "slots"))
def begin(
    params: Any, paths: PathState, context: Window, tables: Any, key: jax.Array, *, shape: LoopShape, slots: int
) -> Drafting:
    """Read a context and draw the token behind it."""
    stream_BD, cache = _read(params, context, shape, slots)
    logits_BV = LOBTransformer(shape.model).apply({"params": params}, stream_BD[:, None], method="logits_of")[:, 0]
    masks, key = loop.masks_of(paths, tables, shape), jax.random.fold_in(key, paths.written[0])
    token_B = inverted_by_class(_distribution(logits_BV, masks, shape), jax.random.uniform(key, (1, 2)))
    noted = _noted(paths, logits_BV, masks, ~paths.done)
    moved = _moved(noted, token_B, tables, no_orders(), shape)
    window, zero = with_slots(context, slots), jnp.int32(0)
    return Drafting(moved, token_B, stream_BD, window, cache, key, zero, zero)


@functools.partial(jax.jit, static_argnames=("shape", "slots"))
def resume(params: Any, state: Drafting, context: Window, *, shape: LoopShape, slots: int) -> Drafting:
    """Read a context anew, in front of the token that is pending."""
    stream_BD, cache = _read(params, context, shape, slots)
    return state._replace(stream_BD=stream_BD, window=with_slots(context, slots), cache=cache)


@functools.partial(jax.jit, static_argnames=("shape", "drafts"), donate_argnames="state")
def extend(
    variables: dict[str, Any], state: Drafting, tables: Any, stop: jax.Array, *, shape: LoopShape, drafts: int
) -> Drafting:
    """Draft and judge until the path is done or the cache has taken `stop` tokens, at most `drafts` more."""
    return jax.lax.while_loop(
        lambda carry: ~carry.paths.done.all() & (carry.cache.length < stop),
        lambda carry: _round(variables, carry, tables, shape, drafts + 1),
        state,
    )


def _round(variables: dict[str, Any], carry: Drafting, tables: Any, shape: LoopShape, N: int) -> Drafting:
    """Guess N - 1 tokens, read them behind the pending one, and keep those that stand."""
    model, length = LOBTransformer(shape.model), carry.cache.length
    at_N5 = jax.random.uniform(jax.random.fold_in(carry.key, carry.rounds), (N, 5))
    guess_KV = model.apply(variables, carry.stream_BD[:, None], tokens=N - 1, method="ahead_logits")[0, 0]

    def guess(behind: tuple[PathState, jax.Array], given: tuple[jax.Array, jax.Array]) -> tuple[tuple, tuple]:
        (paths, token_B), (logits_V, at_2) = behind, given
        masks = loop.masks_of(paths, tables, shape)
        draft_BV = _distribution(logits_V[None], masks, shape)
        next_B = jnp.where(paths.done, PAD, inverted_by_class(draft_BV, at_2[None]))
        known = (paths, loop.inputs_of(paths, token_B, carry.window, shape), masks, draft_BV, next_B)
        return (_moved(paths, next_B, tables, no_orders(), shape), next_B), known

    given = (jnp.pad(guess_KV, ((0, 1), (0, 0))), at_N5[:, :2])  # behind the last guess nothing is left to be guessed
    _, known = jax.lax.scan(guess, (carry.paths, carry.pending_B), given)
    states, inputs, *rest = known
    masks, draft_NV, draft_N = jax.tree.map(lambda leaf: leaf[:, 0], rest)

    new = jax.tree.map(lambda leaf: jnp.swapaxes(leaf[:, 0], 0, 1), inputs)
    x_BTD, cache = model.apply(variables, *new, cache=carry.cache, method="stream")
    logits_NV = model.apply(variables, x_BTD, method="logits_of")[0]
    wanted_NV, done_N = _distribution(logits_NV, masks, shape), states.done[:, 0]
    stood, behind = verdict(wanted_NV, draft_NV, draft_N, done_N, at_N5[:, 2:])
    kept = jax.tree.map(lambda leaf: leaf[stood], states)
    kept = _noted(kept, logits_NV, masks, (jnp.arange(N) <= stood) & ~done_N)
    pending_B = jnp.where(kept.done, PAD, behind).astype(jnp.int32)

    def put(whole: jax.Array, some: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(whole, some.astype(whole.dtype), length, 1)

    return carry._replace(
        paths=_moved(kept, pending_B, tables, no_orders(), shape),
        pending_B=pending_B,
        stream_BD=jax.lax.dynamic_index_in_dim(x_BTD, stood, 1, keepdims=False),
        window=jax.tree.map(put, carry.window, new),
        cache=cache.replace(length=length + 1 + stood),
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
    """Continue a prompt by whole events, once, several tokens a forward pass; and say how well the drafts did.

    Arguments are those of `loop.generate`; the law of what is generated is the same, the random numbers are others.
    When the context is full, the path goes on from its newest half, whatever the positions. `drafts` is how many
    tokens are guessed a round, by default as many as the model has heads for.

    Raises:
      InputError: as `loop.generate`; the model has no heads for so many later tokens, or more than one path, an order
        of the user's or antithetic numbers are asked for.
    """
    drafts = model.heads.next_tokens - 1 if drafts is None else drafts
    _check(model, sampling, drafts)
    loop.check_prompt(prompt)
    paths, origin = loop.start_paths(prompt, tokenizer, instrument, sampling)
    shape = loop.loop_shape(model, tokenizer, prompt, instrument, sampling)
    words, longest = loop.WORDS[shape.tokenizer], model.max_seq_length
    tables = words.tables(tokenizer)
    context = prompt_window(prompt, 1, longest // 2)
    kept = context.tokens_BT.shape[1]
    state = begin(params, paths, context, tables, jax.random.key(sampling.seed), shape=shape, slots=longest)
    parts, variables = [], model_variables(params, model, rows=drafts + 1)
    while True:
        state = extend(variables, state, tables, jnp.int32(longest - drafts), shape=shape, drafts=drafts)
        end = int(state.cache.length)
        parts.append(np.asarray(state.window.tokens_BT)[:, kept:end])
        if bool(state.paths.done.all()):
            break
        kept = longest // 2
        context = named(state.window.cut(end - kept, end), model)
        state = resume(params, state, context, shape=shape, slots=longest)
    parts.append(np.asarray(state.pending_B)[:, None])
    tokens_BT = np.concatenate(parts, 1)
    piece = loop.Piece(tokens_BT, np.zeros(tokens_BT.shape, bool), state.paths)
    rounds, accepted = int(state.rounds), int(state.accepted)
    about = Speculation(rounds, rounds * drafts, accepted)
    return loop.collect([piece], words, instrument, origin), about


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
