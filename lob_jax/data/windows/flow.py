"""The flow features along a record, and the state of the flow between two of its events."""

import numpy as np

from lob_jax.book.flow import FlowState
from lob_jax.book.flow_loop import FlowEvents, flow_after, flow_along, flow_events
from lob_jax.data.records.flow import read_flow
from lob_jax.data.records.records import Record, record_instrument, two_sided
from lob_jax.tokens.tokenizer import Tokenizer


def record_flow(record: Record, tokenizer: Tokenizer) -> np.ndarray:
    """Return the flow features before each of a record's E events and after the last, float32 [E+1, FLOW_FEATURES].

    Raises:
      InputError: the record does not hold the state before its first event.
    """
    return flow_along(read_flow(record), _events(record, tokenizer), **_units(record))


def flow_at(record: Record, tokenizer: Tokenizer, event: int) -> FlowState:
    """Return the state of the flow before an event of a record, or after its last.

    Raises:
      InputError: the record does not hold the state before its first event.
    """
    first = FlowEvents(*(column[:event] for column in _events(record, tokenizer)))
    return flow_after(read_flow(record), first, **_units(record))


def _events(record: Record, tokenizer: Tokenizer) -> FlowEvents:
    """Return the flow of a record's events, as its tokens spell them."""
    around = {"mid2": record["mid2"], "two_sided": two_sided(record), "features_EF": record["features"]}
    return flow_events(tokenizer.spelled(record["tokens"][:-1]), **around, tick=record_instrument(record).tick)


def _units(record: Record) -> dict[str, int]:
    return {"start_ns": int(record["start_time_ns"]), "tick": record_instrument(record).tick}
