"""`LOBTransformerServer`: predictions of the next events of a market, from Python."""

import asyncio
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.halts import OPEN
from lob_jax.generation.settings import EVERYTHING, SamplingConfig, Truncation
from lob_jax.serving.config import serve_config
from lob_jax.serving.openings import read_opening
from lob_jax.serving.records import path_records, read_records
from lob_jax.serving.requests import Failed, Finished, Generate, History, Item, PathEvent
from lob_jax.serving.units import Units
from lob_jax.settings import defaults

Records = Sequence[Mapping[str, Any]]


class LOBTransformerServer:
    """Serves one model to the coroutines of a Python program; `--mode=serve` serves it over HTTP.

    Events are records as in the HTTP API: {"time", "kind", "side", "price", "size"}, in the market's units. Many
    coroutines may ask at the same time; their paths are sampled together.

    Attributes:
      engine: what answers the requests, see `lob_jax.serving.requests.Server`.
    """

    def __init__(self, model_path: pathlib.Path | str, *, precision: str = "", threads: int = 0) -> None:
        """Open a model; this takes seconds, or a minute where nothing has been compiled before.

        Args:
          model_path: the folder of a bundle, which needs no JAX, or of a trained run.
          precision: of a bundle's weights; empty for the one that its card recommends.
          threads: of ONNX Runtime; 0 for one per core.

        Raises:
          InputError: the folder holds neither, or what it holds is damaged.
        """
        folder = pathlib.Path(model_path).expanduser()
        own = serve_config(defaults().serve).engine
        settings = dataclasses.replace(own, precision=precision, threads=threads)
        if (folder / "manifest.json").exists():
            from lob_jax.serving.engine.open import open_server

            self.engine = open_server(folder, name=folder.name, settings=settings)
        else:
            from lob_jax.runs.load import load_run
            from lob_jax.serving.engine.checkpoint import open_run

            self.engine = open_run(load_run(folder), name=folder.name, settings=settings)

    async def predict_next_events(
        self,
        recent_events: Records,
        n_predictions: int = 10,
        *,
        opening: Mapping[str, Any] | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        truncation: Truncation = EVERYTHING,
    ) -> list[dict[str, Any]]:
        """Return the events that come next on a sampled path, as records.

        Args:
          recent_events: the latest events, in the order of the exchange.
          n_predictions: number of events.
          opening: the book before the first of them: {"time", "bids": [[price, size], ...], "asks": [...]}; None for
            an empty one.
          seed: of the random numbers: another one gives another path, the same one the same.
          temperature: divisor of the logits; 0 takes the most likely token.
          truncation: which tokens may be sampled.

        Raises:
          InputError: a record cannot be read, or contradicts the book before it.
          Refusal: the engine is busy or about to end.
        """
        history, units = self._history(recent_events, opening)
        how: dict[str, Any] = {"seed": seed, "temperature": temperature, "truncation": truncation}
        request = Generate(history, SamplingConfig(paths=1, events=n_predictions, **how))
        return [record async for event in self._asked(request) for record in path_records(event, units)]

    def close(self) -> None:
        """End the engine's threads; requests at work are given up."""
        self.engine.drain(0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _history(self, records: Records, opening: Mapping[str, Any] | None) -> tuple[History, Units]:
        facts = self.engine.facts
        units = Units.of(facts.instrument)
        read = read_records(records, units)
        if not len(read.events):
            raise InputError(
                "there is nothing to continue",
                where="recent_events",
                expected="at least one event",
                was=f"{len(records)} records",
                remedy="pass the latest events of the market",
            )
        shape: dict[str, Any] = {"window": facts.window, "pooled": facts.pooled}
        book, closed = BookSnapshot.empty(int(read.events.time_ns[0]), **shape), OPEN
        if opening is not None:
            book, closed = read_opening(opening, units, **shape)
        return History(book, read.events, read.corrections, closed), units

    async def _asked(self, request: Generate) -> Any:
        """Yield the events of an answer as they come; a caller that leaves gives the request up."""
        loop, items = asyncio.get_running_loop(), asyncio.Queue[Sequence[Item]]()

        def deliver(more: Sequence[Item]) -> None:
            loop.call_soon_threadsafe(items.put_nowait, more)

        job = self.engine.submit(request, deliver)
        try:
            while True:
                for item in await items.get():
                    if isinstance(item, Failed):
                        raise item.error
                    if isinstance(item, Finished):
                        return
                    assert isinstance(item, PathEvent)
                    yield item
        finally:
            job.cancel()
