"""Collect the events of a reader block by block, in memory or in files that are memory-mapped at the end."""

import os
import pathlib
from collections.abc import Callable

import numpy as np

from lob_jax.book.snapshot import CORRECTION_COLUMNS, Corrections
from lob_jax.events.schema import COLUMNS, Events

_ROWS_AT_ONCE = 1 << 16


class EventStore:
    """Events and corrections of one day, appended in order.

    With a folder, each column is written to a file that `finish` maps, so that only the parts in use take memory. A
    column of only zeros, which is common, takes no disk space.
    """

    def __init__(self, folder: pathlib.Path | None):
        self._folder = folder
        self._parts: dict[str, list[np.ndarray]] = {}
        self._zeros: dict[str, int] = {}  # leading zeros of each column
        self._begun: set[str] = set()
        self._files: dict[str, pathlib.Path] = {}  # of the columns begun; a path is slow to build for every block
        self.events = 0
        self.corrections = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob("*.column"):
                old.unlink()

    def append(self, events: Events, corrections: Corrections | None = None) -> None:
        """Append events; the `event` of a correction is relative to the first of them, -1 being the previous one.

        Columns that are views are copied, so that the caller can use what they show again.
        """
        if corrections is not None and len(corrections):
            for name, dtype in CORRECTION_COLUMNS.items():
                values = getattr(corrections, name)
                self._write(f"correction_{name}", values + self.events if name == "event" else values, dtype)
            self.corrections += len(corrections)
        for name, dtype in COLUMNS.items():
            self._write(name, getattr(events, name), dtype)
        self.events += len(events)

    def finish(self, *, divide_price: int = 1, divide_size: int = 1) -> tuple[Events, Corrections]:
        """Return everything appended, with prices and sizes divided by the given common divisors."""
        for name, by in (("price", divide_price), ("size", divide_size)):
            for column in (name, f"correction_{name}"):
                if by != 1:
                    self._change(column, lambda values, by=by: values // by)
        events = Events(**{name: self._column(name, dtype, self.events) for name, dtype in COLUMNS.items()})
        corrections = {
            name: self._column(f"correction_{name}", dtype, self.corrections)
            for name, dtype in CORRECTION_COLUMNS.items()
        }
        return events, Corrections(**corrections)

    def _write(self, name: str, values: np.ndarray, dtype: np.dtype) -> None:
        if name not in self._begun:
            if not values.any():
                self._zeros[name] = self._zeros.get(name, 0) + len(values)
                return
            self._begin(name, dtype)
        values = np.ascontiguousarray(values, dtype)
        if self._folder is None:
            self._parts[name].append(values if values.base is None else values.copy())
            return
        with self._files[name].open("ab") as file:
            file.write(values.data)

    def _begin(self, name: str, dtype: np.dtype) -> None:
        """Write the leading zeros of a column."""
        self._begun.add(name)
        zeros = self._zeros.get(name, 0)
        if self._folder is None:
            self._parts[name] = [np.zeros(zeros, dtype)] if zeros else []
            return
        self._files[name] = self._folder / f"{name}.column"
        if zeros:
            with self._files[name].open("wb") as file:
                # Extending a file this way leaves a hole that reads as zeros and takes no disk blocks.
                file.truncate(zeros * dtype.itemsize)

    def _column(self, name: str, dtype: np.dtype, rows: int) -> np.ndarray:
        if name not in self._begun:
            return np.zeros(rows, dtype)
        if self._folder is None:
            parts = self._parts.pop(name)
            return parts[0] if len(parts) == 1 else np.concatenate(parts)
        return np.memmap(self._files[name], dtype, "c", shape=(rows,))

    def _change(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        if name not in self._begun:
            return
        if self._folder is None:
            self._parts[name] = [change(part) for part in self._parts[name]]
        else:
            dtype = {**COLUMNS, **{f"correction_{n}": d for n, d in CORRECTION_COLUMNS.items()}}[name]
            values = np.empty(_ROWS_AT_ONCE, dtype)
            # Not through a map: each of its pages would have to be faulted in, twice.
            with self._files[name].open("r+b") as file:
                while size := file.readinto(values.data):
                    file.seek(-size, os.SEEK_CUR)
                    file.write(change(values[: size // dtype.itemsize]).data)
