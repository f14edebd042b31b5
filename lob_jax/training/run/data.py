"""The data of a run: where batches come from, and those of one step."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import grain
import jax

from lob_jax.data.windows.pipeline import Position
from lob_jax.errors import TrainingError
from lob_jax.models.masking import Masks
from lob_jax.signals import NAMES, spared
from lob_jax.training.step.shift import Batch
from lob_jax.training.step.state import NOTHING_MEASURED, Measured


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """The training and validation data of a run.

    Attributes:
      batches: returns an endless dataset that starts at a position. Its batches have batch_size windows, or
        batch_size * accumulation, so that they add up to those of a step. With P processes, each process has separate
        batches with 1/P of the windows.
      start: the position at which a new run starts.
      windows: training windows per epoch, over all processes.
      validation: the batches of every validation, of any size, the same in every process.
      vocabulary_hash: hash of the vocabulary of the tokens.
      measured: what the initial parameters depend on, see `init_state`.
      masks: the masks of the next token, for a model that has one, see `ModelConfig.mask`.
      also: names of arrays of the training windows that a step reads beside those that the model reads of any window.
      fingerprint: everything else that determines the tokens, as JSON values: the tokenizer, the days, file hashes.
    """

    batches: Callable[[Position], grain.IterDataset]
    start: Position
    windows: int
    validation: Sequence[Batch]
    vocabulary_hash: str
    measured: Measured = NOTHING_MEASURED
    masks: Masks | None = None
    also: tuple[str, ...] = ()
    fingerprint: dict[str, Any] = dataclasses.field(default_factory=dict)


def read_step(iterator: grain.DatasetIterator, windows: int, *, step: int) -> list[Batch]:
    """Return the next batches of a step with `windows` windows, or with this process's share of them."""
    windows //= jax.process_count()
    batches, read = [], 0
    while read < windows:
        with spared(*NAMES):  # Grain may start its worker processes only at the first batch
            batch = next(iterator, None)
        if batch is None or read + len(batch["tokens"]) > windows:
            raise TrainingError(
                "the training data ended" if batch is None else f"batches do not add up to {windows} windows",
                step=step,
                remedy="repeat the data endlessly (epochs=None), in batches of batch_size windows",
            )
        batches.append(batch)
        read += len(batch["tokens"])
    return batches
