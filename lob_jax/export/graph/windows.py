"""Operations on windows that slide along axes: convolutions, the greatest of each window, running sums."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import stablehlo

from lob_jax.export.graph.builder import Builder, Dim, Value, tensor
from lob_jax.export.graph.elementwise import narrowed, widened, wrapped
from lob_jax.export.graph.operations import number_of, numbers_of, operation, refused, short_name
from lob_jax.export.graph.products import arranged, is_neutral

FLOATS = ("f32", "f64")  # of which ONNX Runtime finds the greatest in windows


@dataclasses.dataclass(frozen=True)
class Windows:
    """How windows slide; one entry for each axis that they slide along.

    Attributes:
      sizes: elements of a window.
      strides: steps between two windows.
      dilations: steps between two elements of a window.
      before, after: elements that the axis is padded with.
    """

    sizes: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]

    def of(self, axes: Sequence[int]) -> "Windows":
        """Return the windows along some of the axes, in their order."""
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Windows(*([each[axis] for axis in axes] for each in fields))

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of a node of ONNX."""
        return {
            "kernel_shape": self.sizes,
            "strides": self.strides,
            "dilations": self.dilations,
            "pads": self.before + self.after,
        }


def _windows(op: Any, sizes: list[int], *, dilations: str, spread: str) -> Windows:
    """Return the windows of an operation; an attribute that it lacks is that of plain windows.

    Args:
      op: the operation.
      sizes: elements of a window.
      dilations, spread: the attributes for the steps between elements of a window, and of the operand.
    """
    ones = [1] * len(sizes)

    def along(attribute: str) -> list[int]:
        return numbers_of(op, attribute) if attribute in op.attributes else ones

    padding = np.zeros((len(sizes), 2), np.int64)
    if "padding" in op.attributes:
        padding = np.array(ir.DenseElementsAttr(op.attributes["padding"])).reshape(-1, 2)
    if along(spread) != ones or (padding < 0).any():
        raise refused(op, "it spreads the elements of its operand, or cuts them off")
    before, after = padding.T.tolist()
    return Windows(sizes, along("window_strides"), along(dilations), before, after)


def _slid(graph: Builder, name: str, sizes: Sequence[Dim], windows: Windows) -> list[Dim]:
    """Return the number of windows along each axis of a value; they are the last axes of the tensor `name`."""
    found: list[Dim] = []
    for axis, size in enumerate(sizes):
        one = windows.of([axis])
        reach = one.before[0] + one.after[0] - (one.sizes[0] - 1) * one.dilations[0]
        if isinstance(size, int):
            found.append((size + reach - 1) // one.strides[0] + 1)
        elif one.strides == [1]:
            found.append(graph.plus(size, abs(reach), 1 if reach >= 0 else -1))
        else:
            place = 2 + axis
            found.append(graph.computed_size(graph.emit("Shape", name, start=place, end=place + 1)))
    return found


@operation("stablehlo.convolution")
def convolution(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    value, kernel = operands
    axes = stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    turned = "window_reversal" in op.attributes and any(ir.DenseBoolArrayAttr(op.attributes["window_reversal"]))
    if value.dtype != "f32" or turned or number_of(op, "batch_group_count") != 1:
        raise refused(op, "it is not a plain convolution of float32 numbers")
    spatial = list(axes.input_spatial_dimensions)
    sizes = [kernel.dims[axis] for axis in axes.kernel_spatial_dimensions]
    if not spatial or not all(isinstance(size, int) for size in sizes):
        raise refused(op, "it has no window, or one of a size that the caller chooses")
    windows = _windows(op, [int(size) for size in sizes], dilations="rhs_dilation", spread="lhs_dilation")
    name = graph.emit(
        "Conv",
        arranged(graph, value, [axes.input_batch_dimension, axes.input_feature_dimension, *spatial]),
        arranged(
            graph,
            kernel,
            [
                axes.kernel_output_feature_dimension,
                axes.kernel_input_feature_dimension,
                *axes.kernel_spatial_dimensions,
            ],
        ),
        group=number_of(op, "feature_group_count"),
        **windows.attributes(),
    )
    slid = _slid(graph, name, [value.dims[axis] for axis in spatial], windows)
    dims = [value.dims[axes.input_batch_dimension], kernel.dims[axes.kernel_output_feature_dimension], *slid]
    order = [axes.output_batch_dimension, axes.output_feature_dimension, *axes.output_spatial_dimensions]
    return _put_back(graph, tensor(value.dtype, dims, name), order)


def _put_back(graph: Builder, value: Value, order: Sequence[int]) -> Value:
    """Return a value whose axis k becomes axis order[k]."""
    back = np.argsort(order).tolist()
    return tensor(value.dtype, [value.dims[axis] for axis in back], arranged(graph, value, back))


@operation("stablehlo.reduce_window")
def reduce_window(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    body = [short_name(inner) for inner in op.regions[0].blocks[0].operations]
    windows = _windows(op, numbers_of(op, "window_dimensions"), dilations="window_dilations", spread="base_dilations")
    if body == ["maximum", "return"]:
        return _greatest(graph, op, operands, windows)
    if body == ["add", "return"]:
        return _running_sum(graph, op, operands[0], windows)
    raise refused(op, f"it reduces windows by {', '.join(body[:-1])}")


def _greatest(graph: Builder, op: Any, operands: Sequence[Value], windows: Windows) -> Value:
    """Return the greatest element of each window."""
    value, start = operands
    if (
        value.dtype not in FLOATS
        or start.constant is None
        or not is_neutral("maximum", start.constant.item(), value.dtype)
    ):
        raise refused(op, "the greatest is found of floats alone, and from nothing else")
    plain = Windows([1], [1], [1], [0], [0])
    still = [axis for axis in range(value.rank) if windows.of([axis]) == plain]
    if len(still) < 2 or value.rank == 2:
        raise refused(op, "its windows slide along all axes but one, or none")
    ends = [still[0], still[-1]]  # the first two axes of a node of ONNX, along which no window slides
    along = [axis for axis in range(value.rank) if axis not in ends]
    windows = windows.of(along)
    name = graph.emit("MaxPool", arranged(graph, value, ends + along), **windows.attributes())
    dims = [value.dims[axis] for axis in ends] + _slid(graph, name, [value.dims[axis] for axis in along], windows)
    return _put_back(graph, tensor(value.dtype, dims, name), ends + along)


def _running_sum(graph: Builder, op: Any, value: Value, windows: Windows) -> Value:
    """Return the sums of all elements up to each along an axis."""
    along = [axis for axis, size in enumerate(windows.sizes) if size != 1]
    all_before = len(along) == 1 and windows.sizes[along[0]] == value.dims[along[0]]
    one = windows.of(along)
    if not all_before or one.before + one.after != [one.sizes[0] - 1, 0]:
        raise refused(op, "only a running sum along one axis is written")
    wide = widened(graph, value)
    name = graph.emit("CumSum", graph.whole(wide), graph.scalar(along[0], "i64"))
    return narrowed(graph, wrapped(graph, tensor(wide.dtype, value.dims, name)), value.dtype)
