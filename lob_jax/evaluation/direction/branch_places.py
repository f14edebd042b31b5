"""What may come after each token of side branches, for a model whose next token has a mask."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.data.records.records import Record, read_record
from lob_jax.events.halts import closed_before, halts_of
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.tokenizer import Tokenizer

Places = dict[str, np.ndarray]  # arrays of role PLACE, [R, C, K, ...]
_ANY_GAP = v.TIME + 1  # follows every complete size, so that the place behind a branch exists


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedRecord:
    """A record whose books before any of its events can be had.

    Attributes:
      day: its events.
      halts: what each halt closes, see `halts_of`.
      closed: what is closed before the first event.
    """

    day: MarketDay
    halts: dict[int, int]
    closed: int

    @classmethod
    def of(cls, record: Record, tokenizer: Tokenizer) -> "OpenedRecord":
        """Decode a record."""
        day = read_record(record, tokenizer)
        return cls(day, halts_of(day.events.kind, day.events.code), int(record["closed"]))


def branch_places(
    opened: OpenedRecord, event: np.ndarray, tokens: np.ndarray, length: np.ndarray, *, tokenizer: Tokenizer
) -> Places:
    """Return what is known of the place after each token of branches; zeros after the end of a chain.

    Args:
      opened: the record.
      event: int [R], ascending, the events that the branches replace.
      tokens: int32 [R, C, K], the chains of each event.
      length: int32 [R, C], tokens of each chain.
      tokenizer: the tokenizer of the record.
    """
    R, C, K = tokens.shape
    shapes = {"state": (np.int16, ()), "kind": (np.int8, ()), "allowed": (np.uint8, (v.VOCAB_SIZE // 8,))}
    found = {name: np.zeros((R, C, K, *rest), dtype) for name, (dtype, rest) in shapes.items()}
    for row, start in enumerate(snapshots_at(opened.day, event)):
        opening = MarketDay.opening(opened.day.instrument, start)
        closed = closed_before(opened.halts, int(event[row]), closed=opened.closed)
        for column in range(C):
            chain = tokens[row, column, : length[row, column]]
            sets = tokenizer.sets(np.append(chain, _ANY_GAP), opening, closed=closed)
            at = (row, column, slice(len(chain)))
            found["state"][at] = [tokenizer.grammar.walk(chain[: k + 1].tolist()) for k in range(len(chain))]
            found["kind"][at] = chain[0] // v.CLASS_SIZE
            found["allowed"][at] = sets.packed(np.arange(1, len(chain) + 1))
    return found
