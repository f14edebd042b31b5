"""Prompts spread over a split, each with the real events that followed it."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.flow import FlowState
from lob_jax.book.replay import snapshots_at
from lob_jax.data.records.records import Record, RecordSource, day_record, read_record
from lob_jax.data.windows.dataset import prepare_record
from lob_jax.data.windows.known import NOTHING, Beside, flow_of
from lob_jax.errors import InputError
from lob_jax.events.halts import closed_before, halts_of
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.reveals import behind_view
from lob_jax.runs.continuations.joining import joined
from lob_jax.runs.prompt import prompt_of
from lob_jax.statistics.flow import disjoint_spans
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require
from lob_jax.tokens.vocabulary import EOS, event_index


@dataclasses.dataclass(frozen=True, eq=False)
class Continued:
    """A prompt and what really followed it.

    Attributes:
      day: the events of the prompt and those that really followed, with the book before them.
      events: number of events of the prompt.
      prompt: these events as tokens, and the state of the market after them.
      first_event: index of the first of them in the events of the whole day.
    """

    day: MarketDay
    events: int
    prompt: Prompt
    first_event: int


class _Read(NamedTuple):
    """A decoded record, its tokens without EOS, and how many of its events are its lead."""

    day: MarketDay
    tokens: np.ndarray
    lead: int


class Place(NamedTuple):
    """Where the events of a record are in the day, as indices of its events.

    Attributes:
      begin: the first event, of its lead if it has one.
      first: the first event that is not of the lead.
      last: the one after its last event.
      record: index of the record.
      closed: what is closed before `begin`, see `lob_jax.events.halts`.
    """

    begin: int
    first: int
    last: int
    record: int
    closed: int


def spread_prompts(
    records: RecordSource,
    *,
    prompts: int,
    events: int,
    following: int,
    tokenizer: Tokenizer,
    book_levels: int,
    time_buckets: int,
    beside: Beside = NOTHING,
    record: int = 0,
) -> list[Continued]:
    """Return prompts spread evenly over an instrument's day in a split, with the real events after each.

    No event is in two continuations. A prompt is the market's history at the start of its continuation, so it may share
    events with the continuation before, and the first one with the lead of the split. Both may extend over several
    records. Their events are those of the tokens: times are rounded as `tokens.time_digits` says, and orders have no
    ids, or with ranks those of the decoder, from the prompt to the end of its continuation.

    Args:
      records: the records of the split.
      prompts: how many.
      events: events of each prompt.
      following: events of each continuation.
      tokenizer: the tokenizer of the records.
      book_levels: occupied levels per side that the model sees.
      time_buckets: time-of-day buckets per day.
      beside: what else the model reads.
      record: index of a record of the instrument and the day.

    Raises:
      InputError: the day has too few events, or its tokens do not determine events.
    """
    require(tokenizer, Ability.EVENTS, what="a real continuation of each prompt", where="config.generate.prompts")
    places = surveyed(records, records[record]["instrument"])
    reads: dict[str, Any] = {"tokenizer": tokenizer, "book_levels": book_levels}
    reads |= {"time_buckets": time_buckets, "beside": beside}
    # Neighbouring spans often lie in the same record.
    read = functools.lru_cache(maxsize=2)(lambda place: _read(place, records[place.record], tokenizer))
    found = []
    for number, (first, last) in enumerate(_spans(places, prompts, events=events, following=following)):
        covering = [place for place in places if place.first < last and place.last > first]
        parts, begin = [read(place) for place in covering], covering[0].begin
        cut = (first - begin, first - begin + events, last - begin)
        flow = flow_of(records[covering[0].record], beside, 0)
        one = _continued(_joined(parts, tokenizer), cut, covering[0].closed, flow, **reads)
        numbered = dataclasses.replace(one.prompt, number=number)
        found.append(dataclasses.replace(one, prompt=numbered, first_event=first))
    return found


def surveyed(records: RecordSource, wanted: str) -> list[Place]:
    """Return where the records of an instrument's day are, in order.

    Args:
      records: the records of a split.
      wanted: an instrument and its day, as in the records.
    """
    places = []
    for index in range(len(records)):
        record = records[index]
        if record["instrument"] == wanted:
            begin, count = int(record["first_event"]), len(record["clock_ns"]) - 1
            first = begin + int(record["lead_events"])
            places.append(Place(begin, first, begin + count, index, int(record["closed"])))
    return sorted(places)


def _spans(places: list[Place], prompts: int, *, events: int, following: int) -> list[tuple[int, int]]:
    """Return the first event of each prompt and the one after its continuation, as indices in the day.

    Raises:
      InputError: fewer of them fit.
    """
    first, last = max(places[0].first, places[0].begin + events), places[-1].last
    spans = disjoint_spans(max(last - first, 0), length=following, sequences=prompts)
    if len(spans) < prompts:
        raise InputError(
            "the split is too short for so many prompts and their real continuations",
            where="config.generate.prompts",
            expected=f"at most {len(spans):,}: {max(last - first, 0):,} events, {following:,} for each",
            was=prompts,
            remedy="ask for fewer prompts, or for fewer events by generate.events",
        )
    return [(first + low - events, first + high) for low, high in spans.tolist()]


def _read(place: Place, record: Record, tokenizer: Tokenizer) -> _Read:
    """Decode a record."""
    return _Read(read_record(record, tokenizer), record["tokens"][:-1], place.first - place.begin)


def _joined(parts: list[_Read], tokenizer: Tokenizer) -> tuple[MarketDay, np.ndarray]:
    """Return consecutive records as one part of their day, and its tokens: the lead of the first, and all own events.

    These are the tokens that the model learned. Those of the joined day may differ: the gap where a record begins, if
    times are rounded, and ranks where queues differ, see `joined`.
    """
    first, *others = parts
    own = [part.tokens[event_index(part.tokens) >= part.lead] for part in others]
    day = joined([part.day for part in parts], [part.lead for part in parts], tokenizer)
    return day, np.concatenate([first.tokens, *own])


def _continued(
    of_day: tuple[MarketDay, np.ndarray],
    cut: tuple[int, int, int],
    closed: int,
    flow: FlowState | None,
    *,
    tokenizer: Tokenizer,
    book_levels: int,
    time_buckets: int,
    beside: Beside,
) -> Continued:
    """Return a prompt and its continuation, given a part of a day with its tokens.

    `cut` is where the prompt begins, where it ends, and the end of both; `closed` is what is closed before the day's
    first event, and `flow` the state of the flow there.
    """
    (day, tokens), (first, middle, last) = of_day, cut
    history = max(0, first - beside.look_back)  # what is known at an event depends on the events before it
    record = day_record(day, history, middle, tokenizer, book_levels=book_levels, closed=closed, flow=flow)
    event = event_index(tokens)
    record = {**record, "tokens": np.append(tokens[(event >= history) & (event < middle)], np.uint16(EOS))}
    prepared = prepare_record(record, time_buckets=time_buckets, beside=beside)
    before, book = snapshots_at(day, np.array([first, middle]))
    halts = halts_of(day.events.kind[:middle], day.events.code[:middle])
    now_closed = closed_before(halts, middle, closed=closed)
    events = slice(first - history, middle - history)
    prompt = prompt_of(prepared, record, events, book, now_closed, behind=behind_view(day, middle), beside=beside)
    return Continued(day.part(first, last, start=before), middle - first, prompt, first_event=first)
