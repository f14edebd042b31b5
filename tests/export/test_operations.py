"""Each operation of StableHLO that is translated, against JAX, at sizes other than those that were traced."""

import dataclasses
import functools
from collections.abc import Callable

import hypothesis
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import strategies
from jax import lax
from jax.extend import mlir
from jax.extend.mlir import ir

from lob_jax.errors import InputError
from lob_jax.export.graph import translate
from lob_jax.export.graph.fold import folded
from lob_jax.export.graph.operations import OPERATIONS
from lob_jax.models import named

SIZES = {"b": 3, "t": 5, "s": 4}  # of the run; programs are traced with symbols
TOLERANCE = 1e-6
RANDOM = np.random.default_rng(0)
WEIGHT_DEH = RANDOM.standard_normal((6, 2, 3)).astype(np.float32)
TABLE_RD = RANDOM.standard_normal((7, 3)).astype(np.float32)
LSTM = tuple(RANDOM.standard_normal(shape).astype(np.float32) for shape in ((4, 12), (3, 12), 12))
MORE_THAN_16_BITS = np.arange(-40_000, 40_000, 1_337, np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A program and what it is run on.

    Attributes:
      name: what it is a test of.
      run: the program, a function of the weights, then of the inputs.
      inputs: dtype and shape of each input, as text: "float32 b t 4"; arrays where the elements matter.
      weights: the arrays that are initializers of the graph.
      opset: the version of ONNX's operators.
      tolerance: greatest difference of floats, relative to the size of numbers above 1; integers are equal.
      made: operators that the graph must have, or, with a "-" in front, must not have.
    """

    name: str
    run: Callable
    inputs: tuple = ()
    weights: tuple = ()
    opset: int = 18
    tolerance: float = TOLERANCE
    made: tuple[str, ...] = ()

    def __repr__(self):
        return self.name

    @functools.cached_property
    def shapes(self):
        """Return (dtype, dims) of each input; dims are numbers, or the names of sizes."""

        def shape(each):
            if isinstance(each, np.ndarray):
                return each.dtype, each.shape
            dtype, *dims = each.split()
            return np.dtype(dtype), tuple(int(size) if size.isdigit() else size for size in dims)

        return [shape(each) for each in self.inputs]

    def arrays(self, sizes=SIZES):
        """Return inputs for a run: random, where the case has no elements of its own."""
        random = np.random.default_rng(7)
        return [
            each if isinstance(each, np.ndarray) else drawn(random, dtype, [sizes.get(size, size) for size in dims])
            for each, (dtype, dims) in zip(self.inputs, self.shapes, strict=True)
        ]

    @functools.cached_property
    def written(self):
        """Return the graph, and the operations that were translated for it."""
        names = sorted({size for _, dims in self.shapes for size in dims if isinstance(size, str)})
        symbols = dict(zip(names, jax.export.symbolic_shape(", ".join(names)), strict=True)) if names else {}
        specs = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in self.weights]
        specs += [jax.ShapeDtypeStruct([symbols.get(size, size) for size in dims], kind) for kind, dims in self.shapes]
        exported = jax.export.export(jax.jit(self.run), platforms=["cpu"])(*specs)
        seen, registered = set(), dict(OPERATIONS)

        def watched(name):
            def translation(*arguments):
                seen.add(name)
                return registered[name](*arguments)

            return translation

        with pytest.MonkeyPatch.context() as patch:
            for name in registered:
                patch.setitem(OPERATIONS, name, watched(name))
            graph = translate.graph_of(
                exported.mlir_module_serialized,
                weights={f"weight_{k}": array for k, array in enumerate(self.weights)},
                inputs={f"input_{k}": dims for k, (_, dims) in enumerate(self.shapes)},
                outputs=[f"output_{k}" for k in range(len(exported.out_avals))],
                opset=self.opset,
            )
        onnx.checker.check_model(graph, full_check=True)
        return graph, seen

    def check(self, arrays=None):
        """Compare the graph, as it is written and folded, with JAX."""
        arrays = self.arrays() if arrays is None else arrays
        expected = jax.tree.leaves(jax.jit(self.run)(*self.weights, *arrays))
        written = self.written[0]
        for graph in {id(each): each for each in (written, folded(written))}.values():
            for found, wanted in zip(results(graph, arrays), expected, strict=True):
                assert found.shape == wanted.shape
                if wanted.dtype.kind == "f":
                    np.testing.assert_allclose(found, wanted, rtol=self.tolerance, atol=self.tolerance)
                else:
                    np.testing.assert_array_equal(found, wanted)


def drawn(random, dtype, dims):
    """Return random elements of a type, of both signs where it has signs."""
    if dtype.kind == "b":
        return random.integers(0, 2, dims).astype(bool)
    if dtype.kind == "f":
        return random.standard_normal(dims).astype(dtype)
    return random.integers(0 if dtype.kind == "u" else -5, 9, dims).astype(dtype)


def results(graph, arrays):
    """Return what ONNX Runtime computes."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # it warns of what it folds away
    session = onnxruntime.InferenceSession(graph.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    read = {each.name: np.int64 if each.type == "tensor(int64)" else None for each in session.get_inputs()}
    given = {f"input_{k}": np.asarray(array) for k, array in enumerate(arrays)}
    return session.run(None, {name: given[name].astype(kind or given[name].dtype) for name, kind in read.items()})


X, Y, I, U = "float32 b t 4", "float32 b t 4", "int32 b t 4", "uint32 b t 4"  # noqa: E741
SIGNED = np.array([-7, -6, -1, 0, 1, 6, 7, 2**31 - 1, -(2**31)], np.int32)
DIVISORS = np.array([2, -4, 3, 5, -5, 4, -2, 7, 10], np.int32)
SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 0.5], np.float32)
OUTSIDE = np.array([[-9, -1, 0, 6], [7, 99, 3, 2**31 - 1]], np.int32)  # for a table of 7 rows
COLUMNS = np.array([[0, 3, 3, 1], [2, 2, 2, 2], [0, 1, 2, 3]], np.int8)
PLACES = np.array([4, 0, 4, 6], np.int32)  # two are equal
WIDE = np.linspace(-9, 9, 300, dtype=np.float32).reshape(3, 100)
LARGE = np.array([0, 1, 2_000_003, 123_456_789, 2**31 - 1], np.int32)


def rotated_phases(position):
    """Return multiples of 2^-32 turns, which wrap around, as in `embeddings.rotate`."""
    return position[..., None].astype(jnp.uint32) * np.array([2**32 - 1, 683_565_276, 1, 2**31], np.uint32)


