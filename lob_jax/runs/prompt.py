"""Prompts: the first events of a record or the last ones of a day, with the book after them."""

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.book.view import NOTHING_BEHIND, OutOfView
from lob_jax.data.records.records import Record, RecordSource, day_record, read_record, record_start
from lob_jax.data.windows.dataset import PreparedRecord, prepare_record
from lob_jax.data.windows.known import NOTHING, Beside, flow_of, past_of, recent_of, remembered_of
from lob_jax.errors import InputError
from lob_jax.events.halts import closed_before, halts_of
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.reveals import behind_view
from lob_jax.models.inputs import BY_NAME
from lob_jax.tokens.tokenizer import Ability, Tokenizer


def make_prompt(
    records: RecordSource,
    *,
    events: int,
    tokenizer: Tokenizer,
    time_buckets: int,
    beside: Beside = NOTHING,
) -> Prompt:
    """Return events of a split's first record as a prompt, with the book after them.

    If the tokens are lossless, the prompt is the first events, and the book is replayed from them. Otherwise the prompt
    ends where the second record starts, since the book there is stored with that record.

    Args:
      records: the records of the split.
      events: length of the prompt.
      tokenizer: the tokenizer of the records.
      time_buckets: time-of-day buckets per day.
      beside: what else the model reads.

    Raises:
      InputError: the record has fewer events, or a second record is needed and missing, or begins with the first.
    """
    record = records[0]
    prepared = prepare_record(record, time_buckets=time_buckets, beside=beside)
    available = longest_prompt(records, tokenizer)
    if events > available:
        raise InputError(
            "the prompt is longer than the first record",
            where="config.generate.prompt_events",
            expected=f"at most {available}",
            was=events,
            remedy="ask for fewer events",
        )
    if Ability.EVENTS in tokenizer.lacks:
        last, book, closed = _at_next_record(records, tokenizer)
        return prompt_of(prepared, record, slice(last - events, last), book, closed, beside=beside)
    day = read_record(record, tokenizer)
    (book,) = snapshots_at(day, np.array([events]))
    halts = halts_of(day.events.kind, day.events.code)
    closed = closed_before(halts, events, closed=int(record["closed"]))
    return prompt_of(prepared, record, slice(0, events), book, closed, behind=behind_view(day, events), beside=beside)


def longest_prompt(records: RecordSource, tokenizer: Tokenizer) -> int:
    """Return the number of events that the longest prompt of a split's first record has, see `make_prompt`.

    Raises:
      InputError: a second record is needed and missing, or begins with the first.
    """
    if Ability.EVENTS in tokenizer.lacks:
        return _at_next_record(records, tokenizer)[0]
    return len(records[0]["clock_ns"]) - 1


def prompt_from_day(
    day: MarketDay,
    *,
    events: int,
    tokenizer: Tokenizer,
    book_levels: int,
    time_buckets: int,
    beside: Beside = NOTHING,
) -> Prompt:
    """Return the last events of a day as a prompt, with the book after them.

    Args:
      day: the day.
      events: how many; all events of a shorter day.
      tokenizer: the tokenizer of the model.
      book_levels: occupied levels per side that the model sees.
      time_buckets: time-of-day buckets per day.
      beside: what else the model reads.

    Raises:
      InputError: the day has no events, or one that the tokenizer cannot encode.
    """
    count = len(day.events)
    if not count or events < 1:
        raise InputError(
            "there is nothing to continue",
            where="the prompt",
            expected="at least one event of the day",
            was=f"{events} of {count}",
            remedy="pass a day with events, and ask for at least one of them",
        )
    first = max(0, count - events)
    history = max(0, first - beside.look_back)  # what is known at an event depends on the events before it
    record = day_record(day, history, count, tokenizer, book_levels=book_levels, flow=beside.blank_flow)
    (book,) = snapshots_at(day, np.array([count]))
    prepared = prepare_record(record, time_buckets=time_buckets, beside=beside)
    closed = closed_before(halts_of(day.events.kind, day.events.code), count)
    shown = slice(first - history, count - history)
    return prompt_of(prepared, record, shown, book, closed, behind=behind_view(day, count), beside=beside)


def prompt_of(
    prepared: PreparedRecord,
    record: Record,
    events: slice,
    book: BookSnapshot,
    closed: int,
    *,
    behind: OutOfView = NOTHING_BEHIND,
    beside: Beside = NOTHING,
) -> Prompt:
    """Return a slice of a record's events as a prompt, with the book after them.

    Args:
      prepared: the record as it is read in training.
      record: the record.
      events: the events.
      book: the book after them.
      closed: what is closed then.
      behind: the levels behind the view of the book.
      beside: what the record was prepared with.
    """
    continued = [name for name in prepared.known if BY_NAME[name].advance is not None]  # no labels
    mine = (prepared.event >= events.start) & (prepared.event < events.stop)
    return Prompt(
        tokens_T=prepared.tokens[mine],
        known_T={"event": prepared.event[mine], **{name: prepared.known[name].at(mine) for name in continued}},
        book=book,
        clock_ns=int(record["clock_ns"][events.stop]),
        closed=closed,
        behind=behind,
        flow=flow_of(record, beside, events.stop),
        recent=recent_of(record, beside, events.stop),
        remembered=remembered_of(record, beside, events.stop),
        past=past_of(record, beside, events.stop),
    )


def _at_next_record(records: RecordSource, tokenizer: Tokenizer) -> tuple[int, BookSnapshot, int]:
    """Return the number of events before the second record, the book there, and what is closed then."""
    if len(records) < 2 or records[1]["instrument"] != records[0]["instrument"]:
        raise InputError(
            "there is no book to generate from",
            where="the records of the split",
            expected=f"two records of one day, since the tokens are {tokenizer.name}",
            was=f"{len(records)} record(s)",
            remedy="prepare shorter records, by --config.data.record_events",
        )
    last = int(records[1]["first_event"]) - int(records[0]["first_event"])
    if last < 1:
        raise InputError(
            "there is no event before the first book to generate from",
            where="the records of the split",
            expected="a second record whose lead begins after the first record does",
            was="two records with the same first event, since the lead is as long as a record",
            remedy="prepare longer records, by --config.data.record_events",
        )
    return last, record_start(records[1]), int(records[1]["closed"])
