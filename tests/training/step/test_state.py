import jax
import numpy as np

from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens import vocabulary as v
from lob_jax.training.step.optimizer import make_optimizer
from lob_jax.training.step.state import Measured, abstract_params, init_state


def test_the_seed_alone_decides_the_first_state(model_config, train_config):
    optimizer = make_optimizer(train_config(), 10)
    make = jax.jit(lambda seed: init_state(model_config(), optimizer, seed=seed))
    one, same, other = (make(seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(same), strict=True))
    table = [state.params["embeddings"]["token"]["table"] for state in (one, other)]
    assert not np.array_equal(*table)
    assert int(one.step) == int(one.skipped) == int(one.skipped_in_row) == 0


def test_measured_moments_of_the_book_are_among_the_parameters(model_config, train_config):
    optimizer, moments_2F = make_optimizer(train_config(), 10), np.arange(8, dtype=np.float32).reshape(2, 4)
    found = init_state(model_config(), optimizer, seed=0, measured=Measured(moments={"book": moments_2F})).params[
        "embeddings"
    ]
    np.testing.assert_array_equal([found["book_mean"], found["book_deviation"]], moments_2F)
    raw = init_state(
        model_config(standardize_book=False), optimizer, seed=0, measured=Measured(moments={"book": moments_2F})
    )
    assert "book_mean" not in raw.params["embeddings"]


def test_shapes_are_known_without_the_parameters(model_config, train_config):
    state = jax.jit(lambda: init_state(model_config(), make_optimizer(train_config(), 10), seed=0))()
    shapes = abstract_params(model_config())
    assert jax.tree.map(lambda leaf: leaf.shape, shapes) == jax.tree.map(lambda leaf: leaf.shape, state.params)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}


def test_the_heads_bias_starts_at_the_frequencies_of_the_training_tokens(model_config, train_config):
    config, optimizer = model_config(), make_optimizer(train_config(), 10)
    counts = np.arange(config.vocab_size)
    plain = init_state(config, optimizer, seed=0).params
    informed = init_state(config, optimizer, seed=0, measured=Measured(token_counts=counts)).params
    np.testing.assert_allclose(np.exp(informed["head"]["bias"]), (counts + 1) / (counts + 1).sum(), rtol=1e-5)
    assert not plain["head"]["bias"].any()
    informed["head"]["bias"] = plain["head"]["bias"]
    jax.tree.map(np.testing.assert_array_equal, informed, plain)


def test_biases_of_further_digits_start_at_the_frequencies_of_each_place(model_config, train_config):
    config = model_config(digits_rank=2, vocab_size=v.VOCAB_SIZE)
    counts, digits = np.zeros(v.VOCAB_SIZE, np.int64), np.arange(1_000)
    counts[v.CONTINUATION : v.CONTINUATION + 1_000] = 3 * (1 + digits // 100) * (1 + digits % 10 * 2) - 1
    counts[v.SIZE : v.SIZE + 1_000] = 999
    measured = Measured(token_counts=counts)
    params = init_state(config, make_optimizer(train_config(), 10), seed=0, measured=measured).params
    bias_V = LOBTransformer(config).apply({"params": params}, method="projection").bias_V
    # Places are independent in these counts, so that sums over places are the frequencies of the codes.
    np.testing.assert_allclose(np.exp(bias_V), (counts + 1) / (counts + 1).sum(), rtol=1e-4)