ELEMENTWISE = [
    *(
        Case(name, function, (X,))
        for name, function in {
            "exponential": jnp.exp,
            "tanh": jnp.tanh,
            "negate": jnp.negative,
            "abs": jnp.abs,
            "logistic": lax.logistic,
            "sine": jnp.sin,
            "cosine": jnp.cos,
            "floor": jnp.floor,
            "ceil": jnp.ceil,
            "sign": jnp.sign,
            "erf": lax.erf,
            "round to even": lambda x: jnp.round(x * 4) / 2,
            "exponential minus one": jnp.expm1,
            "log": lambda x: jnp.log(jnp.abs(x) + 0.1),
            "log plus one": lambda x: jnp.log1p(jnp.abs(x)),
            "root": lambda x: jnp.sqrt(jnp.abs(x)),
            "reciprocal root": lambda x: lax.rsqrt(jnp.abs(x) + 0.1),
            "power of floats": lambda x: jnp.abs(x) ** 1.7,
            "a scalar on either side": lambda x: 2 - x * 3 / (x + 9),
        }.items()
    ),
    Case("add and multiply", lambda x, y: (x + y, x - y, x * y, x / y), (X, Y)),
    Case("greatest and least", lambda x, y: (jnp.maximum(x, y), jnp.minimum(x, 0.2)), (X, Y)),
    Case("greatest of NaN", lambda x: (jnp.maximum(x, 1), jnp.minimum(1, x)), (SPECIAL,)),
    Case("clamped", lambda x: jnp.clip(x, -0.5, 0.7), (X,)),
    Case("clamped by arrays", lambda x, y: lax.clamp(y - 1, x, y), (X, Y)),
    Case("clamped to computed scalars", lambda x, y: lax.clamp(y[0] - 1, x, y[0]), (X, "float32 3")),
    Case("clamped NaN", lambda x: lax.clamp(np.float32(0), x, np.float32(1)), (SPECIAL,)),
    Case("finite", jnp.isfinite, (SPECIAL,)),
    Case("NaN and not", lambda x: (jnp.isnan(x), x != x, x == x, x > 0, x >= x), (SPECIAL,)),
    Case("compared", lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y), ("int32 b t", "int32 b t")),
    Case("compared int16", lambda x, y: (x < y, x >= y, x == y, x != y), ("int16 b t", "int16 b t")),
    Case("compared int8", lambda x, y: (x < y, x >= y, x == y, x != y), ("int8 b t", "int8 b t")),
    Case("compared uint8", lambda x, y: (x < y, x >= y, x == y, x != y), ("uint8 b t", "uint8 b t")),
    Case("compared truths", lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y), ("bool b t", "bool b t")),
    Case("truths", lambda x, y: (x & y, x | y, x ^ y, ~x, x + y, x * y), ("bool b t", "bool b t")),
    Case("greatest of truths", lambda x, y: (jnp.maximum(x, y), jnp.minimum(x, y)), ("bool b t", "bool b t")),
    Case("bits", lambda x, y: (x & y, x | y, x ^ y, ~x), (I, I)),
    Case("bits of bytes", lambda x, y: (x & y, x | y, x ^ y, ~x), ("uint8 b t", "uint8 b t")),
    Case("bits of unsigned", lambda x, y: (x & y, x | y, x ^ y, ~x), (U, U)),
    Case("selected", lambda m, x, y: jnp.where(m, x, y), ("bool b t 4", X, Y)),
    Case("selected by rows", lambda m, x: jnp.where(m[:, None, None], x, -1), ("bool b", X)),
    Case("selected by a scalar", lambda m, x, y: lax.select(m[0], x, y), ("bool 3", X, Y)),
    Case("selected truths", lambda m, x, y: jnp.where(m, x, y), ("bool b t", "bool b t", "bool b t")),
    Case("selected int16", lambda m, x: jnp.where(m, x, -x), ("bool b t", "int16 b t")),
    Case("selected of known scalars", lambda m: jnp.where(m, 1.5, -2.0), ("bool b t",)),
]
INTEGERS = [
    Case("floor division of negatives", lambda x, y: x // y, (SIGNED, DIVISORS)),
    Case("division toward zero", lax.div, (SIGNED, DIVISORS)),
    Case("remainder has the sign of the dividend", lax.rem, (SIGNED, DIVISORS)),
    Case("modulo has the sign of the divisor", lambda x, y: x % y, (SIGNED, DIVISORS)),
    Case("modulo of a size", lambda x: x % x.shape[0], ("int32 b",)),
    Case("remainder of floats", lambda x, y: (jnp.mod(x, y), lax.rem(x, y)), (X, Y), tolerance=1e-5),
    Case("remainder of small integers", lambda x: (x % 3, x // 3), ("int16 b t",)),
    Case("remainder of bytes", lambda x: (x % 3, x // 3), ("uint8 b t",)),
    Case("integers wrap around", lambda x: (x + x, x * x, x - 5), (SIGNED,)),
    Case("small integers wrap around", lambda x: (x + x, x * x), (np.array([-120, 100, 7, -128], np.int8),)),
    Case("int16 wraps around", lambda x: (x + x, x * x), (np.array([-30_000, 30_000, 7], np.int16),)),
    Case("small integers clamped", lambda x: (jnp.clip(x, -2, 3), jnp.maximum(x, 1)), ("int16 b t",)),
    Case("bytes clamped", lambda x: (jnp.clip(x, 2, 5), jnp.maximum(x, 3), jnp.minimum(x, 3)), ("uint8 b t",)),
    Case("bytes summed", lambda x: (x.max(1), x.min(1), lax.reduce(x, np.uint8(0), lax.max, (0,))), ("uint8 b t",)),
    Case("bytes chosen", lambda m, x: jnp.where(m, x, 7), ("bool b t", "uint8 b t")),
    Case("bytes padded", lambda x: jnp.pad(x, ((1, 0), (0, 2))), ("uint8 b t",)),
    Case("int8 negated", lambda x: (-x, jnp.abs(x), jnp.sign(x)), ("int8 b t",)),
    Case("int16 negated", lambda x: (-x, jnp.abs(x), jnp.sign(x)), ("int16 b t",)),
    Case("bytes scattered", lambda x, i: x.at[i].add(2, mode="promise_in_bounds"), ("uint8 7", PLACES)),
    Case("powers of integers", lambda x: (x**2, x**3), ("int32 b t",)),
    Case(
        "unsigned wrap around",
        lambda x, y: (x + y, x - y, x * y, -x),
        (SIGNED.astype(np.uint32), DIVISORS.astype(np.uint32)),
    ),
    Case("unsigned products wrap around", lambda x: x * np.uint32(2**32 - 1), (SIGNED.astype(np.uint32),)),
    Case("unsigned sums wrap around", lambda x: (x.sum(), x.cumsum()), (SIGNED.astype(np.uint32),)),
    Case("unsigned division", lambda x: (x // 7, x % 1_000), (SIGNED.astype(np.uint32),)),
    Case("unsigned of negative", lambda x: x.astype(jnp.uint32), (SIGNED,)),
    Case("unsigned of a negative constant", lambda x: x + jnp.asarray(SIGNED).astype(jnp.uint32), ("uint32 9",)),
    Case(
        "unsigned of bytes and truths", lambda x, y: x.astype(jnp.uint32) + y.astype(jnp.uint32), ("uint8 b", "bool b")
    ),
    Case("signed of unsigned", lambda x: x.astype(jnp.int32), (SIGNED.astype(np.uint32),)),
    Case("floats of unsigned", lambda x: x.astype(jnp.float32), (SIGNED.astype(np.uint32),)),
    Case("unsigned compared", lambda x: (x > np.uint32(2**31), x < 7), (SIGNED.astype(np.uint32),)),
    Case("unsigned size", lambda x: x * (jnp.uint32(x.shape[0]) * np.uint32(3_000_000_000)), ("uint32 b",)),
    Case("phases of positions in the millions", lambda x: rotated_phases(x).astype(jnp.float32), (LARGE,)),
    Case("whole numbers of floats", lambda x: (x * 3).astype(jnp.int32), (X,)),
    Case("floats of truths", lambda x: x.astype(jnp.float32) * 2, ("bool b t",)),
    Case("truths of numbers", lambda x, y: (x.astype(bool), y.astype(bool)), (X, I)),
    Case("narrower integers wrap", lambda x: (x.astype(jnp.int16), x.astype(jnp.int8)), (MORE_THAN_16_BITS,)),
    Case("narrower constants wrap", lambda x: x + jnp.asarray(MORE_THAN_16_BITS).astype(jnp.int16), ("int16 60",)),
    Case("half precision", lambda x: (x.astype(jnp.float16) * 2).astype(jnp.float32), (X,), tolerance=2e-3),
]
SHAPES = [
    Case("a row against all", lambda x, y: x + y, (X, "float32 4")),
    Case("a column against all", lambda x, y: x * y[:, None, None], (X, "float32 b")),
    Case(
        "lazy through a chain",
        lambda x, y: x * (jnp.exp(y * 2)[None, :, None] - 1),
        (X, "float32 t"),
        made=("-Expand",),
    ),
    Case("outer", lambda x, y: x[:, None] + y[None, :], ("float32 b", "float32 t"), made=("-Expand",)),
    Case("a broadcast that is the result", lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 6)), ("float32 b",)),
    Case("constants broadcast", lambda x: x + np.arange(4, dtype=np.float32) * 2, (X,)),
    Case("a full array", lambda x: jnp.full((x.shape[0], 2), 7.0), ("float32 b",)),
    Case("a size as a number", lambda x: x * x.shape[0] + x.shape[1] * 2, ("int32 b t",)),
    Case("a size in a matrix of one", lambda x: jnp.full((1, 1), x.shape[0]) + x, ("int32 b t",)),
    Case(
        "sizes added, subtracted, multiplied", lambda x: jnp.zeros((x.shape[0] * 2 + x.shape[1] - 1,)), ("int32 b t",)
    ),
    Case("merged axes", lambda x: x.reshape(-1, 4), (X,)),
    Case("split axes", lambda x, y: (x.reshape(-1, 4) * 2).reshape(*y.shape, 2, 2), (X, "float32 b t")),
    Case("merged inner axes", lambda x: x.reshape(x.shape[0], -1), (X,)),
    Case("merged all", lambda x: x.reshape(-1), (X,)),
    Case(
        "merged broadcast axes",
        lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 3, x.shape[1])).reshape(-1),
        ("float32 b t",),
    ),
    Case("axes of one come and go", lambda x: (x[:, None, :, None] * 2)[:, 0, :, 0, None], ("float32 b t",)),
    Case("axes of one go together", lambda x: x[..., None].squeeze((1, 2)), ("float32 b 1",)),
    Case("the last few of a symbolic axis", lambda x: x[:, -3:] * 2, (X,)),
    Case("a scalar as a matrix", lambda x: x[0].reshape(1, 1), ("float32 4",)),
    Case("constant reshaped", lambda x: x + np.arange(4, dtype=np.float32).reshape(2, 2).reshape(4), (X,)),
    Case("transposed", lambda x: (x.transpose(2, 0, 1), x.T), (X,)),
    Case("transposed broadcast", lambda x, y: (x + jnp.broadcast_to(y, x.shape)).T * 2, (X, "float32 t 4")),
    Case("transposed constant", lambda x: x @ np.arange(12, dtype=np.float32).reshape(3, 4).T, (X,)),
    Case("joined", lambda x, y: jnp.concatenate([x, y], 1), (X, "float32 b s 4")),
    Case("joined with a constant", lambda x: jnp.concatenate([x, jnp.ones((*x.shape[:2], 3))], -1), (X,)),
    Case("joined truths", lambda x, y: jnp.concatenate([x, y], 0), ("bool b 2", "bool s 2")),
    Case("joined int16", lambda x: jnp.concatenate([x, x], -1), ("int16 b 2",)),
    Case("stacked", lambda x, y: jnp.stack([x, y], 1), (X, Y)),
    Case("shifted", lambda x: jnp.concatenate([jnp.zeros_like(x[:, :1]), x[:, :-1]], 1) - x, (X,)),
    Case("slices", lambda x: (x[..., 1:3], x[..., ::2], x[..., 3:]), (X,)),
    Case(
        "slices of a broadcast",
        lambda x, y: (x + y)[..., 1:3] + jnp.broadcast_to(y, (5, 4))[:2, :1].sum(),
        (X, "float32 4"),
    ),
    Case("the last of a symbolic axis", lambda x: (x[:, -1:], x[:, -1], x[:, 1:]), (X,)),
    Case("split", lambda x: jnp.split(x, 2, axis=-1), (X,)),
    Case("padded", lambda x: jnp.pad(x, ((0, 0), (2, 1), (0, 3)), constant_values=7), (X,)),
    Case("padded with a computed number", lambda x: lax.pad(x, x[0, 0, 0], ((0, 0, 0), (1, 0, 0), (0, 0, 0))), (X,)),
    Case("padded truths", lambda x: jnp.pad(x, ((1, 0), (0, 2))), ("bool b t",)),
    Case("padded int16", lambda x: jnp.pad(x, ((1, 0), (0, 2))), ("int16 b t",)),
    *(
        Case(f"iota on axis {axis}", lambda x, axis=axis: lax.broadcasted_iota("int32", x.shape, axis) * 2, (X,))
        for axis in range(3)
    ),
    Case(
        "iota of floats", lambda x: jnp.arange(x.shape[0], dtype=jnp.float32) / 2 + jnp.arange(3)[:, None], ("int32 b",)
    ),
    Case(
        "a triangle", lambda x: jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool)) & (x[:, :, None] > 0), ("int32 b t",)
    ),
    Case("an identity matrix", lambda x: x @ jnp.eye(4), (X,)),
    Case("barrier", lambda x: lax.optimization_barrier(x * 2), (X,)),
    Case("a function that is called twice", lambda x: jax.jit(jnp.tanh)(jax.jit(jnp.tanh)(x)), (X,)),
]
PRODUCTS = [
    Case("matrix product", lambda x, y: x @ y, (X, "float32 4 3"), tolerance=1e-5, made=("MatMul", "-Einsum")),
    Case("a product with a transposed matrix", lambda x, y: x @ y.T, (X, "float32 3 4"), tolerance=1e-5),
    Case("batched product", lambda x, y: jnp.einsum("btd,bsd->bts", x, y), (X, "float32 b s 4"), tolerance=1e-5),
    Case(
        "heads",
        lambda x, y: jnp.einsum("btnh,bsnh->bnts", x, y),
        ("float32 b t 2 4", "float32 b s 2 4"),
        tolerance=1e-5,
        made=("MatMul", "-Einsum"),
    ),
    Case("vector and matrix", lambda x, y: (x @ y, y.T @ x), ("float32 4", "float32 4 3"), tolerance=1e-5),
    Case("inner product", lambda x, y: x @ y, ("float32 b", "float32 b"), tolerance=1e-5),
    Case(
        "batched inner product",
        lambda x, y: jnp.einsum("bt,bt->b", x, y),
        ("float32 b t", "float32 b t"),
        tolerance=1e-5,
    ),
    Case("outer product", lambda x, y: jnp.einsum("b,t->bt", x, y), ("float32 b", "float32 t")),
    Case("two axes summed", lambda x, y: jnp.einsum("btd,btd->", x, y), (X, Y), tolerance=1e-5),
    Case(
        "several free axes",
        lambda x, y: jnp.einsum("bst,bdeh->bstdeh"[:-6] + "bstdeh", x, y),
        ("float32 b s t", "float32 b 2 2 2"),
        tolerance=1e-5,
    ),
    Case(
        "weights of several axes",
        lambda w, x: jnp.einsum("btd,deh->bteh", x, w),
        ("float32 b t 6",),
        (WEIGHT_DEH,),
        tolerance=1e-5,
        made=("MatMul", "-Einsum"),
    ),
    Case(
        "weights summed over several axes",
        lambda w, x: jnp.einsum("bteh,deh->btd", x, w),
        ("float32 b t 2 3",),
        (WEIGHT_DEH,),
        tolerance=1e-5,
        made=("MatMul", "-Einsum"),
    ),
    Case(
        "weights summed away",
        lambda w, x: jnp.einsum("bdeh,deh->b", x, w),
        ("float32 b 6 2 3",),
        (WEIGHT_DEH,),
        tolerance=1e-5,
    ),
    Case(
        "weights that are all the same",
        lambda x: jnp.tensordot(x, jnp.full((2, 3, 4), 0.5), 2),
        ("float32 b t 2 3",),
        tolerance=1e-5,
    ),
    Case(
        "weights twice",
        lambda w, x: jnp.einsum("btd,deh->bteh", x, w).sum() + x @ w[:, 0] @ w[:, 0].T,
        ("float32 b t 6",),
        (WEIGHT_DEH,),
        tolerance=1e-4,
    ),
    Case(
        "broadcast operands",
        lambda x, y: jnp.einsum("btd,bsd->bts", x, jnp.broadcast_to(y, (x.shape[0], 3, 4))),
        (X, "float32 4"),
        tolerance=1e-5,
    ),
    Case("product of integers", lambda x, y: x @ y, ("int32 b 4", "int32 4 3")),
    Case(
        "product of small integers",
        lambda x, y: (x @ y, lax.dot(x, y, preferred_element_type=jnp.int32)),
        ("int8 b 4", "int8 4 3"),
    ),
    Case("product of unsigned", lambda x, y: x @ y, (np.full((2, 4), 2**31, np.uint32), "uint32 4 3")),
]
REDUCTIONS = [
    Case("sums", lambda x: (x.sum(), x.sum(1), x.sum(-1, keepdims=True), x.sum((0, 2))), (X,), tolerance=1e-5),
    Case("greatest", lambda x: (x.max(), x.max(1), x.min(-1, keepdims=True), x.min((0, 2))), (X,)),
    Case("sums over no axis", lambda x: lax.reduce(x, np.float32(0), lax.add, ()) * 2, (X,)),
    Case("products", lambda x: x.prod(-1), (X,)),
    Case("means", lambda x: (x.mean(), x.mean(1), x.var(-1)), (X,), tolerance=1e-5),
    Case("a repeated axis summed", lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 6, 4)).sum(1), ("float32 b 4",)),
    Case(
        "another axis of a broadcast summed",
        lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 6, 4)).sum(-1),
        ("float32 b 4",),
        tolerance=1e-5,
    ),
    Case(
        "a repeated symbolic axis",
        lambda x, y: jnp.broadcast_to(x, (*y.shape, 4)).sum((0, 1)),
        ("float32 4", "float32 b t"),
        tolerance=1e-5,
    ),
    Case("sums from a number", lambda x: lax.reduce(x, np.float32(5), lax.add, (1,)), (X,), tolerance=1e-5),
    Case(
        "greatest from a number",
        lambda x: (jnp.max(x, -1, initial=0.3), lax.reduce(x, np.float32(0.3), lax.max, (1,))),
        (X,),
    ),
    Case("greatest of integers", lambda x: (x.max(1), x.min(1), x.sum(1)), ("int32 b t",)),
    Case("greatest of int16", lambda x: (x.max(1), x.min(1)), ("int16 b t",)),
    Case("any and all", lambda x: (x.any(1), x.all(1), x.any(), x.sum(1)), ("bool b t",)),
    Case(
        "any of a broadcast",
        lambda x: (jnp.broadcast_to(x[None], (3, *x.shape)) & (jnp.arange(3) > 1)[:, None, None]).any(0),
        ("bool b t",),
    ),
    Case("place of the greatest", lambda x: (x.argmax(-1), x.argmin(1), x.argmax(0)), (X,)),
    Case(
        "place of the first of equal ones",
        lambda x: (x.argmax(1), x.argmin(1)),
        (np.array([[3, 1, 3, 1], [0, 0, 0, 0]], np.int32),),
    ),
    Case("place of the greatest, and it", lambda x: (x.argmax(-1), x.max(-1)), (X,)),
    Case("place of the greatest of small integers", lambda x: (x.argmax(-1), x.argmin(-1)), ("int16 b t",)),
    Case("running sum", lambda x: (x.cumsum(-1), jnp.cumsum(x, 2)), (X,), tolerance=1e-5),
    Case("running sum of integers", lambda x: (x.cumsum(1), x.cumsum(0)), ("int32 6 4",)),
    Case("running sum of small integers", lambda x: (x * 9).cumsum(1, dtype=jnp.int16), ("int16 4 6",)),
    Case(
        "window sum along an axis",
        lambda x: lax.reduce_window(x, np.float32(0), lax.add, (1, 4), (1, 1), ((0, 0), (3, 0))),
        ("float32 b 4",),
        tolerance=1e-5,
    ),
]
INDEXING = [
    Case("rows of a table, clipped", lambda w, i: jnp.take(w, i, axis=0, mode="clip"), (OUTSIDE,), (TABLE_RD,)),
    Case("rows of a table, filled", lambda w, i: jnp.take(w, i, axis=0, fill_value=-1), (OUTSIDE,), (TABLE_RD,)),
    Case("rows of a table", lambda w, i: w[i % 7], ("int32 b t",), (TABLE_RD,)),
    Case("rows by int16", lambda w, i: jnp.take(w, i, axis=0, mode="clip"), ("int16 b t",), (TABLE_RD,)),
    Case("rows by int8 of many", lambda i: jnp.take(jnp.arange(1_000.0), i, mode="clip"), ("int8 b t",)),
    Case("rows by bytes", lambda w, i: jnp.take(w, i, axis=0, mode="clip"), ("uint8 b t",), (TABLE_RD,)),
    Case("rows by unsigned", lambda w, i: jnp.take(w, i, axis=0, mode="clip"), ("uint32 b t",), (TABLE_RD,)),
    Case("rows at known places", lambda w: w[np.array([5, 0, 0, 3])], (), (TABLE_RD,)),
    Case(
        "rows at known places outside",
        lambda w: jnp.take(w, np.array([5, 0, 70, -3]), axis=0, mode="clip"),
        (),
        (TABLE_RD,),
    ),
    Case("rows of a symbolic axis", lambda x, i: jnp.take(x, i, axis=1, mode="clip"), (X, OUTSIDE)),
    Case("columns", lambda x, i: (x[..., np.array([3, 1, 1])], jnp.take(x, i, axis=-1, mode="clip")), (X, OUTSIDE)),
    Case("columns of int16", lambda x: x[..., np.array([3, 1, 1])], ("int16 b t 4",)),
    Case("columns of columns", lambda x: x[..., np.array([3, 1, 1]), :] * 2, ("float32 b t 4 2",)),
    Case("a row", lambda x, i: (x[:, i[0, 2]], x[i[0, 0] * 0]), (X, OUTSIDE)),
    Case("a row and some columns", lambda x, i: (x[i[0, 2], :, 1:3], x[i[0, 2], :, 2:]), ("float32 4 t 4", OUTSIDE)),
    Case("rows and some columns", lambda x, i: jnp.take(x, i, axis=0, mode="clip")[..., 1:3], ("float32 7 4", OUTSIDE)),
    Case(
        "parts of rows",
        lambda x, i: gathered(x, i, offset=(1,), collapsed=(0,), map=(0,), sizes=(1, 2)),
        ("float32 7 4", np.array([[2], [9], [-1]], np.int32)),
    ),
    Case(
        "part of a row",
        lambda x, i: gathered(x, i, offset=(0,), collapsed=(0,), map=(0,), sizes=(1, 2)),
        ("float32 7 4", np.array([2], np.int32)),
    ),
    Case("along the last axis", lambda x, i: jnp.take_along_axis(x, i, axis=-1, mode="clip"), (X, "int32 b t 2")),
    Case("along the last axis, filled", lambda x, i: jnp.take_along_axis(x, i, axis=-1), (X, "int32 b t 2")),
    Case("along the middle axis", lambda x, i: jnp.take_along_axis(x, i, axis=1, mode="clip"), (X, "int32 b s 4")),
    Case("along the first axis", lambda x, i: jnp.take_along_axis(x, i, axis=0, mode="clip"), (X, "int32 2 t 4")),
    Case(
        "along an axis for all rows",
        lambda x, i: jnp.take_along_axis(x, i, axis=1, mode="clip"),
        ("float32 b 4", "int32 1 2"),
    ),
    Case(
        "of one row along an axis",
        lambda x, i: jnp.take_along_axis(x, i, axis=1, mode="clip"),
        ("float32 1 4", "int32 b 2"),
    ),
    Case(
        "one of each row",
        lambda x, i: jnp.take_along_axis(x, i[..., None], axis=-1, mode="clip")[..., 0],
        (X, "int32 b t"),
    ),
    Case(
        "rows of each",
        lambda x, i: jax.vmap(lambda one, at: jnp.take(one, at, mode="clip"))(x, i),
        ("float32 b 4", "int32 b s"),
    ),
    Case(
        "rows of each, at pairs",
        lambda x, i: jax.vmap(lambda one, at: jnp.take(one, at, mode="clip"))(x, i),
        ("float32 b 4", "int32 b s 2"),
    ),
    Case(
        "vectors of each",
        lambda x, i: jax.vmap(lambda one, at: jnp.take(one, at, axis=0, mode="clip"))(x, i),
        (X, "int32 b s"),
    ),
    Case("elements", lambda x, i, j: x.at[i, j].get(mode="clip"), ("float32 b t", OUTSIDE, OUTSIDE)),
    Case("elements with slices behind", lambda x, i, j: x.at[i, j].get(mode="clip"), (X, OUTSIDE, OUTSIDE)),
    Case("elements with a slice in front", lambda x, i, j: x.at[:, i, j].get(mode="clip"), (X, OUTSIDE, OUTSIDE)),
    Case("elements around a slice", lambda x, i, j: x.at[i, :, j].get(mode="clip"), (X, OUTSIDE, OUTSIDE)),
    Case("elements by int16", lambda x, i, j: x.at[i, j].get(mode="clip"), (X, "int16 s", "int16 s")),
    Case(
        "a computed slice",
        lambda x, i: lax.dynamic_slice(x, (i[0, 2], i[1, 2], 0), (x.shape[0], 2, 4)),
        ("float32 b 5 4", OUTSIDE),
    ),
    Case(
        "a computed slice beyond the end",
        lambda x, i: (lax.dynamic_slice_in_dim(x, i[1, 1], 2, 1), lax.dynamic_slice_in_dim(x, i[0, 0], 2, 1)),
        ("float32 b 5 4", OUTSIDE),
    ),
    Case("a computed slice of a symbolic axis", lambda x, i: lax.dynamic_slice_in_dim(x, i[1, 2], 1, 1), (X, OUTSIDE)),
    Case(
        "a slice from before a symbolic axis",
        lambda x: lax.dynamic_slice(x, (0, jnp.int32(x.shape[1]) - 7, 0), (2, 1, 4)),
        ("float32 2 t 4",),
    ),
    Case("a slice from behind a symbolic axis", lambda x: lax.dynamic_slice_in_dim(x, 9, 1, 1), (X,)),
    Case(
        "a part replaced",
        lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y, i[1, 2], 1),
        (X, "float32 b 1 4", OUTSIDE),
    ),
    Case(
        "a part beyond the end replaced",
        lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y, i[1, 1], 1),
        ("float32 b 5 4", "float32 b 2 4", OUTSIDE),
    ),
    Case(
        "a part behind a symbolic end replaced",
        lambda x, y: lax.dynamic_update_slice_in_dim(x, y, 9, 1),
        (X, "float32 b 1 4"),
    ),
    Case(
        "a part replaced at a known place",
        lambda x, y: lax.dynamic_update_slice_in_dim(x, y, 1, 1),
        ("float32 b 5 4", "float32 b 2 4"),
    ),
    Case("everything replaced", lambda x, y: lax.dynamic_update_slice_in_dim(x, y * 2, 3, 1), (X, Y)),
    Case("rows set at known places", lambda x, y: x.at[2:4].set(y), ("float32 7 3", "float32 2 3")),
    Case("a column set", lambda x: x.at[:, 1].set(0), ("float32 b 4",)),
    Case(
        "rows set",
        lambda x, y, i: x.at[i].set(y, mode="promise_in_bounds"),
        ("float32 7 3", "float32 3 3", np.array([4, 0, 6], np.int32)),
    ),
    Case(
        "rows added, some repeatedly",
        lambda x, y, i: x.at[i].add(y, mode="promise_in_bounds"),
        ("float32 7 3", "float32 4 3", np.array([4, 0, 4, 4], np.int32)),
        tolerance=1e-5,
    ),
    Case(
        "elements added, some repeatedly",
        lambda x, i, y: x.at[jnp.arange(x.shape[0])[:, None], i].add(y, mode="promise_in_bounds"),
        ("float32 3 4", COLUMNS, "float32 3 4"),
        tolerance=1e-5,
    ),
    Case(
        "elements raised",
        lambda x, y, i: x.at[i].max(y, mode="promise_in_bounds"),
        ("float32 7", "float32 4", np.array([4, 0, 4, 4], np.int32)),
    ),
    Case(
        "integers added",
        lambda x, i: x.at[i].add(2, mode="promise_in_bounds"),
        ("int32 7", np.array([4, 0, 4, 4], np.int32)),
    ),
]


