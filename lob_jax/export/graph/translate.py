"""Translate a StableHLO module: its functions inlined, each operation by its entry in the registry."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax.extend import mlir
from jax.extend.mlir import ir
from jax.extend.mlir.passmanager import PassManager

from lob_jax.export.graph import elementwise, indexing, products, shapes, windows  # noqa: F401 - they register operations
from lob_jax.export.graph.builder import STORED, Builder, Dim, Value, tensor
from lob_jax.export.graph.named import as_one_node
from lob_jax.export.graph.operations import COMPOSITE, OPERATIONS, dtype_of, name_of, operation, refused, short_name

ENTRY, WRAPPED = "main", "_wrapped_jax_export_main"  # the latter takes the sizes that the former finds and checks
SIZE = "jax.global_constant"  # attribute of an argument that is a size, or the index of the platform
PLATFORM = "_platform_index"
IGNORED = ("shape_assertion",)
PASSED_ON = ("Sharding", "annotate_device_placement")


class Translator:
    """Walk the operations of a module.

    Attributes:
      graph: the graph that is built.
      functions: the module's functions by name.
    """

    def __init__(self, module: Any, graph: Builder) -> None:
        self.graph = graph
        self.functions = {
            ir.StringAttr(op.attributes["sym_name"]).value: op
            for op in module.body.operations
            if op.operation.name == "func.func"
        }

    def call(self, function: str, arguments: Sequence[Value]) -> list[Value]:
        """Return the results of a function."""
        block = self.functions[function].regions[0].blocks[0]
        return self._returned(block, dict(zip(block.arguments, arguments, strict=True)))

    def _returned(self, block: Any, known: dict[Any, Value]) -> list[Value]:
        """Return what a block returns, given the values that it reads."""
        for op in block.operations:
            operands = [known[value] for value in op.operands]
            if short_name(op) == "return":
                return operands
            chosen = op.operation.name == "stablehlo.case"
            results = self._branch(op, operands[0], known) if chosen else self._results(op, operands)
            known.update(zip(op.results, results, strict=True))
        raise AssertionError("a block has no return")

    def _branch(self, op: Any, index: Value, known: dict[Any, Value]) -> list[Value]:
        """Return the results of the branch of a platform; a program for several has one for each where they differ."""
        number = index.numbers[0] if index.numbers else None
        if not isinstance(number, int):
            raise refused(op, "the branch is chosen by data")
        last = len(op.regions) - 1
        return self._returned(op.regions[number if 0 <= number <= last else last].blocks[0], dict(known))

    def _results(self, op: Any, operands: Sequence[Value]) -> Sequence[Value]:
        name = name_of(op)
        if name == "func.call":
            function = ir.FlatSymbolRefAttr(op.attributes["callee"]).value
            one = as_one_node(self.graph, function, operands)
            return self.call(function, operands) if one is None else one
        if name == "stablehlo.custom_call" and _target(op) in IGNORED:
            return []
        if op.operation.name == COMPOSITE and name not in OPERATIONS:
            return self.call(ir.FlatSymbolRefAttr(op.attributes["decomposition"]).value, operands)
        if name not in OPERATIONS:
            raise refused(op, "there is no translation of it")
        for result in op.results:
            if dtype_of(result) not in STORED:
                raise refused(op, f"elements of type {dtype_of(result)} are not stored")
        found = OPERATIONS[name](self.graph, op, operands)
        return [found] if isinstance(found, Value) else found


def _target(op: Any) -> str:
    return ir.StringAttr(op.attributes["call_target_name"]).value


@operation("stablehlo.custom_call")
def custom_call(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    if _target(op) not in PASSED_ON:
        raise refused(op, f"{_target(op)} is a function of XLA's own")
    return operands[0]


@operation("stablehlo.optimization_barrier")
def optimization_barrier(graph: Builder, op: Any, operands: Sequence[Value]) -> Sequence[Value]:
    return operands


def context() -> Any:
    """Return an MLIR context that knows StableHLO."""
    lowered: Any = jax.jit(lambda: 0).lower().compiler_ir()
    return lowered.context


def graph_of(
    serialized: bytes,
    *,
    weights: Mapping[str, np.ndarray],
    inputs: Mapping[str, Sequence[Dim]],
    outputs: Sequence[str],
    opset: int,
    arguments: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """Return the ONNX graph of a serialized StableHLO module; of one for several platforms, that of the first.

    Args:
      serialized: a portable artifact, as `jax.export` and `jax2tf` hold it.
      weights: arguments of the module that become initializers, by name.
      inputs: its other arguments by name, with their shapes; sizes that the caller chooses have names.
      outputs: names of its results.
      opset: the version of ONNX's operators.
      arguments: names of its arguments in their order; by default first the weights, then the inputs.

    Raises:
      InputError: the module has an operation that cannot be written as ONNX.
    """
    here = context()
    with here, ir.Location.unknown(here):
        module = mlir.deserialize_portable_artifact(serialized, here)
        PassManager.parse("builtin.module(canonicalize,cse)", here).run(module.operation)
        translator = Translator(module, Builder(opset))
        return _graph(translator, weights, inputs, outputs, arguments or (*weights, *inputs))


def _graph(
    translator: Translator,
    weights: Mapping[str, np.ndarray],
    inputs: Mapping[str, Sequence[Dim]],
    outputs: Sequence[str],
    arguments: Sequence[str],
) -> onnx.ModelProto:
    graph = translator.graph
    entry = WRAPPED if WRAPPED in translator.functions else ENTRY
    function = translator.functions[entry]
    about = ir.ArrayAttr(function.attributes["arg_attrs"]) if "arg_attrs" in function.attributes else []
    sizes = [ir.StringAttr(ir.DictAttr(each)[SIZE]).value for each in about if SIZE in ir.DictAttr(each)]
    types = [dtype_of(argument) for argument in function.regions[0].blocks[0].arguments][len(sizes) :]
    known: dict[str, Value] = {}
    for name, dtype in zip(arguments, types, strict=True):
        if name in weights:
            known[name] = _weight(graph, name, weights[name], dtype)
        else:
            known[name] = _input(graph, name, inputs[name], dtype)
    numbers = [Value("i32", (), (), numbers=(0 if size == PLATFORM else size,)) for size in sizes]
    results = translator.call(entry, [*numbers, *known.values()])
    given = [known[name] for name in inputs if name in known]
    return graph.model(given, dict(zip(outputs, results, strict=True)))


def _input(graph: Builder, name: str, dims: Sequence[Dim], dtype: str) -> Value:
    for axis, size in enumerate(dims):
        if isinstance(size, str):
            graph.size_of_input(size, name, axis)
    return tensor(dtype, dims, name)


def _weight(graph: Builder, name: str, array: np.ndarray, dtype: str) -> Value:
    array = np.asarray(array, STORED[dtype][0])
    return Value(dtype, array.shape, array.shape, graph.initializer(array, name), constant=array)
