"""What a run takes over from another one: parameters of the same path and shape, and instruments by symbol."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from lob_jax.errors import InputError
from lob_jax.training.run.setup import prepare_run, state_with
from lob_jax.training.source import (
    INSTRUMENTS,
    allowed_differences,
    changed_settings,
    differences,
    in_layout_of,
    rows_of_symbols,
    taken_over,
)
from lob_jax.training.step.paths import by_path, nested, shapes_of
from lob_jax.training.step.state import Measured, abstract_params


def numbered(model):
    """Return parameters of a model that are all different: the position of each in the tree, and within its array."""
    shapes = abstract_params(model)
    count = iter(range(1, 1000))
    return jax.tree.map(
        lambda leaf: (next(count) + np.arange(leaf.size).reshape(leaf.shape) / 1e4).astype("f4"), shapes
    )


def test_differences_say_what_is_new_left_out_or_of_another_shape(model_config):
    theirs = {"a": (2,), "b": (3,), "c": (4, 5), INSTRUMENTS: (2, 8)}
    found = differences(theirs, {"b": (3,), "c": (4, 6), "d": (1,), INSTRUMENTS: (9, 8)})
    assert found == {"a": "left out, (2,)", "c": "(4, 5) becomes (4, 6)", "d": "new, (1,)"}
    assert differences(theirs, {**theirs, INSTRUMENTS: (2, 9)}) == {INSTRUMENTS: "(2, 8) becomes (2, 9)"}
    assert differences(shapes_of(numbered(model_config())), shapes_of(abstract_params(model_config()))) == {}


def test_models_that_differ_are_refused_unless_it_is_allowed(model_config):
    theirs, ours = model_config(max_seq_length=8), model_config(activation="swiglu", n_layers=2)
    with pytest.raises(InputError, match="the model differs from that of the run to start from") as error:
        allowed_differences(theirs, ours, allow=("blocks_1/*",))
    assert error.value.was.splitlines() == [
        "blocks_0/ffn/gate/bias: new, (32,)",
        "blocks_0/ffn/gate/kernel: new, (16, 32)",
        "embeddings/position/table: (8, 16) becomes (12, 16)",
    ]
    allow = ("blocks_1/*", "*/gate/*", "embeddings/position/*")
    assert len(allowed_differences(theirs, ours, allow=allow)) > 12
    with pytest.raises(InputError) as error:
        allowed_differences(theirs, ours, allow=())
    assert len(error.value.was.splitlines()) == 11 and error.value.was.splitlines()[-1].startswith("and ")
    with pytest.raises(InputError, match="a pattern matches no parameter"):
        allowed_differences(theirs, ours, allow=(*allow, "heads/*"))


def test_layers_are_stacked_as_the_new_run_has_them(model_config):
    loop, scan = model_config(n_layers=2), model_config(n_layers=2, scan_layers=True)
    assert allowed_differences(loop, scan, allow=()) == {}
    stacked = in_layout_of(numbered(loop), loop, scan)
    assert shapes_of(stacked) == shapes_of(abstract_params(scan))
    again = in_layout_of(stacked, scan, loop)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, numbered(loop)))


@pytest.mark.parametrize("stacked", [False, True])
def test_layers_of_a_model_with_more_are_stacked_as_the_new_run_has_them(model_config, stacked):
    theirs, ours = model_config(n_layers=3, scan_layers=not stacked), model_config(n_layers=2, scan_layers=stacked)
    found = allowed_differences(theirs, ours, allow=("blocks*",))
    taken = taken_over(in_layout_of(numbered(theirs), theirs, ours), found, symbols=[], known=[], instruments=0)
    wanted = shapes_of(abstract_params(ours))
    assert shapes_of(nested(taken)) == {name: shape for name, shape in wanted.items() if name not in found}
    assert any(name.startswith("blocks_1/") for name in taken) != stacked


def test_instruments_keep_their_rows_wherever_their_symbols_are():
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = rows_of_symbols(table, ["AAPL", "GOOG", "MSFT"], ["GOOG", "INTC", "MSFT"], rows=4)
    np.testing.assert_array_equal(found, [[np.nan] * 2, [0, 1], [4, 5], [np.nan] * 2])
    params = nested({INSTRUMENTS: table, "head/bias": table[0], "head/output": table})
    taken = taken_over(params, {"head/output": ""}, symbols=["A"], known=["B", "A"], instruments=1)
    assert set(taken) == {INSTRUMENTS, "head/bias"}
    np.testing.assert_array_equal(taken[INSTRUMENTS], [[2, 3]])


def test_a_state_has_what_was_taken_and_is_random_elsewhere(model_config, train_config, windows):
    """What is measured on data is that of the new data; the average starts from what was taken, too."""
    model, moments = model_config(n_instruments=2), np.array([[1] * 4, [2] * 4], np.float32)
    batch = windows(8) | {"instrument": np.zeros((8, model.max_seq_length + 1), np.int32)}
    given = {"total_steps": 4, "validation": [batch], "seed": 0, "devices": jax.devices(), "before": None}
    config = train_config(ema_decay=0.9, fsdp=2, micro_batch=1)
    measured = Measured(np.ones(40, np.int64), {"book": moments})
    run = prepare_run(model, config, measured=measured, **given)
    params = numbered(model)
    taken = taken_over(params, {"blocks_0/norm1/scale": ""}, symbols=["B", "C"], known=["A", "B"], instruments=2)
    state = state_with(run, taken)
    found, expected = by_path(jax.device_get(state.params)), by_path(params)
    for name, leaf in found.items():
        if name.rpartition("/")[2] in ("book_mean", "book_deviation"):
            assert np.all(leaf == (1 if name.endswith("mean") else 2))
        elif name == INSTRUMENTS:
            assert np.array_equal(leaf[0], expected[name][1]) and 0 < np.abs(leaf[1]).max() < 1
        elif name == "blocks_0/norm1/scale":
            assert np.all(leaf == 1)
        else:
            assert np.array_equal(leaf, expected[name]), name
    assert jax.tree.all(jax.tree.map(np.array_equal, state.params, state.average))
    assert state.params["blocks_0"]["ffn"]["widen"]["kernel"].sharding.spec == PartitionSpec("fsdp", None)


def test_settings_that_change_what_a_model_computes_are_told(model_config):
    rotary = dataclasses.replace(model_config(), positions="rotary", dtype="bfloat16")
    assert changed_settings(model_config(), rotary) == {"model.positions": ["learned", "rotary"]}