def gathered(x, i, *, offset, collapsed, map, sizes):
    """Return a gather by its dimension numbers, as no indexing of NumPy writes it."""
    numbers = lax.GatherDimensionNumbers(offset_dims=offset, collapsed_slice_dims=collapsed, start_index_map=map)
    return lax.gather(x, i, numbers, sizes, mode="clip")


def convolved(value, kernel, letters="NHWC", **how):
    """Return a convolution over two axes, with a plain window unless it is said."""
    how = {"window_strides": (1, 1), "padding": "VALID"} | how
    return lax.conv_general_dilated(value, kernel, dimension_numbers=(letters, "HWIO", letters), **how)


def greatest(x, sizes, **how):
    """Return the greatest element of each window."""
    how = {"window_strides": (1,) * x.ndim, "padding": "VALID"} | how
    return lax.reduce_window(x, -jnp.inf, lax.max, sizes, **how)


IMAGE, KERNEL_HWIO = "float32 b 7 9 4", RANDOM.standard_normal((2, 3, 4, 6)).astype(np.float32)
CONVOLVED: dict = {
    "plain": {},
    "to the same size": {"padding": "SAME"},
    "padded unevenly": {"padding": ((0, 1), (3, 0))},
    "in strides": {"window_strides": (2, 3)},
    "with gaps": {"rhs_dilation": (3, 2), "padding": ((1, 2), (0, 1))},
    "with features last but one": {"letters": "NHCW"},
    "with all of it": {"window_strides": (3, 2), "rhs_dilation": (2, 1), "padding": ((2, 0), (0, 3))},
}
WINDOWS = [
    *(
        Case(
            f"convolution, {name}",
            lambda w, x, how=how: convolved(x.swapaxes(2, 3) if "letters" in how else x, w, **how),
            (IMAGE,),
            (KERNEL_HWIO,),
            tolerance=1e-5,
            made=("Conv",),
        )
        for name, how in CONVOLVED.items()
    ),
    Case(
        "convolution in groups",
        lambda w, x: convolved(x, w[:, :, :2], feature_group_count=2),
        (IMAGE,),
        (KERNEL_HWIO,),
        opset=24,
        tolerance=1e-5,
    ),
    Case("convolution by computed numbers", convolved, (IMAGE, "float32 2 3 4 6"), tolerance=1e-5),
    Case(
        "convolution along a symbolic axis",
        lambda x, y: lax.conv(x, y, (1,), "SAME") + x[:, :2] + lax.conv(x, y, (1,), [(2, 1)])[:, :, 1:],
        ("float32 b 4 t", "float32 2 4 3"),
        tolerance=1e-5,
    ),
    Case(
        "convolution in strides along a symbolic axis",
        lambda x, y: jnp.tanh(lax.conv(x, y, (2,), [(1, 1)])).sum(1),
        ("float32 b 4 t", "float32 2 4 3"),
        tolerance=1e-5,
    ),
    Case(
        "greatest of windows",
        lambda x: (greatest(x, (1, 3, 1, 1), padding="SAME"), greatest(x, (1, 2, 3, 1), window_strides=(1, 2, 3, 1))),
        (IMAGE,),
        made=("MaxPool",),
    ),
    Case(
        "greatest of windows with gaps",
        lambda x: greatest(x, (1, 1, 3, 1), window_dilation=(1, 1, 2, 1)),
        (IMAGE,),
        opset=24,
    ),
    Case("greatest of windows of a symbolic axis", lambda x: greatest(x, (1, 2, 1)) - x[:, 1:], (X,)),
    Case("greatest of windows of batches", lambda x: greatest(x, (2, 1, 1), window_strides=(2, 1, 1)), (X,)),
]
NAMED = [
    *(
        Case(f"{function.__name__} by version {opset}", function, (WIDE,), opset=opset, made=made)
        for opset in (18, 20, 24)
        for function, made in {
            named.gelu: ("Gelu",) if opset >= 20 else ("Erf", "-Gelu"),
            named.gelu_by_tanh: ("Gelu", "-Tanh") if opset >= 20 else ("Tanh", "-Erf", "-Gelu"),
            named.softmax: ("Softmax",),
        }.items()
    ),
    Case(
        "norm",
        lambda scale, bias, x: named.layer_norm(x * 3 + 100, scale, bias),
        (X,),
        (np.array([1, 2, -1, 0.5], np.float32), np.array([0, 5, 1, -1], np.float32)),
        tolerance=1e-4,
        made=("LayerNormalization", "-ReduceMean"),
    ),
    Case(
        "norm by constants",
        lambda x: named.layer_norm(x, jnp.ones(4), jnp.zeros(4)),
        (X,),
        tolerance=1e-5,
        made=("LayerNormalization",),
    ),
    Case(
        "norms of several scales",
        lambda scale, bias, x: jax.vmap(named.layer_norm, (1, 0, 0), 1)(x, scale, bias),
        ("float32 b 3 4",),
        (TABLE_RD[:3, :1] + np.ones(4, np.float32), TABLE_RD[:3, :1] + np.arange(4, dtype=np.float32)),
        tolerance=1e-5,
        made=("-LayerNormalization",),
    ),
    *(
        Case(
            f"recurrent layer from {name}",
            lambda kernel, recurrent, bias, x, *states, start=start: named.lstm(
                x, *(start(x, states)), kernel, recurrent, bias
            ),
            inputs,
            LSTM,
            opset=24 if name == "nothing" else 18,
            tolerance=1e-5,
            made=("LSTM", "-Tanh"),
        )
        for name, start, inputs in (
            ("states", lambda x, states: states, ("float32 b 6 4", "float32 b 3", "float32 b 3")),
            ("nothing", lambda x, states: [jnp.zeros((x.shape[0], 3))] * 2, ("float32 b 6 4",)),
        )
    ),
    Case("norm of nearly equal numbers", lambda x: named.layer_norm(x * 1e-3, jnp.ones(4), jnp.zeros(4)), (X,)),
    Case("softmax of a broadcast", lambda x: named.softmax(jnp.broadcast_to(x, (3, 4))), ("float32 4",)),
    Case("a function of two shapes", lambda x: named.gelu(named.gelu(x[..., :2])) + named.gelu(x)[..., 2:], (X,)),
]
CASES = [*NAMED, *ELEMENTWISE, *INTEGERS, *SHAPES, *PRODUCTS, *REDUCTIONS, *INDEXING, *WINDOWS]


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_it_equals_jax(case):
    case.check()
    operators = {node.op_type for node in case.written[0].graph.node}
    for name in case.made:
        assert (name.removeprefix("-") in operators) != name.startswith("-")


