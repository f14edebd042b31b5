"""The symbols of a capture are found without its lines being parsed."""

import json
import random

import numpy as np
import pytest

from lob_jax.feeds.binance.files import scan
from lob_jax.feeds.binance.search import SHORTEST_LINE, search_symbols

TIME = b"1723161255030314667 "


def searched(data):
    """Return the symbols of trades and those of depth."""
    spans = np.empty((len(data) // SHORTEST_LINE + 1, 3), np.int64)
    found = spans[: search_symbols(np.frombuffer(data, np.uint8), spans)].tolist()
    return [{data[begin:end].decode() for begin, end, kind in found if kind == wanted} for wanted in (0, 1)]


def test_symbols_are_found_in_messages_of_any_order_and_spacing():
    rng = random.Random(0)
    for _ in range(200):
        expected, lines = [set(), set()], []
        for _ in range(rng.randrange(8)):
            event, symbol = rng.choice(["trade", "depthUpdate", "aggTrade", "bookTicker"]), rng.choice("ABC") * 3
            fields = [("e", event), ("s", symbol), ("E", 5), ("p", "1.0"), ("es", "trade"), ("b", [["1", "2"]])]
            rng.shuffle(fields)
            body = dict(fields)
            body = {"stream": "x@y", "data": body} if rng.random() < 0.5 else body
            separators = rng.choice([(",", ":"), (", ", ": "), (" ,\t", " :  ")])
            lines.append(TIME + json.dumps(body, separators=separators).encode())
            if event in ("trade", "depthUpdate"):
                expected[event == "depthUpdate"].add(symbol)
        end = rng.choice([b"", b"\n"])
        assert searched(b"\n".join(lines) + end) == expected


@pytest.mark.parametrize("symbol", ["", "A" * 41, 'A\n"'])
def test_what_cannot_be_a_symbol_is_none(symbol):
    assert searched(f'{{"e":"depthUpdate","s":"{symbol}","U":1}}'.encode()) == [set(), set()]


@pytest.mark.parametrize(
    "line",
    [
        *(b'"e"', b'"s"', b'"e":', b'"e":"', b'"e":"trade', b'"e":"trade","s":"A', b'"s":"A"', b'"e" "trade""s":"A"'),
        *(b'"e":"trades","s":"A"', b'"e":"depthUpdate2","s":"A"', b'"e":5,"s":"A"', b'"e":"trade"\n"s":"A"', b""),
    ],
)
def test_parts_of_a_message_are_none(line):
    assert searched(line) == [set(), set()]


def test_the_shortest_lines_fit():
    assert searched(b'"s":"A""e":"trade"\n"s":"B""e":"trade"\n' * 50) == [{"A", "B"}, set()]
    assert searched(b'"s":"A""e":"trade"') == [{"A"}, set()]
    assert searched(b'"s":"e":"trade"') == [{"e"}, set()]
    assert len(b'"s":"e":"trade"') == SHORTEST_LINE


def test_a_capture_tells_which_symbols_have_trades(tmp_path):
    path = tmp_path / "capture"
    depth = [f'{{"e":"depthUpdate","s":"{symbol}"}}'.encode() for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT")]
    trades = [f'{{"e":"trade","s":"{symbol}"}}'.encode() for symbol in ("ETHUSDT", "XRPUSDT")]
    path.write_bytes(b"".join(TIME + line + b"\n" for line in depth + trades))
    capture = scan(path)
    assert capture is not None and capture.trading_day == "2024-08-08"
    assert capture.symbols == {"BTCUSDT": False, "ETHUSDT": True}
