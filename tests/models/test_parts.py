"""The parts of tokens: which tokens share which, and the sum that an embedding is."""

import jax
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models.parts import PARTS, parts_of_tokens
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.tokens import vocabulary as v

ROWS = parts_of_tokens()


def shared(one, other):
    """Return which of the three parts two tokens share."""
    return (ROWS[one] == ROWS[other]).tolist()


def test_every_token_but_the_special_ones_has_parts_of_its_own():
    assert ROWS.shape == (v.VOCAB_SIZE, 3) and ROWS.min() == 0 and ROWS.max() == PARTS - 1
    assert len(np.unique(ROWS)) == PARTS
    assert len(np.unique(ROWS[: v.CLASS_SIZE], axis=0)) == 1
    assert len(np.unique(ROWS[v.CLASS_SIZE :], axis=0)) == v.VOCAB_SIZE - v.CLASS_SIZE


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1_037, 1_038, [True, False, True]),  # ADD of a bid, 37 and 38 ticks deeper
        (1_037, 1_040, [True, False, False]),
        (1_037, 1_537, [False, True, True]),  # of an ask
        (1_037, 3_037, [False, True, False]),  # DELETE
        (1_037, 5_037, [False, False, False]),  # EXECUTE_HIDDEN, in quanta
        (5_037, 6_537, [False, True, False]),  # CROSS, in quanta too
        (1_009, 1_009 + v.BETTER_CODE - 1, [True, False, False]),  # better, not deeper
        (1_000 + v.DEEPER_ESCAPE, 1_000 + 280, [True, False, False]),
        (8_036, 8_038, [True, False, True]),  # sizes of 36 and 38 lots
        (8_036, 8_126, [True, True, False]),  # of 36 and of 36x
        (8_005, 8_006, [True, False, False]),
        (8_036, 9_036, [False, False, False]),  # a gap
        (9_036, 9_126, [True, True, False]),
        (7_123, 7_177, [True, True, False]),  # digits
        (7_123, 7_823, [True, False, True]),
        (7_123, 8_123, [False, False, False]),
        (v.PAD, v.RANK_BASE, [True, True, True]),
    ],
)
def test_what_tokens_share(one, other, expected):
    assert shared(one, other) == expected


def test_an_embedding_is_the_sum_of_its_rows_wherever_it_is_read(tiny, lively, inputs):
    """As an input, as the number of a queue, and in a tied output projection: as if the sums were the table itself."""
    config = tiny(vocab_size=v.VOCAB_SIZE, token_parts=True, queue_state=True)
    params, (tokens_BT, conditioning) = lively(config), inputs(config, 2, 4)
    rows, parts = (np.asarray(params["embeddings"][name]["table"]) for name in ("token", "parts"))
    table_VD = np.asarray(LOBTransformer(config).apply({"params": params}, method="token_table"))
    np.testing.assert_allclose(table_VD, rows + sum(parts[ROWS[:, k]] for k in range(3)), rtol=1e-5, atol=1e-6)
    without = tiny(vocab_size=v.VOCAB_SIZE, queue_state=True)
    embeddings = {name: leaf for name, leaf in params["embeddings"].items() if name != "parts"}
    plain = {**params, "embeddings": {**embeddings, "token": {"table": table_VD}}}
    expected = LOBTransformer(without).apply({"params": plain}, tokens_BT, conditioning)
    found = LOBTransformer(config).apply({"params": params}, tokens_BT, conditioning)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_model_starts_as_if_it_had_no_parts(tiny, inputs):
    config = tiny(vocab_size=v.VOCAB_SIZE, token_parts=True)
    params = initial_parameters(config, jax.random.key(0))
    assert params["embeddings"]["parts"]["table"].shape == (PARTS, config.d_model)
    assert not np.asarray(params["embeddings"]["parts"]["table"]).any()


def test_another_vocabulary_has_no_parts(tiny):
    with pytest.raises(InputError, match=r"model\.token_parts(?s:.*)expected: False, unless"):
        tiny(token_parts=True)
