"""Read the lines of a block: most of them in a compiled loop, the others one by one."""

import dataclasses

import numpy as np

from lob_jax.errors import InputError
from lob_jax.feeds.binance import lines
from lob_jax.feeds.binance.messages import ANOTHER_SYMBOL, BOOK_TICKER, NO_LEVELS, TRADES, Content, Message, parse_line
from lob_jax.feeds.binance.numbers import Texts

_CONTENTS = {
    lines.DEPTH: Content.DEPTH,
    lines.TRADE: Content.TRADE,
    lines.AGGREGATE: Content.AGGREGATE,
}


@dataclasses.dataclass(frozen=True)
class Block:
    """The messages of complete lines, M of them besides those that are only counted.

    Attributes:
      data: the lines.
      symbol: the symbol that is read.
      lines: how many lines there are.
      aside: how many were only counted, by reason.
      kinds: int64 [M], see `lines.Kind`.
      spans: int64 [M, 3]: the number of the line, where it begins and where it ends.
      numbers: int64 [M, 8], see `lines.Number`.
      left: the messages of LEFT lines, by their number among the M.
      texts: the levels.
    """

    data: bytes
    symbol: str
    lines: int
    aside: dict[str, int]
    kinds: np.ndarray
    spans: np.ndarray
    numbers: np.ndarray
    left: dict[int, Message]
    texts: Texts

    def message(self, number: int) -> Message:
        """Return one of the M messages; levels are in `texts` alone."""
        if number in self.left:
            return self.left[number]
        line, begin, end = self.spans[number].tolist()
        content = _CONTENTS[int(self.kinds[number])]
        return Message(content, self.symbol, line, self.data[begin:end], *self.numbers[number, : lines.BIDS].tolist())


def read_block(data: bytes, symbol: str, *, where: object, first: int = 1) -> Block:
    """Read complete lines.

    Args:
      data: the lines; the last one need not end in a line feed.
      symbol: the symbol that is read; messages of others come without levels.
      where: for errors.
      first: number of the first line.
    """
    bytes_, name = np.frombuffer(data, np.uint8), np.frombuffer(symbol.encode(), np.uint8)
    count = int(np.count_nonzero(bytes_ == ord("\n"))) + 1
    spans, numbers = np.zeros((count + 1, 4), np.int64), np.zeros((count, 8), np.int64)
    out = np.empty(len(data) + 1, np.uint8)
    room = np.zeros(lines.KEYS, np.uint8), np.zeros((lines.KEYS, 3), np.int64)
    kept = lines.understand_lines(bytes_, name, spans, numbers, out, *room)
    total, tickers, others, _ = spans[-1].tolist()
    spans, numbers = spans[:kept], numbers[:kept]
    spans[:, 1] += first
    places = np.flatnonzero(spans[:, 0] == lines.LEFT)
    left = {
        number: _message(data[begin:end], line, symbol, where=where)
        for number, (line, begin, end) in zip(places.tolist(), spans[places, 1:].tolist(), strict=True)
    }
    for number, message in left.items():
        numbers[number, [lines.RECEIVE_NS, lines.TIME_NS]] = message.receive_ns, message.time_ns
    counted = {BOOK_TICKER: tickers, ANOTHER_SYMBOL: others}
    return Block(
        data=data,
        symbol=symbol,
        lines=total,
        aside={reason: many for reason, many in counted.items() if many},
        kinds=spans[:, 0],
        spans=spans[:, 1:],
        numbers=numbers,
        left=left,
        texts=_texts(spans[:, 0], numbers, left, out),
    )


def _message(raw: bytes, line: int, symbol: str, *, where: object) -> Message:
    """Read a line: a bad one as FAULT, one of another symbol without its levels."""
    try:
        message = parse_line(raw, line, where=where)
    except InputError as error:
        return Message(Content.FAULT, "", line, raw, 0, fault=error)
    return message if message.symbol in (symbol, "") else message._replace(levels=NO_LEVELS)


def _texts(kinds: np.ndarray, numbers: np.ndarray, left: dict[int, Message], out: np.ndarray) -> Texts:
    """Return the levels of all messages, those of LEFT lines in their place among the others."""
    counts = numbers[:, [lines.BIDS, lines.ASKS]]
    traded = np.isin(kinds, (lines.TRADE, lines.AGGREGATE))
    pieces, done = [], 0
    for number, message in left.items():
        text, bids, asks = message.levels
        end = int(numbers[number, lines.TEXT_END])
        pieces += out[done:end], np.frombuffer(text or b"", np.uint8)
        done = end
        counts[number] = (0, 0) if text is None else (bids, asks)
        traded[number] = message.content in TRADES
    end = int(numbers[-1, lines.TEXT_END]) if len(numbers) else 0
    unfit = [number for number, message in left.items() if message.levels.text is None]
    text = np.concatenate([*pieces, out[done:end]])
    text.setflags(write=False)  # as a file's bytes are, for which the parser is compiled
    return Texts(text, counts, traded, unfit)