def as_artifact(text):
    """Return a module of StableHLO, written by hand, as it is serialized."""
    here = translate.context()
    with here, ir.Location.unknown(here):
        return mlir.serialize_portable_artifact(ir.Module.parse(text), "1.0.0")


BY_HAND = {
    "stablehlo.get_dimension_size": """
func.func @main(%x: tensor<?x4xf32>) -> tensor<i32> {
  %0 = stablehlo.get_dimension_size %x, dim = 0 : (tensor<?x4xf32>) -> tensor<i32>
  func.return %0 : tensor<i32>
}""",
    "stablehlo.logistic": """
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = stablehlo.logistic %x : tensor<?x4xf32>
  func.return %0 : tensor<?x4xf32>
}""",
    "stablehlo.custom_call": """
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = stablehlo.custom_call @Sharding(%x) {mhlo.sharding = "{replicated}"} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  func.return %0 : tensor<?x4xf32>
}""",
}
EXPECTED = {
    "stablehlo.get_dimension_size": lambda x: np.int32(len(x)),
    "stablehlo.logistic": lambda x: 1 / (1 + np.exp(-x)),
    "stablehlo.custom_call": lambda x: x,
}


def graph_by_hand(text):
    """Return the graph of a module of one input."""
    inputs, outputs = {"input_0": ("b", 4)}, ["output_0"]
    return translate.graph_of(as_artifact(text), weights={}, inputs=inputs, outputs=outputs, opset=18)


