"""Paths sharded over several devices equal those of a single device."""

import jax
import numpy as np
import pytest

from lob_jax.generation import sharding
from tests.generation.market import COMPACT, KINDS, MODEL, TOKENIZER, assert_valid, lively, run


@pytest.mark.parametrize(("paths", "devices"), [(1, 1), (31, 1), (32, 2), (48, 3), (100, 5), (128, 8), (256, 8)])
def test_as_many_devices_as_share_the_paths_evenly(paths, devices):
    assert jax.local_device_count() == 8
    mesh = sharding.mesh_for(paths)
    assert (1 if mesh is None else mesh.size) == devices


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tokenizer"), [("learned", TOKENIZER), ("rotary", COMPACT)], ids=["exact", "compact"])
def test_paths_over_devices_are_those_of_one_device(kind, tokenizer):
    """31 paths use one device, 32 use two; they outgrow the context, and end at different tokens."""
    model = KINDS[kind]
    params, how = lively(model), {"model": model, "tokenizer": tokenizer, "events": 60}
    together, apart = run(params, paths=31, **how), run(params, paths=32, **how)
    assert_valid(apart, events=60, tokenizer=tokenizer)
    assert max(map(len, together.tokens)) > model.max_seq_length
    for name in ("tokens", "own"):
        for one, other in zip(getattr(together, name), getattr(apart, name), strict=False):
            np.testing.assert_array_equal(one, other)
    assert together.levels == apart.levels[:31]
    np.testing.assert_allclose(together.grammar_mass, apart.grammar_mass[:31], rtol=1e-4)


def test_the_state_lies_where_its_paths_are_drawn():
    mesh = sharding.mesh_for(32)
    whole, split = sharding.placed(
        32, lively(MODEL), {"row": np.zeros((32, 3)), "heads": np.zeros((64, 5, 2)), "one": 7}
    )
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves((whole, split))} == {mesh.size}
    assert all(leaf.sharding.is_fully_replicated for leaf in [*jax.tree.leaves(whole), split["one"]])
    assert {shard.data.shape for shard in split["heads"].addressable_shards} == {(32, 5, 2)}
