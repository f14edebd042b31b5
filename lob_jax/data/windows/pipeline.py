"""Batch windows with Grain: globally shuffled, sharded over hosts, read by workers, and resumable at any position."""

import collections
import concurrent.futures
import dataclasses
import math
import weakref
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np
from absl import flags
from grain.python import SharedMemoryArray

from lob_jax.data.windows.augment.drawing import Drawable
from lob_jax.data.windows.augment.mirror import MirroredWindows
from lob_jax.data.windows.augment.synthetic import MixedWindows
from lob_jax.data.windows.augment.token_dropout import DroppedTokens
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import SET_ARRAYS, Allocate, Shapes, TokenBookDataset, Window, sets_in
from lob_jax.data.windows.known import SETS
from lob_jax.data.windows.order import Order
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.errors import InputError
from lob_jax.signals import leave_to_parent
from lob_jax.tokens.sets.token_sets import PACKED

ENDLESS = 2**62  # windows
ALIGNED = 64  # bytes
MOST_THREADS = 8  # that unpack batches in the training process
BLOCK, LAYOUT = "block", "layout"  # of what is sent to another process
UNPACKING = "unpacking"  # the beginning of their names

Windows = TokenBookDataset | PairedDataset | AlteredWindows | MixedWindows | MirroredWindows | DroppedTokens


@dataclasses.dataclass(frozen=True)
class Position:
    """A position in the sequence of windows, which is independent of batch size, hosts and workers.

    Attributes:
      windows_read: number of windows read by all hosts since the start of the first pass.
      windows_a_pass: number of windows that a pass reads; each pass leaves out different ones.
    """

    windows_read: int
    windows_a_pass: int


@dataclasses.dataclass(frozen=True, eq=False)
class BatchSource:
    """The batches of one host by number, each cut as a whole: a Grain random-access source.

    Attributes:
      dataset: the windows.
      order: which window is in which place.
      first: place of the first window.
      step: places from one window of this host to the next.
      batch_size: B, windows per batch.
      count: number of batches.
      shared: whether arrays are made in shared memory, for another process.
    """

    dataset: Windows
    order: Order
    first: int
    step: int
    batch_size: int
    count: int
    shared: bool

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a batch as it is sent, see `Unpacking`.

        `example` int32 [B] is the index of each window, -1 for blank windows.
        """
        places = self.first + self.step * (index * self.batch_size + np.arange(self.batch_size))
        chosen, shared = self.order.at(places), SharedBlock() if self.shared else None
        allocate: Allocate = shared or aligned_arrays
        batch = self._windows(
            chosen.tolist(),
            places.tolist(),
            lambda shapes: allocate({**shapes, "example": (chosen.shape, np.int32)}),
        )
        batch["example"][:] = np.where(chosen < len(self.dataset), chosen, -1)
        return shared.sent() if shared else batch

    def _windows(self, index: list[int], places: list[int], allocate: Allocate) -> Window:
        if isinstance(self.dataset, TokenBookDataset) and max(index) < len(self.dataset):
            return self.dataset.together(index, allocate)
        return stacked([self._window(*of) for of in zip(index, places, strict=True)], allocate)

    def _window(self, index: int, place: int) -> Window:
        if index >= len(self.dataset):  # behind the last window of an evaluation
            return self.dataset.blank()
        if isinstance(self.dataset, Drawable):
            return self.dataset.drawn(index, self.order.random_at(place))
        return self.dataset[index]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where arrays are in a block of memory: the shape, the dtype and the first byte of each, by name."""

    places: dict[str, tuple[tuple[int, ...], str, int]]

    def arrays(self, block: np.ndarray) -> Window:
        """Return the arrays in a block, which they keep alive."""
        return {
            name: np.ndarray(shape, dtype, buffer=block, offset=begin)
            for name, (shape, dtype, begin) in self.places.items()
        }