@pytest.mark.parametrize("name", BY_HAND)
def test_operations_that_no_jax_program_is_lowered_to(name):
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    (found,) = results(graph_by_hand(BY_HAND[name]), [x])
    np.testing.assert_allclose(found, EXPECTED[name](x), rtol=TOLERANCE)


def test_every_translation_is_compared():
    seen = set().union(*(case.written[1] for case in CASES))
    assert set(OPERATIONS) - seen == set(BY_HAND)


def test_sums_of_many_threads_lose_nothing():
    places = np.zeros(2_000_000, np.int32)
    Case("many", lambda x, i: x.at[i].add(1, mode="promise_in_bounds"), (np.zeros(5, np.float32), places)).check()


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_slice_of_an_axis_that_may_be_shorter(length):
    case = next(case for case in CASES if case.name == "the last few of a symbolic axis")
    case.check(case.arrays({"b": 2, "t": length}))


def test_sizes_of_zero_and_one():
    case = Case(
        "chain", lambda x, y: (x * y[:, None] + x.sum(-1, keepdims=True), x.max(-1)), ("float32 b t 4", "float32 b 4")
    )
    for sizes in ({"b": 1, "t": 1}, {"b": 1, "t": 7}, {"b": 0, "t": 2}):
        case.check(case.arrays(sizes))


