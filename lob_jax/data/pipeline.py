"""Windows to batches, by Grain: shuffled over all of them, shared among hosts, read by workers, resumable."""

import grain
import numpy as np

from lob_jax.data.dataset import TokenBookDataset, Window
from lob_jax.data.pairs import PairedDataset
from lob_jax.errors import InputError
from lob_jax.signals import leave_to_parent

Windows = TokenBookDataset | PairedDataset


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


def batches(
    dataset: Windows,
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

    The order depends on the seed and the epoch alone: batch k of all hosts together holds the windows of
    batch k of one host that takes batches `host_count` times as large. `example` is a window's number in the
    dataset, -1 for the blank windows that fill an evaluation's last batches. Iterators of the result have
    `get_state` and `set_state`, and can be saved by `grain.checkpoint.CheckpointSave`.

    Args:
      dataset: the windows.
      batch_size: B, windows a batch on this host.
      seed: of the shuffle, 0..2^32-1; each epoch has an order of its own.
      epochs: passes over the dataset; None for no end.
      shuffle: whether to shuffle, over the whole dataset.
      host_index: which of the hosts this is.
      host_count: hosts that share the dataset, without overlap.
      workers: processes that read windows; 0 reads in this one.

    Raises:
      InputError: fewer windows than one batch of every host, or a host index out of range.
    """
    if not 0 <= host_index < host_count:
        raise InputError(
            "no such host",
            where="batches",
            expected=f"a host index in 0..{host_count - 1}",
            was=host_index,
            remedy="pass jax.process_index() and jax.process_count()",
        )
    count = batches_an_epoch(dataset, batch_size=batch_size, host_count=host_count)
    if count == 0:
        raise InputError(
            "there are too few windows for a batch",
            where=f"{host_count} hosts with batches of {batch_size}",
            expected=f"at least {1 if dataset.evaluation else batch_size * host_count} windows",
            was=len(dataset),
            remedy="lower the batch size, or prepare more events",
        )
    used = count * batch_size * host_count
    windows = grain.MapDataset.source(NumberedWindows(dataset, length=max(used, len(dataset)))).seed(seed)
    if shuffle:
        windows = windows.shuffle()
    # What is left over is cut off behind the shuffle, so that each epoch leaves out other windows.
    windows = windows[host_index:used:host_count].batch(batch_size, drop_remainder=True).repeat(epochs)
    # Reading threads only compete for the interpreter: records come from memory or one small read.
    read = windows.to_iter_dataset(grain.ReadOptions(num_threads=0))
    if not workers:
        return read
    return read.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers), worker_init_fn=_begin_worker)


def _begin_worker(_: int, __: int) -> None:
    """Leave signals to the process that reads, which saves before it ends its workers."""
    leave_to_parent()
