"""Exact sizes, so that a change of architecture cannot pass unseen."""

import dataclasses

import pytest

from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.models.accounting import flops_per_token, non_embedding_count, parameter_count

SIZES = {"small": (512, 6, 8, 2048), "base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096)}


def config_of(size, **changes):
    d_model, n_layers, n_heads, d_ff = SIZES[size]
    fields = {
        "vocab_size": 10_000,
        "max_seq_length": 1024,
        "dropout": 0.1,
        "tie_embeddings": True,
        "norm": "pre",
        "positions": "learned",
        "time_of_day": True,
        "time_buckets": 288,
        "day_of_week": True,
        "book_state": False,
        "book_features": 20,
        "dtype": "bfloat16",
    }
    shape = {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "d_ff": d_ff}
    return dataclasses.replace(model_config(base.get_config()), **(shape | fields | changes))


def by_hand(size):
    D, L, _, F = SIZES[size]
    attention = 3 * D * D + 3 * D + D * D + D
    ffn = D * F + F + F * D + D
    block = attention + ffn + 2 * 2 * D
    head = D * D + D + 2 * D + 10_000
    lookup = (10_000 + 1024 + 288 + 7) * D
    return lookup + 2 * D + L * block + 2 * D + head


@pytest.mark.parametrize(
    ("size", "tied", "count"),
    [
        ("small", True, 24_985_360),
        ("small", False, 30_105_360),
        ("base", True, 94_352_656),
        ("base", False, 102_032_656),
        ("large", True, 314_965_776),
        ("large", False, 325_205_776),
    ],
)
def test_parameters_of_the_standard_sizes(size, tied, count):
    assert parameter_count(config_of(size, tie_embeddings=tied)) == count
    assert by_hand(size) + (0 if tied else 10_000 * SIZES[size][0]) == count


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"norm": "post"}, -2 * 512),  # no last norm
        ({"positions": "rotary"}, -1024 * 512),
        ({"positions": "sinusoidal"}, -1024 * 512),
        ({"time_of_day": False}, -288 * 512),
        ({"day_of_week": False}, -7 * 512),
        ({"book_state": True}, 20 * 512 + 512 + 2 * 20),
        ({"flow_state": True}, 80 * 512 + 512 + 2 * 80),
        ({"queue_state": True}, 12 * 512),
        ({"price_memory": True}, 4 * 512),
        ({"latest_tokens": True}, 12 * 512),
        ({"token_parts": True}, 2_114 * 512),
        ({"digits_rank": 4}, 4 * (30 + 512) + 30),
        ({"gap_components": 6}, 18 * (512 + 1)),
        ({"pointer": True}, (151 + 30) * (512 + 1)),
        ({"dtype": "float32"}, 0),
    ],
)
def test_parameters_of_each_option(changes, difference):
    assert parameter_count(config_of("small", **changes)) - parameter_count(config_of("small")) == difference


def test_lookup_tables_are_no_part_of_the_non_embedding_count():
    lookup = (10_000 + 1024 + 288 + 7) * 512
    assert non_embedding_count(config_of("small")) == 24_985_360 - lookup
    assert non_embedding_count(config_of("small", tie_embeddings=False)) == 30_105_360 - lookup


@pytest.mark.parametrize("tied", [True, False])
def test_training_flops_a_token(tied):
    # 6 N + 12 L D T with N = 94,352,656 less position, time and day tables; a tied head multiplies by the token table.
    multiplied = 94_352_656 - (1024 + 288 + 7) * 768
    expected = 6 * multiplied + 12 * 12 * 768 * 1024
    assert flops_per_token(config_of("base", tie_embeddings=tied), 1024) == expected == 673_284_192
