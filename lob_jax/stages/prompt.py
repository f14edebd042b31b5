"""What a model is given to continue: the first events of a record, and the book that they end in."""

import dataclasses
from typing import Any

import numpy as np

from lob_jax.book.replay import snapshots_at
from lob_jax.data.dataset import NOTHING, Beside, prepare_record
from lob_jax.data.records import record_corrections, record_instrument, record_start
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.generation.state import Prompt
from lob_jax.tokens.exact import ExactTokenizer


def make_prompt(
    record: dict[str, Any], *, events: int, tokenizer: ExactTokenizer, time_buckets: int, beside: Beside = NOTHING
) -> Prompt:
    """Return the first events of a record as a prompt, with the book that they end in.

    Raises:
      InputError: the record has fewer events.
    """
    tokens, start, corrections = record["tokens"][:-1], record_start(record), record_corrections(record)
    prepared = prepare_record(record, time_buckets=time_buckets, beside=beside)
    available = len(record["clock_ns"]) - 1
    if events > available:
        raise InputError(
            "the prompt is longer than a record",
            where="config.generate.prompt_events",
            expected=f"at most {available}",
            was=events,
            remedy="ask for fewer events",
        )
    instrument = record_instrument(record)
    decoded = tokenizer.decode(tokens, instrument=instrument, start=start, corrections=corrections)
    (book,) = snapshots_at(decoded, start=start, corrections=corrections, at=np.array([events]))
    mine = prepared.event < events
    return Prompt(
        tokens_T=prepared.tokens[mine],
        time_of_day_T=prepared.time_of_day[prepared.event[mine]],
        day_of_week_T=np.full(mine.sum(), prepared.day_of_week, np.int32),
        book_TF=prepared.book[prepared.row[mine]],
        beside_T={"event": prepared.event[mine], **{name: array[mine] for name, array in prepared.beside.items()}},
        # What leaves the feed's window is still in the market: a generated book forgets nothing.
        book=dataclasses.replace(book, window=0),
        clock_ns=int(record["clock_ns"][events]),
        closed=_closed(decoded[:events]),
    )


def _closed(events: Events) -> int:
    """Return what the halts among events leave closed, see `LiveBook`; before the first the market is open."""
    state = {Code.HALT: 2, Code.RESUME_QUOTE: 1, Code.RESUME_TRADE: 0}
    codes = [code for code in events.code[events.kind == Kind.CONTROL].tolist() if code in state]
    return state[codes[-1]] if codes else 0
