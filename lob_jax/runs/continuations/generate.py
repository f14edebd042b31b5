"""Generate from many prompts of the test split at once, each beside the events that really followed it."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.config import sections
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import record_instrument
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.validity import Validity
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ANONYMOUS_ID
from lob_jax.generation.generated import Generated
from lob_jax.generation.paths import path_day
from lob_jax.generation.settings import SamplingConfig
from lob_jax.runs.backend import draw
from lob_jax.runs.continuations.prompts import Continued, spread_prompts
from lob_jax.runs.generation import before_midnight, check_day, check_generates
from lob_jax.runs.load import Run
from lob_jax.runs.reveals import largest_in_training, reveals_of
from lob_jax.statistics.flow import Flow, flow_of_paths, flow_of_spans, joined
from lob_jax.writers.lobster import order_ids


@dataclasses.dataclass(frozen=True, eq=False)
class Continuations:
    """Generated continuations of prompts, and the real ones.

    Attributes:
      real: each prompt with the events that really followed.
      days: for each prompt one day per path, with the path's events and the book at the end of the prompt.
      drawn: what the device returned for all paths, those of one prompt adjacent.
    """

    real: tuple[Continued, ...]
    days: tuple[tuple[MarketDay, ...], ...]
    drawn: Generated

    @property
    def instrument(self) -> Instrument:
        """The instrument of all prompts."""
        return self.real[0].day.instrument

    def rows(self) -> Iterator[tuple[Continued, MarketDay]]:
        """Yield each path with its prompt, in the order of `drawn`."""
        for one, days in zip(self.real, self.days, strict=True):
            for day in days:
                yield one, day


class Flows(NamedTuple):
    """The same sequences as flows; those of `generated` are in the order of the prompts, G for each.

    Attributes:
      real: S real continuations.
      generated: S * G generated continuations.
      cond: S prompts.
      left_out: number of generated events after midnight, which are not in `generated`.
    """

    real: Flow
    generated: Flow
    cond: Flow
    left_out: int


def generate_many(
    run: Run,
    *,
    prompts: int | None = None,
    prompt_events: int | None = None,
    sampling: SamplingConfig | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Continuations:
    """Continue prompts that are spread evenly over the run's test split, all in one batch.

    Prompts and real continuations do not overlap. Every generated event is valid on the live book of its path; see
    `lob_jax.generation.loop.generate`.

    Args:
      run: a trained run.
      prompts: number of prompts; config.generate.prompts if None.
      prompt_events: real events before each path; config.generate.prompt_events if None.
      sampling: how many paths per prompt and events, and how they are drawn; by default as in config.generate.
      on_progress: called from time to time with the number of events that every path has reached.

    Raises:
      InputError: the test split has too few events, its tokens do not determine events, or the model cannot generate.
    """
    check_generates(run)
    config = run.config.generate
    sampling = sections.sampling_config(run.config) if sampling is None else sampling
    folder = run.workdir / "records"
    real = spread_prompts(
        open_records(folder, "test"),
        prompts=config.prompts if prompts is None else prompts,
        events=config.prompt_events if prompt_events is None else prompt_events,
        following=sampling.events,
        **_reads(run),
    )
    instrument = real[0].day.instrument
    reveals = reveals_of(real[0].prompt, folder, run.tokenizer, symbol=instrument.symbol)
    largest = largest_in_training(folder, instrument.symbol)
    prompts_of = [dataclasses.replace(one.prompt, reveals=reveals, largest=largest) for one in real]
    how: dict[str, Any] = {"tokenizer": run.tokenizer, "instrument": instrument}
    drawn = draw(run, prompts_of, instrument=instrument, sampling=sampling, on_progress=on_progress)
    each = iter(zip(drawn.tokens, drawn.corrections, strict=True))
    days = tuple(
        tuple(path_day(*next(each), start=one.start, **how) for _ in range(sampling.paths)) for one in prompts_of
    )
    return Continuations(tuple(real), days, drawn)


def _reads(run: Run) -> dict[str, Any]:
    """Return how prompts are read for the model of a run."""
    config, buckets = run.config, run.model.time_buckets
    reads: dict[str, Any] = {"tokenizer": run.tokenizer, "time_buckets": buckets, "beside": run.beside}
    return {**reads, "book_levels": config.data.book_levels}


def training_flow(run: Run, paths: Continuations, *, levels: int) -> Flow | None:
    """Return as many sequences of the same length from the last training day, spread evenly; None if it is too short.

    Args:
      run: the run.
      paths: continuations, whose instrument is taken.
      levels: occupied levels per side that the books show.
    """
    records, symbol = open_records(run.workdir / "records", "train"), paths.instrument.symbol
    last = next((i for i in reversed(range(len(records))) if record_instrument(records[i]).symbol == symbol), None)
    if last is None:
        return None
    (one, *_), count = paths.real, len(paths.real)
    how: dict[str, Any] = {
        "prompts": count,
        "events": one.events,
        "following": len(one.day.events) - one.events,
        "record": last,
    }
    try:
        found = spread_prompts(records, **how, **_reads(run))
    except InputError:  # the comparison goes without this reference
        return None
    named = [(_named(each.day), each.events) for each in found]
    spans = [np.array([[first, len(day.events)]]) for day, first in named]
    return joined([flow_of_spans(day, span, levels=levels) for (day, _), span in zip(named, spans, strict=True)])


def check_continuations(paths: Continuations) -> list[Validity]:
    """Replay each path in plain Python, and return which of its events are invalid."""
    return [check_day(day, closed=one.prompt.closed) for one, day in paths.rows()]


def flows_of(paths: Continuations, *, levels: int) -> Flows:
    """Return the sequences as flows; CONTROL events and generated events after midnight are left out.

    Tokens have no order ids. In all three flows, an added order gets a new one, and a removal that of the order which
    its rank names or the book's rule selects; a generated path goes on with the ids of its prompt.

    Args:
      paths: the sequences.
      levels: occupied levels per side that the books show.
    """
    known: list[Flow] = []
    generated: list[MarketDay] = []
    left_out = 0
    for one, days in zip(paths.real, paths.days, strict=True):
        named = _named(one.day)
        known.append(flow_of_spans(named, np.array([[0, one.events], [one.events, len(named.events)]]), levels=levels))
        (book,) = snapshots_at(named, np.array([one.events]))
        used = named.events.order_id[: one.events]
        for day in days:
            inside = before_midnight(day)
            left_out += len(day.events) - len(inside.events)
            start = dataclasses.replace(book, time_ns=day.start.time_ns)
            generated.append(_named(dataclasses.replace(inside, start=start), used=used))
    both, pairs = joined(known), np.arange(2 * len(known)).reshape(-1, 2)
    return Flows(both.select(pairs[:, 1]), flow_of_paths(generated, levels=levels), both.select(pairs[:, 0]), left_out)


def _named(day: MarketDay, *, used: np.ndarray | None = None) -> MarketDay:
    """Return a day whose events have the ids of the orders that they add or reduce, new ones above those `used`."""
    ids, resting = order_ids(day), day.start.order_id
    if used is not None:  # an order that was added and has gone is not in the book, so its id would be given again
        new = ~np.isin(ids, np.append(resting, np.array([0, ANONYMOUS_ID], np.uint64)))
        ids[new] += max(_largest(used), _largest(resting)) - _largest(resting)
    return day.with_events(day.events.replace(order_id=ids))


def _largest(ids: np.ndarray) -> np.uint64:
    """Return the largest id that new ones are counted from, see `order_ids`."""
    return ids[ids < 2**62].max(initial=np.uint64(0))
