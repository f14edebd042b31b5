"""Windows to batches, by Grain: shuffled over all of them, shared among hosts, read by workers, from any position."""

import dataclasses

import grain
import numpy as np
from absl import flags

from lob_jax.data.windows.dataset import TokenBookDataset, Window
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.errors import InputError
from lob_jax.signals import leave_to_parent

Windows = TokenBookDataset | PairedDataset


@dataclasses.dataclass(frozen=True)
class Position:
    """A place in the order of windows, which batches, hosts and workers share and do not decide.

    Attributes:
      windows_read: by all hosts, since the first window of the first pass.
      windows_a_pass: how many of its windows a pass reads; which of them it leaves out is another matter each time.
    """

    windows_read: int
    windows_a_pass: int


class NumberedWindows:
    """Windows that know their number, `example` int32 (); behind the last one come blank ones, number -1."""

    def __init__(self, dataset: Windows, *, length: int):
        self.dataset, self.length = dataset, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Window:
        if index < len(self.dataset):
            return {**self.dataset[index], "example": np.array(index, np.int32)}
        return {**self.dataset.blank(), "example": np.array(-1, np.int32)}


def batches_an_epoch(dataset: Windows, *, batch_size: int, host_count: int = 1) -> int:
    """Return how many batches one pass gives each host; an evaluation pads the last one, training drops the rest."""
    together = batch_size * host_count
    return -(-len(dataset) // together) if dataset.evaluation else len(dataset) // together


def first_position(dataset: Windows, *, batch_size: int, host_count: int = 1) -> Position:
    """Return where reading begins: at the first window, in passes of as many windows as whole batches of these hold."""
    count = batches_an_epoch(dataset, batch_size=batch_size, host_count=host_count)
    return Position(0, count * batch_size * host_count)


def batches(
    dataset: Windows,
    start: Position | None = None,
    *,
    batch_size: int,
    seed: int,
    epochs: int | None,
    shuffle: bool,
    host_index: int = 0,
    host_count: int = 1,
    workers: int = 0,
) -> grain.IterDataset:
    """Return batches, dicts of the window arrays with a leading B axis, and `example` int32 [B].

    The order depends on the seed, the pass and `windows_a_pass` alone: batch k of all hosts together holds the windows
    of batch k of one host that takes batches `host_count` times as large, and what is read from a position on
    are the very next windows, in batches, on hosts and by workers of any number. `example` is a window's number in the
    dataset, -1 for the blank windows that fill an evaluation's last batches.

    Args:
      dataset: the windows.
      start: where to begin; None for `first_position`.
      batch_size: B, windows a batch on this host.
      seed: of the shuffle, 0..2^32-1; each epoch has an order of its own.
      epochs: passes over the dataset; None for no end.
      shuffle: whether to shuffle, over the whole dataset.
      host_index: which of the hosts this is.
      host_count: hosts that share the dataset, without overlap.
      workers: processes that read windows; 0 reads in this one.

    Raises:
      InputError: fewer windows than one batch of every host, a host index out of range, or a position in other windows.
    """
    if not 0 <= host_index < host_count:
        raise InputError(
            "no such host",
            where="batches",
            expected=f"a host index in 0..{host_count - 1}",
            was=host_index,
            remedy="pass jax.process_index() and jax.process_count()",
        )
    first = first_position(dataset, batch_size=batch_size, host_count=host_count)
    if first.windows_a_pass == 0:
        raise InputError(
            "there are too few windows for a batch",
            where=f"{host_count} hosts with batches of {batch_size}",
            expected=f"at least {1 if dataset.evaluation else batch_size * host_count} windows",
            was=len(dataset),
            remedy="lower the batch size, or prepare more events",
        )
    start = first if start is None else start
    numbered = NumberedWindows(dataset, length=max(first.windows_a_pass, len(dataset)))
    _check_position(start, most=len(numbered))
    windows = grain.MapDataset.source(numbered).seed(seed)
    if shuffle:
        windows = windows.shuffle()
    # What is left over is cut off behind the shuffle, so that each epoch leaves out other windows.
    windows = windows[: start.windows_a_pass].repeat(epochs)
    left = max(0, len(windows) - start.windows_read)
    end = start.windows_read + left - left % (batch_size * host_count)
    windows = windows[start.windows_read + host_index : end : host_count].batch(batch_size, drop_remainder=True)
    # Reading threads only compete for the interpreter: records come from memory or one small read.
    read = windows.to_iter_dataset(grain.ReadOptions(num_threads=0))
    if not workers:
        return read
    if not flags.FLAGS.is_parsed():  # Grain's workers read flags of absl, which who calls from Python never parses
        flags.FLAGS.mark_as_parsed()
    return read.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers), worker_init_fn=_begin_worker)


def _begin_worker(_: int, __: int) -> None:
    """Leave signals to the process that reads, which saves before it ends its workers."""
    leave_to_parent()


def _check_position(position: Position, *, most: int) -> None:
    if position.windows_read < 0 or not 1 <= position.windows_a_pass <= most:
        raise InputError(
            "a position that is none in these windows",
            where="batches",
            expected=f"windows_read of 0 or more, and windows_a_pass of 1..{most}",
            was=position,
            remedy="go on with the windows that the position is of",
        )
