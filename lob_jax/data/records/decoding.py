"""Read the examples that TFDS stores records as: a column is decoded when it is asked for, without TFDS's own decoder.

TFDS decodes all columns of a record at once, which takes three times as long as to read it and to decompress it, and
windows for training read few of them.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

EXAMPLES: Any = tf_example_pb2  # its messages are made when it is imported, which no type checker follows


@dataclasses.dataclass(frozen=True)
class Column:
    """How a column of records is stored.

    Attributes:
      dtype: of its elements; None for text.
      axes: number of axes of an array; None for a number or text, which are stored as they are.
    """

    dtype: np.dtype | None
    axes: int | None


def columns_of(features: tfds.features.FeaturesDict) -> dict[str, Column]:
    """Return the columns of records with these features, see `shards.record_features`."""
    return {name: _column(feature) for name, feature in features.items()}


def _column(feature: Any) -> Column:
    if isinstance(feature, tfds.features.Text):
        return Column(None, None)
    dtype = np.dtype(feature.np_dtype)
    return Column(dtype, None if isinstance(feature, tfds.features.Scalar) else len(feature.shape))


class StoredRecord(Mapping[str, Any]):
    """A stored example as a record: read-only arrays, numbers and texts, by column."""

    def __init__(self, content: bytes, columns: Mapping[str, Column], beside: Mapping[str, Any]):
        """Keep an example with these columns, and the columns beside them that it does not store."""
        self._stored = EXAMPLES.Example.FromString(content).features.feature
        self._columns, self._beside = columns, beside

    def __len__(self) -> int:
        return len(self._columns) + len(self._beside)

    def __iter__(self) -> Iterator[str]:
        yield from self._columns
        yield from self._beside

    def __getitem__(self, name: str) -> Any:
        """Return a column, which is decoded each time.

        Raises:
          KeyError: there is no such column.
        """
        if name in self._beside:
            return self._beside[name]
        column = self._columns[name]
        if column.dtype is None:
            return self._stored[name].bytes_list.value[0].decode()
        if column.axes is None:
            return column.dtype.type(self._stored[name].int64_list.value[0])
        if column.axes < 2:  # a shape is stored only where it does not follow from the number of elements
            return np.frombuffer(self._stored[name].bytes_list.value[0], column.dtype)
        shape = tuple(self._stored[f"{name}/shape"].int64_list.value)
        return np.frombuffer(self._stored[f"{name}/value"].bytes_list.value[0], column.dtype).reshape(shape)