REFUSED = {
    "stablehlo.sort": Case("sort", lambda x: jnp.sort(x), (X,)),
    "stablehlo.fft": Case("fft", lambda x: jnp.fft.rfft(x).real, (X,)),
    "stablehlo.while": Case("while", lambda x: lax.fori_loop(0, 3, lambda _, y: y * 2, x), (X,)),
    "stablehlo.popcnt": Case("bits that are set", lax.population_count, (I,)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_operation_without_a_translation_is_named(name):
    with pytest.raises(InputError) as caught:
        REFUSED[name].written  # noqa: B018 - it is computed when it is read
    assert caught.value.was == name
    assert caught.value.what == f"{name} cannot be written as ONNX: there is no translation of it"
    assert name in caught.value.where and "StableHLO" in caught.value.remedy


def scattered_windows(x, y, i):
    """Return windows of two elements written at computed places."""
    numbers = lax.ScatterDimensionNumbers((1,), (), (0,))
    return lax.scatter(x, i, y, numbers)


RESTRICTED = {
    "the branch is chosen by data": Case("case", lambda x: lax.cond(x[0, 0, 0] > 0, jnp.sin, jnp.cos, x), (X,)),
    "it reduces by": Case("bits", lambda x: lax.reduce(x, np.int32(0), lax.bitwise_xor, (1,)), ("int32 b 4",)),
    "it reduces several values at once": Case(
        "pairs",
        lambda x: lax.reduce((x, x), (np.float32(0),) * 2, lambda one, two: (one[0] + two[0], one[1] * two[1]), (1,)),
        ("float32 b 4",),
    ),
    "only a running sum along one axis is written": Case(
        "moving sum",
        lambda x: lax.reduce_window(x, np.float32(0), lax.add, (1, 2), (1, 1), ((0, 0), (1, 0))),
        ("float32 b 4",),
    ),
    "it reduces windows by multiply": Case(
        "moving product",
        lambda x: lax.reduce_window(x, np.float32(1), lax.mul, (1, 2), (1, 1), "VALID"),
        ("float32 b 4",),
    ),
    "the greatest is found of floats": Case(
        "integers in windows",
        lambda x: lax.reduce_window(x, np.int32(-(2**31)), lax.max, (1, 2, 1), (1, 1, 1), "VALID"),
        (I,),
    ),
    "the greatest is found of floats alone, and from": Case(
        "windows and a number",
        lambda x: lax.reduce_window(x, np.float32(0), lax.max, (1, 2, 1), (1, 1, 1), "VALID"),
        (X,),
    ),
    "its windows slide along all axes but one": Case(
        "windows of a row", lambda x: greatest(x, (1, 2)), ("float32 b 4",)
    ),
    "it spreads the elements of its operand": Case(
        "transposed convolution",
        lambda x, w: convolved(x, w, lhs_dilation=(2, 1), padding=((0, 0), (0, 0))),
        (IMAGE, "float32 2 3 4 6"),
    ),
    "it is not a plain convolution": Case(
        "convolution of batches",
        lambda x, w: convolved(x, w, batch_group_count=2),
        ("float32 4 7 9 4", "float32 2 3 4 6"),
    ),
    "it scatters windows": Case(
        "windows", scattered_windows, ("float32 9", "float32 3 2", np.array([[0], [3], [5]], np.int32))
    ),
    "it gathers windows of several elements": Case(
        "windows",
        lambda x, i: gathered(x, i, offset=(1,), collapsed=(), map=(0,), sizes=(2,)),
        ("float32 9", "int32 3 1"),
    ),
    "it combines by multiply, or in batches": Case(
        "products", lambda x, i: x.at[i].multiply(2), ("float32 9", "int32 3")
    ),
    "it pads between elements, or cuts them off": Case(
        "cut", lambda x: lax.pad(x, np.float32(0), ((0, 0, 0), (-1, 0, 0))), ("float32 b 4",)
    ),
    "elements of type ui16 are not stored": Case("ui16", lambda x: x.astype(jnp.uint16) + 1, ("int32 b 4",)),
    "the update is smaller along several axes": Case(
        "corner",
        lambda x, y, i: lax.dynamic_update_slice(x, y, (i[0], i[1])),
        ("float32 9 9", "float32 2 2", "int32 2"),
    ),
}


@pytest.mark.parametrize("why", RESTRICTED)
def test_a_form_of_an_operation_that_is_not_written_is_refused(why):
    with pytest.raises(InputError, match=f"cannot be written as ONNX: {why}"):
        RESTRICTED[why].written  # noqa: B018


def test_functions_of_xla_are_refused_by_their_names():
    text = BY_HAND["stablehlo.custom_call"].replace("@Sharding", "@cudnn_attention")
    with pytest.raises(InputError, match="cudnn_attention is a function of XLA's own"):
        graph_by_hand(text)


AXES = strategies.lists(strategies.sampled_from(["b", "t", 1, 2, 3]), min_size=1, max_size=4)
STEPS = strategies.lists(
    strategies.sampled_from(["add", "less", "sum", "greatest", "turn", "row", "merge", "join", "repeat"]), max_size=4
)


def after(steps, masks, arrays):
    """Return what a chain of steps makes of arrays that are broadcast against one another."""
    x, *others = arrays
    for step, mask in zip(steps, masks, strict=False):
        other = others[mask % len(others)]
        if step == "add":
            x = x * 2 + other
        elif step == "less":
            x = jnp.where(x < other, x, -1)
        elif step == "repeat":
            x = jnp.broadcast_to(x, jnp.broadcast_shapes(x.shape, other.shape))
        elif step == "turn":
            x = x.transpose(np.roll(np.arange(x.ndim), mask))
        elif step == "row":
            x = jnp.take(x, np.array([0, 9, -1]), axis=mask % x.ndim, mode="clip") if x.ndim else x
        elif step == "merge":
            x = x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x[None]
        elif step == "join":
            x = jnp.concatenate([x, x + 1], axis=mask % x.ndim) if x.ndim else x
        elif x.ndim:
            x = {"sum": jnp.sum, "greatest": jnp.max}[step](x, axis=mask % x.ndim, keepdims=mask % 2 == 0)
    return x


@hypothesis.settings(max_examples=15)
@hypothesis.given(
    axes=AXES,
    dropped=strategies.lists(strategies.sets(strategies.integers(0, 3)), min_size=3, max_size=3),
    shorter=strategies.integers(0, 4),
    steps=STEPS,
    masks=strategies.lists(strategies.integers(0, 15), min_size=4, max_size=4),
)
def test_chains_of_broadcasts_equal_jax(axes, dropped, shorter, steps, masks):
    shapes = [[1 if axis in gone else size for axis, size in enumerate(axes)] for gone in dropped]
    shapes[1] = shapes[1][shorter:]

    def run(*arrays):
        return after(steps, masks, arrays)

    inputs = tuple(" ".join(["float32", *map(str, shape)]) for shape in shapes)
    case = Case("chain", run, inputs, tolerance=1e-5)
    try:
        assert case.written
    except (TypeError, ValueError):  # shapes that JAX itself does not broadcast
        hypothesis.reject()
    case.check()
