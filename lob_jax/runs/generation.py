"""Generate paths of new events after a prompt, each as a day, and check that every event is valid."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, overload

import ml_collections
import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.config import sections
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import record_instrument
from lob_jax.errors import InputError
from lob_jax.evaluation.evaluate import why_no_branches
from lob_jax.evaluation.paths.validity import Validity, check_events
from lob_jax.events.instrument import NS_PER_DAY, Instrument
from lob_jax.generation.generated import Generated
from lob_jax.generation.paths import path_day
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.generation.user_orders import orders_for
from lob_jax.runs.backend import draw
from lob_jax.runs.load import Run
from lob_jax.runs.prompt import make_prompt, prompt_from_day
from lob_jax.runs.reveals import largest_in_training, reveals_of


@dataclasses.dataclass(frozen=True, eq=False)
class Paths(Sequence[MarketDay]):
    """Generated paths: a sequence of days, each with the events of one path and the book at the end of the prompt.

    If the book has a window, the corrections of a day are the levels that its events brought into view.

    Attributes:
      days: one day per path.
      prompt: the events that the paths continue, and the state of the market after them.
      drawn: what the device returned: tokens, books and clocks, the probability that the masks removed, and the
        outcome of the user's own orders.
    """

    days: tuple[MarketDay, ...]
    prompt: Prompt
    drawn: Generated

    def __len__(self) -> int:
        return len(self.days)

    @overload
    def __getitem__(self, index: int) -> MarketDay: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[MarketDay, ...]: ...

    def __getitem__(self, index: int | slice) -> MarketDay | tuple[MarketDay, ...]:
        return self.days[index]


def generate(
    run: Run,
    day: MarketDay | None = None,
    *,
    prompt_events: int | None = None,
    sampling: SamplingConfig | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Paths:
    """Continue real events: the last ones of a day, or the first ones of the run's test split.

    Every generated event is valid on the live book of its path; see `lob_jax.generation.loop.generate`.

    Args:
      run: a trained run.
      day: the day to continue after its last event; None for the test split, as `--mode=generate` does.
      prompt_events: real events before each path; config.generate.prompt_events if None.
      sampling: how many paths and events, and how they are drawn; by default as in config.generate.
      on_progress: called from time to time with the number of events that every path has reached.

    Raises:
      InputError: the day or the split has too few events, or the model cannot generate.
    """
    check_generates(run)
    events = run.config.generate.prompt_events if prompt_events is None else prompt_events
    reads: dict[str, Any] = {"tokenizer": run.tokenizer, "time_buckets": run.model.time_buckets, "beside": run.beside}
    if day is None:
        records = open_records(run.workdir / "records", "test")
        prompt, instrument = make_prompt(records, events=events, **reads), record_instrument(records[0])
    else:
        levels = run.config.data.book_levels
        prompt, instrument = prompt_from_day(day, events=events, book_levels=levels, **reads), day.instrument
    sampling = configured_sampling(run.config, instrument) if sampling is None else sampling
    folder = run.workdir / "records"
    reveals = reveals_of(prompt, folder, run.tokenizer, symbol=instrument.symbol)
    largest = largest_in_training(folder, instrument.symbol)
    prompt = dataclasses.replace(prompt, reveals=reveals, largest=largest)
    drawn = draw(run, prompt, instrument=instrument, sampling=sampling, on_progress=on_progress)
    how: dict[str, Any] = {"start": prompt.start, "tokenizer": run.tokenizer, "instrument": instrument}
    days = tuple(path_day(*each, **how) for each in zip(drawn.tokens, drawn.corrections, drawn.own, strict=True))
    return Paths(days, prompt, drawn)


def configured_sampling(config: ml_collections.ConfigDict, instrument: Instrument) -> SamplingConfig:
    """Return the sampler's settings from the generation section, with the user's orders for an instrument.

    Raises:
      InputError: a value is out of range, or an order does not fit the instrument.
    """
    orders = orders_for(config.generate.orders, instrument)
    return dataclasses.replace(sections.sampling_config(config), inject=orders)


def check_generates(run: Run) -> None:
    """Check that the run's model can generate.

    Raises:
      InputError: it cannot; names the reason.
    """
    reason = why_no_branches(run.model) if run.model.causal else "it sees tokens from both sides"
    if reason is not None:
        raise InputError(
            "this model cannot generate",
            where="generate",
            expected="a causal model of one instrument, with a key-value cache",
            was=reason,
            remedy="generate from a run with another kind of attention; evaluate(run) tests this one",
        )


def check_paths(paths: Paths) -> list[Validity]:
    """Replay each path in plain Python, and return which of its events are invalid."""
    return [check_day(day, closed=paths.prompt.closed) for day in paths]


def before_midnight(day: MarketDay) -> MarketDay:
    """Return the events of a path that are on its trading day; time never runs backwards in a path."""
    end = day.instrument.midnight_ns() + NS_PER_DAY
    return day.part(0, int(np.searchsorted(day.events.time_ns, end)), start=day.start)


def check_day(day: MarketDay, *, closed: int) -> Validity:
    """Replay one path in plain Python; `closed` is what is closed at its start, see `check_events`."""
    units = {"tick": day.instrument.tick, "signed": day.instrument.signed}
    return check_events(day.events, start=day.start, corrections=day.corrections, closed=closed, **units)
