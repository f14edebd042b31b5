"""Run the cells of a paired comparison, several at once on a core each, and skip those that have a result already."""

import concurrent.futures
import dataclasses
import os
import pathlib
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lob_jax.bench.cell import Cell, finished, run_cell
from lob_jax.bench.processes import alone
from lob_jax.lock import locked

LOCK = "cells.lock"


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What became of the cells, by variant and seed.

    Attributes:
      results: the contents of result.json.
      failures: why a cell has none.
    """

    results: Mapping[tuple[str, int], dict[str, Any]]
    failures: Mapping[tuple[str, int], str]


def run_cells(
    cells: Sequence[Cell],
    folder: pathlib.Path,
    *,
    jobs: int,
    say: Callable[[str], None] = print,
    work: Callable[..., dict[str, Any]] = run_cell,
) -> Outcomes:
    """Run the cells that have no result; one that fails is left for the next call, and the others go on.

    Each cell runs in a new process on one core, so that its figures do not depend on `jobs`. A cell that starts from
    the run of another one waits for it.

    Args:
      cells: the cells, in the order in which they are started; sources come before those that start from them.
      folder: the folder of all of them, which is locked.
      jobs: cells at once, at most one per core.
      say: called with a line of text from time to time.
      work: what runs a cell; see `run_cell`.

    Raises:
      InputError: another process is at work in the folder, or it has results of other settings.
    """
    with locked(folder / LOCK, doing="comparing variants"):
        results = {(cell.variant, cell.seed): found for cell in cells if (found := finished(cell)) is not None}
        todo = [cell for cell in cells if (cell.variant, cell.seed) not in results]
        say(f"{len(results)} of {len(cells)} cells have a result, {len(todo)} to run, {jobs} at once")
        outcomes = Outcomes(results, {})
        return _Runner(outcomes, folder, jobs=jobs, say=say, work=work).run(todo) if todo else outcomes


class _Runner:
    """Threads that wait for the processes of cells; each thread has a core of its own."""

    def __init__(
        self,
        outcomes: Outcomes,
        folder: pathlib.Path,
        *,
        jobs: int,
        say: Callable[[str], None],
        work: Callable[..., dict[str, Any]],
    ):
        self.results, self.failures = dict(outcomes.results), dict(outcomes.failures)
        self._folder, self._jobs, self._say, self._work = folder, jobs, say, work
        self._cores: queue.SimpleQueue[int] = queue.SimpleQueue()
        for core in sorted(os.sched_getaffinity(0))[:jobs]:
            self._cores.put(core)
        self._began = time.perf_counter()

    def run(self, todo: Sequence[Cell]) -> Outcomes:
        """Run cells in order, each as soon as a core is free and its source is there."""
        waiting, running = list(todo), {}
        with concurrent.futures.ThreadPoolExecutor(self._jobs) as pool:
            while waiting or running:
                for cell in self._ready(waiting, running.values())[: self._jobs - len(running)]:
                    waiting.remove(cell)
                    running[pool.submit(self._run_one, cell)] = cell
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    cell = running.pop(future)
                    self._note(cell, future)
                    self._progress(cell, left=len(waiting) + len(running), ran=len(todo))
        return Outcomes(self.results, self.failures)

    def _ready(self, waiting: list[Cell], running: Any) -> list[Cell]:
        """Return the cells whose source is neither waiting nor running."""
        busy = {cell.folder for cell in (*waiting, *running)}
        return [cell for cell in waiting if cell.start not in busy]

    def _run_one(self, cell: Cell) -> dict[str, Any]:
        core = self._cores.get()
        try:
            return alone(self._work, cell, core, self._folder / "xla")
        finally:
            self._cores.put(core)

    def _note(self, cell: Cell, future: "concurrent.futures.Future[dict[str, Any]]") -> None:
        key = cell.variant, cell.seed
        try:
            self.results[key] = future.result()
        except Exception as error:  # one cell must not end the others, which take hours
            first = str(error).strip().splitlines() or [""]
            self.failures[key] = f"{type(error).__name__}: {' '.join(first[:4])}"

    def _progress(self, cell: Cell, *, left: int, ran: int) -> None:
        key, minutes = (cell.variant, cell.seed), (time.perf_counter() - self._began) / 60
        if key in self.failures:
            what = f"failed: {self.failures[key]}"
        else:
            shown = ", ".join(f"{name} {value:.4f}" for name, value in self.results[key].get("figures", {}).items())
            what = f"{shown} ({sum(self.results[key].get('seconds', {}).values()):.0f} s)"
        rest = minutes / (ran - left) * left
        self._say(f"{ran - left} of {ran}, {cell.name}: {what}; {minutes:.0f} min, about {rest:.0f} more")
