"""The output projection, and the rank of its rows of digits."""

import jax
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens import vocabulary as v

DIGITS = slice(v.CONTINUATION, v.CONTINUATION + v.CLASS_SIZE)


@pytest.mark.parametrize("tied", [True, False])
def test_the_rows_of_digits_have_their_rank_and_the_others_are_the_table(tiny, lively, inputs, tied):
    config = tiny(vocab_size=v.VOCAB_SIZE, digits_rank=2, tie_embeddings=tied)
    params = lively(config)
    weight_VD = np.asarray(LOBTransformer(config).apply({"params": params}, method="projection").weight_VD)
    table_VD = params["embeddings"]["token"]["table"] if tied else params["head"]["output"]
    others = np.delete(np.arange(v.VOCAB_SIZE), np.r_[DIGITS])
    np.testing.assert_array_equal(weight_VD[others], np.asarray(table_VD)[others])
    assert np.linalg.matrix_rank(weight_VD[DIGITS]) == 2 < np.linalg.matrix_rank(np.asarray(table_VD)[DIGITS])
    digits, inwards = params["head"]["digits"], params["head"]["digits_input"]
    expected = [(digits[0, n // 100] + digits[1, n // 10 % 10] + digits[2, n % 10]) @ inwards for n in range(1_000)]
    np.testing.assert_allclose(weight_VD[DIGITS], expected, rtol=1e-5, atol=1e-6)
    tokens_BT, conditioning = inputs(config, 2, 3)
    features, _ = LOBTransformer(config).apply({"params": params}, tokens_BT, conditioning, method="features")
    logits_BTV = LOBTransformer(config).apply({"params": params}, tokens_BT, conditioning)
    bias_V, places = np.array(params["head"]["bias"]), np.asarray(params["head"]["digits_bias"])
    bias_V[DIGITS] = [places[0, n // 100] + places[1, n // 10 % 10] + places[2, n % 10] for n in range(1_000)]
    expected = features.x_BTD @ weight_VD.T + bias_V
    np.testing.assert_allclose(logits_BTV, expected, rtol=1e-4, atol=1e-4)


def test_a_compiled_program_may_close_over_parameters_in_numpy(tiny, lively, inputs):
    config = tiny(vocab_size=v.VOCAB_SIZE, digits_rank=2)
    model, params = LOBTransformer(config), lively(config)
    given = inputs(config, 2, 3)
    expected = jax.jit(lambda params: model.apply({"params": params}, *given))(params)
    closed = jax.tree.map(np.asarray, params)
    np.testing.assert_allclose(
        jax.jit(lambda: model.apply({"params": closed}, *given))(), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "changes", [{"digits_rank": -1}, {"digits_rank": 2, "vocab_size": 40}], ids=["sign", "vocabulary"]
)
def test_a_rank_that_does_not_fit_is_refused(tiny, changes):
    with pytest.raises(InputError, match=r"model\.digits_rank"):
        tiny(**changes)
