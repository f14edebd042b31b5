"""What general compressors need for the same events, for scale."""

import lzma
from collections.abc import Callable

import numpy as np
from backports import zstd

from lob_jax.counts.contexts import CodeSets
from lob_jax.counts.decisions import Prepared
from lob_jax.data.records.records import RecordSource
from lob_jax.tokens.tokenizer import Tokenizer

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
    "zstd": lambda data: zstd.compress(data, level=19),
}


def compressed_bits(train: RecordSource, test: RecordSource, tokenizer: Tokenizer) -> dict[str, float]:
    """Return by compressor how many bits an event of the test split adds to the compressed training split.

    That is (C(train + test) - C(train)) / events of the test split, where C is the length in bits of the compressed
    columns, each on its own: see `packed_columns`.

    Args:
      train: records of the training split.
      test: records of the test split, with at least one event after its leads.
      tokenizer: the tokenizer of the records; it gives back their events.
    """
    sets = CodeSets.of(tokenizer.grammar)
    first, both = [], []
    for source, into in ((train, (first, both)), (test, (both,))):
        for index in range(len(source)):
            one = Prepared.of(source[index], tokenizer, sets)
            for parts in into:
                parts.append(one)
    events = sum(int(one.counted.sum()) for one in both[len(first) :])
    columns = packed_columns(both), packed_columns(first)
    return {
        name: 8 * (_length(columns[0], compress) - _length(columns[1], compress)) / events
        for name, compress in COMPRESSORS.items()
    }


def packed_columns(records: list[Prepared]) -> list[bytes]:
    """Return the counted events of records as four columns, from which their tokens can be written.

    The columns are: kind and side, or the code of a CONTROL event, as one byte; the difference of the price from that
    of the event before, in price quanta; the size; and the gap in ns. Those three are 64-bit little-endian integers,
    stored as eight planes: first the lowest byte of every number, then the next.
    """
    kept = [np.zeros((4, 0), np.int64)]
    for one in records:
        steps = one.steps
        rows = np.stack([steps.action, steps.price, steps.size, np.diff(one.time_ns)])
        kept.append(rows[:, one.counted])
    action, price, size, gap = np.concatenate(kept, axis=1)
    numbers = (np.diff(price, prepend=0), size, gap)
    return [action.astype(np.uint8).tobytes(), *(_planes(column) for column in numbers)]


def _planes(numbers: np.ndarray) -> bytes:
    return np.ascontiguousarray(numbers.astype("<i8").view(np.uint8).reshape(-1, 8).T).tobytes()


def _length(columns: list[bytes], compress: Callable[[bytes], bytes]) -> int:
    return sum(len(compress(column)) for column in columns)
