"""Build forecasting examples of the labelled snapshots of FI-2010, without messages, clocks or tokens."""

from typing import Any, NamedTuple

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.direction.blocks import blocks_of
from lob_jax.forecasting.examples import Batch, ForecastLayout
from lob_jax.forecasting.fi2010 import EVENTS_A_SNAPSHOT, HORIZONS, LEVELS, Snapshots
from lob_jax.forecasting.floors import smoothed_frequencies

FORECASTERS = ("deeplob", "linear")  # those that read nothing but book states
VALIDATION_SHARE = 0.2  # of each segment of a training file: its end
UNKNOWN = 3  # in place of a class


class SnapshotScaling(NamedTuple):
    """The normaliser of the book states, fitted on the training part, each float64 [4P]."""

    book_mean: np.ndarray
    book_std: np.ndarray

    def plain(self) -> dict[str, Any]:
        """Return the fitted values in JSON-serialisable form."""
        return {name: values.tolist() for name, values in self._asdict().items()}


class SnapshotSplits(NamedTuple):
    """The examples of the three splits."""

    train: "SnapshotExamples"
    validation: "SnapshotExamples"
    test: "SnapshotExamples"


class SnapshotExamples:
    """Numbered examples: the H snapshots up to an anchor, and the directions that the file gives for it.

    A batch is a dict of NumPy arrays: book float32 [B, H, 4P], normalised; flow float32 [B, H, 0] and kind int32
    [B, H], all 0, since there are no events; and direction int32 [B, K].

    Attributes:
      layout: what an example contains; the horizons are events.
      rows: int64 [N], the anchors' rows of the snapshots.
      direction: int32 [N, K].
    """

    def __init__(self, snapshots: Snapshots, rows: np.ndarray, layout: ForecastLayout, scaling: SnapshotScaling):
        """Take the anchors at some rows, each of which has a complete example around it; see `anchors`."""
        self.snapshots, self.rows, self.layout, self.scaling = snapshots, rows, layout, scaling
        self._columns = [HORIZONS.index(horizon) for horizon in layout.horizons]
        self.direction = snapshots.label[rows][:, self._columns]

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self, events: int) -> np.ndarray:
        """Return the block of `events` consecutive events that contains each example, int64 [N], without gaps."""
        length = max(1, events // EVENTS_A_SNAPSHOT)
        return blocks_of(self.snapshots.segment[self.rows], self.rows, length=length)

    def batch(self, numbers: np.ndarray) -> Batch:
        """Return the examples with these numbers."""
        past = self.rows[numbers, None] + np.arange(1 - self.layout.history, 1)
        book = self.snapshots.book[past, : 4 * self.layout.levels]
        mean, std = (values.astype(np.float32) for values in self.scaling)
        return {
            "book": (book - mean) / std,
            "flow": np.zeros((*past.shape, 0), np.float32),
            "kind": np.zeros(past.shape, np.int32),
            "direction": self.direction[numbers],
        }

    def known_label(self) -> np.ndarray:
        """Return the newest label whose future is over at the anchor, int64 [N, K]; UNKNOWN where there is none."""
        found = np.full(self.direction.shape, UNKNOWN, np.int64)
        for k, (horizon, column) in enumerate(zip(self.layout.horizons, self._columns, strict=True)):
            before = self.rows - horizon // EVENTS_A_SNAPSHOT
            inside = (before >= 0) & (self.snapshots.segment[before] == self.snapshots.segment[self.rows])
            found[inside, k] = self.snapshots.label[before[inside], column]
        return found


def check_for_snapshots(layout: ForecastLayout, *, model: str) -> None:
    """Check that a forecaster can be trained on FI-2010.

    Raises:
      InputError: the model reads more than book states, or the files lack a horizon or a level.
    """
    if model not in FORECASTERS:
        raise InputError(
            "a forecaster that FI-2010 cannot train",
            where="config.forecast.model",
            expected=f"one that reads book states alone: {' or '.join(FORECASTERS)}",
            was=f"{model}, which reads the messages between them or their times",
            remedy="pass --config.forecast.model=deeplob; FI-2010 has snapshots without messages",
        )
    if not {*layout.horizons} <= {*HORIZONS}:
        raise _unlike("horizons", expected=f"some of {HORIZONS}, of which the files have labels", was=layout.horizons)
    if layout.levels > LEVELS:
        raise _unlike("levels", expected=f"at most {LEVELS}", was=layout.levels)
    if layout.threshold is not None:
        raise _unlike("threshold", expected="None, since the files have labels", was=layout.threshold)


def _unlike(key: str, *, expected: str, was: object) -> InputError:
    return InputError(
        "a setting that does not fit FI-2010",
        where=f"config.forecast.{key}",
        expected=expected,
        was=was,
        remedy=f"change --config.forecast.{key}, or pass other data",
    )


def split_snapshots(
    training: Snapshots, test: Snapshots, layout: ForecastLayout, *, stride: int, validation: int
) -> SnapshotSplits:
    """Cut a training file into training and validation parts, fit the normaliser, and build all examples.

    Validation takes the end of every segment, so that it has all stocks; no example reaches over a cut or a border.

    Args:
      training: the snapshots of the training file.
      test: the snapshots of the test files.
      layout: what an example contains.
      stride: take one anchor in this many of the training and test parts.
      validation: target number of validation examples, taken at an even stride.

    Raises:
      InputError: a part has no example.
    """
    first, length = _extents(training.segment)
    late = np.arange(len(training)) - first >= length - (length * VALIDATION_SHARE).astype(np.int64)
    complete = anchors(2 * training.segment + late, layout)
    of_train, of_validation = complete[~late[complete]], complete[late[complete]]
    of_test = anchors(test.segment, layout)
    for name, rows in (("training", of_train), ("validation", of_validation), ("test", of_test)):
        if not len(rows):
            raise InputError(
                f"the {name} part of FI-2010 has no example",
                where="the files of FI-2010",
                expected=f"{layout.history + layout.reach // EVENTS_A_SNAPSHOT} snapshots of one stock in a row",
                was="shorter stretches",
                remedy="lower config.forecast.history",
            )
    columns = training.book[~late, : 4 * layout.levels].astype(np.float64)
    std = columns.std(0)
    scaling = SnapshotScaling(columns.mean(0), np.where(std > 0, std, 1.0))
    thinned = of_validation[:: max(stride, len(of_validation) // validation)]
    return SnapshotSplits(
        SnapshotExamples(training, of_train[::stride], layout, scaling),
        SnapshotExamples(training, thinned, layout, scaling),
        SnapshotExamples(test, of_test[::stride], layout, scaling),
    )


def anchors(segment: np.ndarray, layout: ForecastLayout) -> np.ndarray:
    """Return the rows whose history and longest horizon lie within their segment, int64 [N]."""
    first, length = _extents(segment)
    place = np.arange(len(segment)) - first
    return np.flatnonzero((place >= layout.history - 1) & (place + layout.reach // EVENTS_A_SNAPSHOT < length))


def _extents(segment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each row's segment, and the segment's length, both int64 [N]."""
    _, first, number, length = np.unique(segment, return_index=True, return_inverse=True, return_counts=True)
    return first[number], length[number]


def last_label_table(train: SnapshotExamples, examples: SnapshotExamples) -> np.ndarray:
    """Return the training class frequencies given the newest known label, float64 [N, K, 3]: a baseline.

    The futures of neighbouring labels overlap and trends last, so a label that is just known says much about the next.
    """
    fitted, asked = train.known_label(), examples.known_label()
    tables = [
        smoothed_frequencies(fitted[:, k], train.direction[:, k], buckets=UNKNOWN + 1) for k in range(fitted.shape[1])
    ]
    return np.stack([table[asked[:, k]] for k, table in enumerate(tables)], axis=1)
