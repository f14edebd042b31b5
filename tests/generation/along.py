"""Paths that are drawn without a network, what a model would have read along them, and their decoded events."""

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.generation import loop
from lob_jax.generation.device.known import known_at
from lob_jax.generation.device.orders import order_table
from lob_jax.generation.paths import Row, corrections_of, path_day, rows_of
from lob_jax.generation.start import start_paths
from lob_jax.tokens import vocabulary as v
from tests.generation.market import COMPACT, INSTRUMENT, TOKENIZER, lively
from tests.generation.test_windowed_paths import SHOWN


def drawn(model, tokenizer, prompts, sampling, *, names, tokens):
    """Draw so many tokens; return the rows of each path, and the inputs of a model [B, T, ...], by name."""
    paths, origins = start_paths(prompts, tokenizer, INSTRUMENT, sampling)
    orders = order_table(sampling.inject, instrument=INSTRUMENT, origin=origins[0], events=sampling.events)
    shape = loop.loop_shape(model, tokenizer, prompts[0], INSTRUMENT, sampling)
    given = loop.given_of(prompts[0], tokenizer, sampling, orders)
    bias_V = jnp.zeros(v.VOCAB_SIZE) if tokenizer is COMPACT else lively(model)["head"]["bias"]
    logits_BV = jnp.tile(bias_V, (len(origins), 1))

    def step(paths, _):
        paths, token_B = loop.draw(paths, logits_BV, given, shape=shape)
        row = Row(token_B, paths.own.writer, paths.book.filled, paths.book.revealed)
        return paths, (row, {name: known[:, 0] for name, known in known_at(paths, names, shape).items()})

    _, found = jax.jit(lambda paths: jax.lax.scan(step, paths, length=tokens))(paths)
    rows, known = jax.tree.map(lambda leaf: np.swapaxes(np.asarray(leaf), 0, 1), found)
    return list(zip(rows_of(rows), origins, strict=True)), known


def decoded(row, origin, tokenizer):
    """Return the tokens of the complete events of a path on a book that shows two levels a side, and its day."""
    whole = len(row.tokens)
    if tokenizer is not COMPACT:
        whole = np.flatnonzero(v.field_of(row.tokens) == v.FIELD_HEAD)[-1]
    tokens, shown = row.tokens[:whole], jax.tree.map(lambda leaf: leaf[:whole], row.revealed)
    corrections = corrections_of(tokens, shown, origin=origin, tick=INSTRUMENT.tick)
    how = {"start": SHOWN, "tokenizer": tokenizer, "instrument": INSTRUMENT}
    return tokens, path_day(tokens, corrections, row.own[:whole], **how)


def assert_read(window, generated, path, expected, *, tokenizer=TOKENIZER, **tolerance):
    """The model has read, along the decoded path, the arrays that are expected from its (tokens, day), by name."""
    tokens = generated.tokens[path]
    how = {"start": SHOWN, "tokenizer": tokenizer, "instrument": INSTRUMENT}
    day = path_day(tokens, generated.corrections[path], generated.own[path], **how)
    mine = slice(6, 6 + len(tokens))  # behind the prompt
    np.testing.assert_array_equal(window.tokens_BT[path, mine], tokens)
    for name, values in expected(tokens, day).items():
        np.testing.assert_allclose(window.known[name][path, mine], values, err_msg=name, **tolerance)
        assert values.any()
