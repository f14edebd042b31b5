"""What a run generates: paths of new events behind a prompt, each as a day, and whether they can have happened."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, overload

from lob_jax.book.day import MarketDay
from lob_jax.config import sections
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import record_instrument
from lob_jax.errors import InputError
from lob_jax.evaluation.evaluate import why_no_branches
from lob_jax.evaluation.paths.validity import Validity, check_events
from lob_jax.generation.device.state import Generated, Prompt, SamplingConfig
from lob_jax.generation.loop import generate as run_generation
from lob_jax.runs.load import Run
from lob_jax.runs.prompt import make_prompt, prompt_from_day


@dataclasses.dataclass(frozen=True, eq=False)
class Paths(Sequence[MarketDay]):
    """Generated paths: a sequence of days, each the events of one path from the book in which the prompt ends.

    Attributes:
      days: of each path.
      prompt: the events that they continue, and the market that those end in.
      drawn: tokens, books and clocks as the device drew them, what the masks took from the model, and what became of
        the user's own orders.
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

    Every event can happen on the live book of its path; see `lob_jax.generation.loop.generate`.

    Args:
      run: a trained run.
      day: whose end is continued; None for the test split, as `--mode=generate` does.
      prompt_events: real events in front of each path; config.generate.prompt_events if None.
      sampling: how many paths and events, and how they are drawn; as config.generate says if None.
      on_progress: called with the fewest events that any path has, now and then.

    Raises:
      InputError: the day or the split has too few events, or the model cannot generate.
    """
    _check_generates(run)
    sampling = sections.sampling_config(run.config) if sampling is None else sampling
    events = run.config.generate.prompt_events if prompt_events is None else prompt_events
    reads: dict[str, Any] = {"tokenizer": run.tokenizer, "time_buckets": run.model.time_buckets, "beside": run.beside}
    if day is None:
        records = open_records(run.workdir / "records", "test")
        prompt, instrument = make_prompt(records, events=events, **reads), record_instrument(records[0])
    else:
        levels = run.config.data.book_levels
        prompt, instrument = prompt_from_day(day, events=events, book_levels=levels, **reads), day.instrument
    drawn = run_generation(
        run.params,
        prompt,
        model=run.model,
        tokenizer=run.tokenizer,
        instrument=instrument,
        sampling=sampling,
        on_progress=on_progress,
    )
    opening = MarketDay.opening(instrument, prompt.start)
    days = tuple(opening.with_events(run.tokenizer.decode(tokens, opening)) for tokens in drawn.tokens)
    return Paths(days, prompt, drawn)


def _check_generates(run: Run) -> None:
    reason = why_no_branches(run.model) if run.model.causal else "it sees tokens from both sides"
    if reason is not None:
        raise InputError(
            "this model cannot generate",
            where="generate",
            expected="a causal kind of attention with a cache, of one instrument",
            was=reason,
            remedy="generate from a run of another kind of attention; evaluate(run) tests this one",
        )


def check_paths(paths: Paths) -> list[Validity]:
    """Return, for each path, which of its events cannot have happened, by a replay in plain Python."""
    rules = {"closed": paths.prompt.closed}
    return [
        check_events(day.events, start=day.start, tick=day.instrument.tick, signed=day.instrument.signed, **rules)
        for day in paths
    ]
