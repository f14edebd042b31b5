"""What a step graph has read of several sequences, each of a length of its own: arrays that the caller holds."""

from collections.abc import Iterable, Mapping

import numpy as np

from lob_jax.models.config import ModelConfig

BLOCK = 32  # tokens that are read at once
MORE_SLOTS = 128  # a cache grows by so many slots; all of them are read with each token, filled or not
ON_TRIAL = BLOCK + 8  # slots beyond the window: so many tokens may be read and taken back
PLACES: dict[str, tuple[int, ...]] = {"position": (), "event": (), "clock": (2,)}  # see `attention.positions.Positions`
PREFIX = "cache_"
LENGTH = f"{PREFIX}length"


class Cache:
    """Keys, values and positions of the last tokens of each row, token i in slot i modulo the number of slots.

    Attributes:
      length: int32 [R], number of tokens that each row has read.
      slots: number of slots of each row; it grows as rows need it, up to the model's window and ON_TRIAL more.
    """

    def __init__(self, model: ModelConfig, names: Iterable[str], *, rows: int) -> None:
        """Make an empty cache with the arrays that a graph reads, by the names of its inputs."""
        self._most = model.max_seq_length + ON_TRIAL
        self.slots, self.length = min(MORE_SLOTS, self._most), np.zeros(rows, np.int32)
        self._held: dict[str, np.ndarray] = {}
        layer = (rows, model.n_heads, self.slots, model.head_width)
        for name in sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX) and name != LENGTH):
            is_place = name in PLACES
            shape = (rows, self.slots, *PLACES[name]) if is_place else layer
            self._held[name] = np.zeros(shape, np.int32 if is_place else np.float32)

    @property
    def row_bytes(self) -> int:
        """Return the memory of a row, in bytes."""
        return sum(array[0].nbytes for array in self._held.values())

    def inputs(self, count: int) -> dict[str, np.ndarray]:
        """Return what the graph reads of the first rows, without a copy; of a missing second row, the first again."""
        held = {LENGTH: self.length} | {f"{PREFIX}{name}": array for name, array in self._held.items()}
        if count > len(self.length):
            return {name: np.repeat(array, count, 0) for name, array in held.items()}
        return {name: array[:count] for name, array in held.items()}

    def shared(self, count: int) -> dict[str, np.ndarray]:
        """Return what the graph reads of so many continuations of the first row; its keys and values are not copied."""
        held = self.inputs(1)
        layers = {name: array for name, array in held.items() if array.ndim == 4}
        return {name: layers[name] if name in layers else np.repeat(array, count, 0) for name, array in held.items()}

    def make_room(self, count: int, new: int) -> None:
        """Add slots until so many new tokens of each of the first rows fit, or there are as many as there can be."""
        needed = -(-(int(self.length[:count].max(initial=0)) + new) // MORE_SLOTS) * MORE_SLOTS
        self._grow(min(needed, self._most))

    def keep(self, count: int, known: Mapping[str, np.ndarray]) -> None:
        """Write what belongs to the new tokens of the first rows into their next slots, and count them.

        Args:
          count: number of rows.
          known: by name, at least what the cache holds: "event", "keys_0", ..., [count, T, ...] or [count, N, T, H].
        """
        new = known["tokens"].shape[1]
        position_BT = self.length[:count, None] + np.arange(new, dtype=np.int32)
        slot_BT, row_B1 = position_BT % self.slots, np.arange(count)[:, None]
        for name, array in self._held.items():
            if _slot_axis(name) == 1:
                array[row_B1, slot_BT] = position_BT if name == "position" else known[name][:count]
            else:
                array[row_B1, :, slot_BT] = known[name][:count].swapaxes(1, 2)
        self.length[:count] += new

    def take_back(self, row: int, count: int) -> None:
        """Forget the last tokens of a row, at most ON_TRIAL of those that it has read since it last did so."""
        self.length[row] -= count

    def copy_row(self, row: int, other: "Cache", source: int) -> None:
        """Let a row be what a row of a cache of the same model is; the cache may be this one."""
        self._grow(other.slots)
        for name, array in self._held.items():
            slots = slice(0, other.slots)
            into = array[row, slots] if _slot_axis(name) == 1 else array[row, :, slots]
            into[...] = other._held[name][source]
        self.length[row] = other.length[source]

    def clear(self, row: int) -> None:
        """Let a row be empty."""
        self.length[row] = 0

    def _grow(self, slots: int) -> None:
        more = slots - self.slots
        if more <= 0:
            return
        in_use = np.flatnonzero(self.length)  # the memory of the others is not touched, and so not taken either
        for name, array in self._held.items():
            axis = _slot_axis(name)
            larger = np.zeros([size + more * (k == axis) for k, size in enumerate(array.shape)], array.dtype)
            for row in in_use:
                larger[row][(slice(None),) * (axis - 1) + (slice(self.slots),)] = array[row]
            self._held[name] = larger
        self.slots = slots


def _slot_axis(name: str) -> int:
    return 2 if name.startswith(("keys", "values")) else 1
