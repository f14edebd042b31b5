"""Paths that are drawn without a network, on the device and on the host: tokens, masks, and what a model would read."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.generation import loop
from lob_jax.generation.device.known import known_at
from lob_jax.generation.device.orders import no_orders
from lob_jax.generation.host import known
from lob_jax.generation.host.continuation import WORDS, scores_of
from lob_jax.generation.host.given import given_of
from lob_jax.generation.host.start import start_paths as start_on_host
from lob_jax.generation.host.start import with_room
from lob_jax.generation.prompt import book_room
from lob_jax.generation.start import start_paths
from lob_jax.tokens import vocabulary as v
from tests.generation.market import COMPACT, INSTRUMENT, lively


class Along(NamedTuple):
    """What happened on B paths at T tokens.

    Attributes:
      token: int32 [T, B].
      allowed: bool [T, B, V], the tokens that could be drawn.
      known: the inputs of a model at each token, [T, B, ...], by name.
      mass: float32 [B, 2], what the masks removed, in all.
    """

    token: np.ndarray
    allowed: np.ndarray
    known: dict[str, np.ndarray]
    mass: np.ndarray


def bias_of(model, tokenizer):
    """Return logits that favour prices near the touch, small sizes and short gaps."""
    return np.zeros(v.VOCAB_SIZE, np.float32) if tokenizer is COMPACT else np.array(lively(model)["head"]["bias"])


def on_device(model, tokenizer, prompts, sampling, *, tokens, instrument=INSTRUMENT, bias_V=None):
    """Draw so many tokens on the device, from the same logits at each."""
    paths, origins = start_paths(prompts, tokenizer, instrument, sampling)
    shape = loop.loop_shape(model, tokenizer, prompts[0], instrument, sampling)
    given = loop.given_of(prompts[0], tokenizer, sampling, no_orders())
    bias_V = bias_of(model, tokenizer) if bias_V is None else bias_V
    logits_BV, names = jnp.tile(jnp.asarray(bias_V), (len(origins), 1)), tuple(prompts[0].known_T)

    def step(paths, _):
        grammar_BV, book_BV = loop.masks_of(paths, given.tables, shape)
        after, token_B = loop.draw(paths, logits_BV, given, shape=shape)
        inputs = {name: leaf[:, 0] for name, leaf in known_at(after, names, shape).items()}
        return after, (token_B, jnp.packbits(grammar_BV & book_BV, axis=-1), inputs)

    end, found = jax.jit(lambda paths: jax.lax.scan(step, paths, length=tokens))(paths)
    token_TB, bits, inputs = jax.tree.map(np.asarray, found)
    mass_B2 = np.stack([np.asarray(end.grammar_mass), np.asarray(end.book_mass)], 1)
    return Along(token_TB, np.unpackbits(bits, axis=-1).astype(bool), inputs, mass_B2)


def on_host(model, tokenizer, prompts, sampling, *, tokens, instrument=INSTRUMENT, bias_V=None):
    """Draw so many tokens on the host, from the same logits at each."""
    rooms = [book_room(prompt.book) for prompt in prompts]
    room = {name: max(each[name] for each in rooms) for name in rooms[0]}
    given = given_of(prompts[0], tokenizer, instrument, sampling, model, room=room)
    paths, words = start_on_host(prompts, tokenizer, sampling, levels=room["places"] + 2), WORDS[tokenizer.name]
    bias_V = bias_of(model, tokenizer) if bias_V is None else bias_V
    scores = scores_of(np.tile(bias_V, (len(paths.token), 1)), sampling.temperature)
    each = [known.constants(prompt) for prompt in prompts]
    constant = {name: np.repeat(np.stack([one[name] for one in each]), sampling.paths, 0) for name in each[0]}
    dtypes = {name: np.asarray(leaf).dtype for name, leaf in prompts[0].known_T.items()}
    day = known.Day(instrument.midnight_ns(), model.time_buckets)
    words.begin(paths, given)
    rows = []
    for _ in range(tokens):
        paths, allowed = with_room(paths), allowed_in(paths, given)
        words.advance(paths, given, *scores)
        inputs = {name: leaf[:, 0].copy() for name, leaf in known.known_at(paths, constant, dtypes, day).items()}
        rows.append((paths.token.copy(), allowed, inputs))
    token_TB, allowed_TBV, inputs = zip(*rows, strict=True)
    inputs = {name: np.stack([one[name] for one in inputs]) for name in dtypes}
    return Along(np.stack(token_TB), np.stack(allowed_TBV), inputs, paths.mass.copy())


def allowed_in(paths, given):
    """Return the tokens that each path may draw next, bool [B, V]."""
    allowed_BV = np.zeros((len(paths.token), v.VOCAB_SIZE), bool)
    rows = zip(allowed_BV, paths.ranges.first, paths.ranges.last, paths.ranges.at.tolist(), strict=True)
    for allowed_V, first, last, (begin, end) in rows:
        for low, high in zip(first[begin:end].tolist(), last[begin:end].tolist(), strict=True):
            allowed_V[low : high + 1] = True
    allowed_BV[:, : v.CLASS_SIZE] &= given.drawable
    return allowed_BV


def assert_same(device, host, *, float_rtol=2e-6):
    """Assert that tokens, masks and inputs agree at every token; only what is a logarithm may be rounded otherwise."""
    for t, (mine, theirs) in enumerate(zip(host.allowed, device.allowed, strict=True)):
        done = device.token[t] == v.PAD
        wrong = np.argwhere((mine != theirs) & ~done[:, None])
        assert not len(wrong), (t, [(int(b), v.describe(int(token)), bool(mine[b, token])) for b, token in wrong[:8]])
        np.testing.assert_array_equal(host.token[t], device.token[t], err_msg=str(t))
    assert set(host.known) == set(device.known)
    for name, values in device.known.items():
        if values.dtype == np.float32:
            np.testing.assert_allclose(host.known[name], values, rtol=float_rtol, atol=float_rtol, err_msg=name)
        else:
            np.testing.assert_array_equal(host.known[name], values, err_msg=name)
    np.testing.assert_allclose(host.mass, device.mass, rtol=1e-4)