class SharedBlock:
    """All arrays of a batch in one block of shared memory, for another process.

    To open a block, to map it and to give it back takes the reading process longer than to read what is in it.
    """

    def __init__(self) -> None:
        self._block, self._layout = np.empty(0, np.uint8), Layout({})

    def __call__(self, shapes: Shapes) -> Window:
        """Return arrays of any content, aligned as those of `aligned`."""
        places, size = {}, 0
        for name, (shape, dtype) in shapes.items():
            places[name] = shape, np.dtype(dtype).str, size
            size += -(-math.prod(shape) * np.dtype(dtype).itemsize // ALIGNED) * ALIGNED
        self._block, self._layout = SharedMemoryArray((size,), np.uint8), Layout(places)
        return self._layout.arrays(self._block)

    def sent(self) -> dict[str, Any]:
        """Return the block and the layout of its arrays, see `received`."""
        return {BLOCK: self._block, LAYOUT: self._layout}


def received(element: dict[str, Any]) -> Window:
    """Return the arrays of a batch as another process or this one has sent it."""
    return element[LAYOUT].arrays(element[BLOCK]) if LAYOUT in element else element


class Memory:
    """Memory for arrays of one size, used again once an array and all its views are gone.

    New memory costs more than what is written to it: the kernel hands it out, and takes it back, page by page.
    """

    def __init__(self) -> None:
        self._free: collections.deque[np.ndarray] = collections.deque()

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array of any content, aligned as those of `aligned`."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            block = self._free.popleft()
        except IndexError:
            block = aligned((0,), np.uint8)
        if len(block) != size:
            block = aligned((size,), np.uint8)
        root = np.frombuffer(block.data, np.uint8)  # views refer to it, which is how it is known to be unused
        weakref.finalize(root, self._free.append, block).atexit = False
        return root.view(dtype).reshape(shape)


class Unpacking(grain.transforms.Map):
    """From batches as they are sent by another process, with sets as ranges, to batches with sets as bits.

    Bits take ten times as much memory, and shared memory is slow to get: they are made in this process, by threads.
    """

    def __init__(self, *, threads: int):
        self._memory, self._threads = Memory(), max(threads, 1)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, UNPACKING) if threads > 1 else None

    def map(self, element: dict[str, Any]) -> Window:
        """Return a batch."""
        batch = received(element)
        sets = sets_in(batch)
        if sets is None:  # as in windows that are stacked
            return batch
        rows, each = sets.rows, sets.rows // len(batch["tokens"])
        bits = self._memory.array((rows, PACKED), np.uint8)
        share = -(-rows // self._threads)
        firsts = range(0, rows, share)
        parts = [bits[first : first + share] for first in firsts]
        for _ in (self._pool.map if self._pool else map)(sets.pack, firsts, parts):
            pass
        plain = {name: array for name, array in batch.items() if name not in SET_ARRAYS}
        return {**plain, SETS: bits.reshape(-1, each, PACKED)}


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of any content, at an address that lets JAX on a CPU use the memory without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    return memory[-memory.ctypes.data % ALIGNED :][:size].view(dtype).reshape(shape)


def aligned_arrays(shapes: Shapes) -> Window:
    """Return arrays of this process, see `aligned`."""
    return {name: aligned(*of) for name, of in shapes.items()}


def stacked(windows: Sequence[Window], allocate: Allocate) -> Window:
    """Return windows as one, with a leading axis B."""
    room = allocate({name: ((len(windows), *array.shape), array.dtype) for name, array in windows[0].items()})
    for name in windows[0]:
        np.stack([window[name] for window in windows], out=room[name])
    return room


def batches_an_epoch(dataset: Windows, *, batch_size: int, host_count: int = 1) -> int:
    """Return the batches per pass and host; evaluation pads the last one, training drops an incomplete one."""
    together = batch_size * host_count
    return -(-len(dataset) // together) if dataset.evaluation else len(dataset) // together


def first_position(dataset: Windows, *, batch_size: int, host_count: int = 1) -> Position:
    """Return the initial position, whose passes have as many windows as fit into complete batches."""
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

    The order depends only on the seed, the pass and `windows_a_pass`. Batch k of all hosts together has the windows of
    batch k of a single host with a batch size `host_count` times as large. Reading resumed from a position yields
    exactly the next windows, for any batch size and number of hosts and workers; what is random in windows that are
    drawn (see `augment.drawing`) depends on the seed and their places in this sequence alone. `example` is a window's
    index in the dataset, -1 for the blank windows that pad the last batches of an evaluation.

    Args:
      dataset: the windows.
      start: where to begin; None for `first_position`.
      batch_size: B, windows per batch on this host.
      seed: seed of the shuffle, 0..2^32-1; each epoch has a different order.
      epochs: number of passes over the dataset; None for infinitely many.
      shuffle: whether to shuffle, over the whole dataset.
      host_index: index of this host.
      host_count: number of hosts, which share the dataset without overlap.
      workers: number of processes that read windows; 0 reads in this process.

    Raises:
      InputError: there are fewer windows than one batch on every host needs, the host index is out of range, or the
        position does not fit these windows.
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
    total = max(first.windows_a_pass, len(dataset))
    _check_position(start, most=total)
    order = Order(seed, windows=total, windows_a_pass=start.windows_a_pass, shuffled=shuffle)
    left = ENDLESS if epochs is None else max(0, epochs * start.windows_a_pass - start.windows_read)
    source = BatchSource(
        dataset,
        order,
        first=start.windows_read + host_index,
        step=host_count,
        batch_size=batch_size,
        count=left // (batch_size * host_count),
        shared=workers > 0,
    )
    # Grain's threads would only compete for the GIL: a record comes from memory or from one small read.
    read = grain.MapDataset.source(source).to_iter_dataset(grain.ReadOptions(num_threads=0))
    unpacking = Unpacking(threads=min(workers, MOST_THREADS))
    if not workers:
        return read.map(unpacking)
    if not flags.FLAGS.is_parsed():  # Grain's workers read absl's flags, which only absl's app.run would have parsed
        flags.FLAGS.mark_as_parsed()
    there = read.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers), worker_init_fn=_begin_worker)
    return there.map(unpacking)


def _begin_worker(_: int, __: int) -> None:
    """Leave signals to the main process, which saves its state before it ends its workers."""
    leave_to_parent()


def _check_position(position: Position, *, most: int) -> None:
    if position.windows_read < 0 or not 1 <= position.windows_a_pass <= most:
        raise InputError(
            "a position that does not fit these windows",
            where="batches",
            expected=f"windows_read of 0 or more, and windows_a_pass of 1..{most}",
            was=position,
            remedy="resume with the windows that the position was saved for",
        )
