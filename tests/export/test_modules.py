"""StableHLO of several platforms, of fixed and free sizes, and with arguments in any order becomes ONNX."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from lob_jax.errors import InputError
from lob_jax.export.graph.translate import graph_of

PLATFORMS = ("cpu", "cuda", "tpu")
WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)


def on_each(x):
    return jax.lax.platform_dependent(x, cpu=lambda x: x + 1, cuda=lambda x: x + 2, tpu=lambda x: x + 3)


def graph(function, *specs, platforms=PLATFORMS, **about):
    exported = jax.export.export(jax.jit(function), platforms=platforms)(*specs)
    return graph_of(exported.mlir_module_serialized, outputs=["out"], opset=18, **about)


def run(made, **given):
    return onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, given)[
        0
    ]


@pytest.mark.parametrize("rows", [4, "rows"])
@pytest.mark.parametrize("platforms", [PLATFORMS, ("cpu",), ("cuda", "cpu")])
def test_the_first_platform_is_written(rows, platforms):
    size = rows if rows == 4 else jax.export.symbolic_shape(rows)[0]
    spec = jax.ShapeDtypeStruct((size, 3), jnp.float32)
    made = graph(on_each, spec, platforms=platforms, weights={}, inputs={"x": (rows, 3)})
    found = run(made, x=np.zeros((4, 3), np.float32))
    np.testing.assert_array_equal(found, np.full((4, 3), {"cpu": 1, "cuda": 2}[platforms[0]]))
    assert {node.op_type for node in made.graph.node} <= {"Add", "Identity"}


def test_branches_that_data_choose_are_refused():
    def choose(index, x):
        return jax.lax.switch(index, [jnp.sin, jnp.cos, jnp.tanh], x)

    specs = (jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((3,), jnp.float32))
    with pytest.raises(InputError, match="chosen by data"):
        graph(choose, *specs, weights={}, inputs={"index": (), "x": (3,)})


@pytest.mark.parametrize("platforms", [PLATFORMS, ("cpu",)])
def test_arguments_come_in_the_order_that_is_said(platforms):
    rows, columns = jax.export.symbolic_shape("rows, columns")
    specs = (
        jax.ShapeDtypeStruct((rows, 3), jnp.float32),
        jax.ShapeDtypeStruct((3, 2), jnp.float32),
        jax.ShapeDtypeStruct((rows, columns), jnp.float32),
    )
    made = graph(
        lambda x, w, y: on_each(x @ w).sum(1, keepdims=True) - y,
        *specs,
        platforms=platforms,
        weights={"w": WEIGHT},
        inputs={"y": ("rows", "columns"), "x": ("rows", 3), "unused": ("rows",)},
        arguments=("x", "w", "y"),
    )
    assert [each.name for each in made.graph.input] == ["y", "x"]
    assert [each.name for each in made.graph.initializer if each.name == "w"] == ["w"]
    x, y = np.ones((5, 3), np.float32), np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(run(made, x=x, y=y), np.full((5, 4), (WEIGHT.sum() + 2) - 1))
