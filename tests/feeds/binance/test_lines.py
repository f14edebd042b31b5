"""A line that the compiled loop understands is understood as the parser of any JSON understands it."""

import json
import random

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.feeds.binance import lines
from lob_jax.feeds.binance.block import read_block
from lob_jax.feeds.binance.messages import Content, parse_line

FUTURES = b'1723161255030314667 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161255213,"T":1723161255210,"s":"BTCUSDT","U":4012,"u":4019,"pu":4009,"b":[["61659.60","0.000"],["61700.00","1.5"]],"a":[["61805","0.059"]]}}'  # noqa: E501
SPOT = b'1723161253937085768 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50,"u":51,"b":[],"a":[["61837.64","1.54"],["61839.85","0.0"]]}}'  # noqa: E501
TRADE = b'1723161254087896568 {"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63","q":"0.02","T":1723161255342,"m":true,"M":true}'  # noqa: E501
MARKET = b'1723161254087896568 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"T":1723161255342,"s":"BTCUSDT","t":5,"p":"61837.6","q":"0.02","X":"MARKET","m":false}}'  # noqa: E501
AGGREGATE = b'1723161254087 {"e":"aggTrade","E":1723161255343,"a":77,"s":"BTCUSDT","p":"1","q":"2","f":1,"l":2,"T":1723161255342000,"m":false}'  # noqa: E501
TICKER = b'1723161254087891268 {"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5,"s":"BTCUSDT","b":"61837.63","B":"3.7","a":"61837.64","A":"1.5","T":1723161255342,"E":1723161255343}}'  # noqa: E501
BARE_TICKER = b'1723161254087891268 {"u":5,"s":"BTCUSDT","b":"61837.63","B":"3.7","a":"61837.64","A":"1.5"}'
SNAPSHOT = b'1723161254206652067 {"lastUpdateId":218,"bids":[["61837.63","3.7"]],"asks":[["61837.64","1.5"]]}'
KNOWN = {
    "depth of futures": (FUTURES, lines.DEPTH),
    "depth of spot": (SPOT, lines.DEPTH),
    "trade": (TRADE, lines.TRADE),
    "trade of futures": (MARKET, lines.TRADE),
    "aggregate": (AGGREGATE, lines.AGGREGATE),
}
# What a change puts into a line: marks of JSON, digits, other keys and values, and bytes that are no text.
PIECES = [
    *(b'"', b",", b":", b"{", b"}", b"[", b"]", b"\\", b" ", b"0", b"1", b"9", b"-", b".", b"e", b"\r", b"\t", b"\x00"),
    *(b"\xff", b"\xc3\xa9", b"null", b"true", b'"X":"ADL",', b'"T":5,', b'"s":"ETHUSDT",', b'"m":1,', b'"b":[],'),
    *(b'"e":"trade",', b'"u":7,', b'"pu":1,', b'"stream":"a@depth5",', b'"data":{},', b'["1","2"],', b'"\\u0041":1,'),
    *(b"@depth20", b'"":1,', b'"q":"",', b'"E":1.5,', b'"U":01,', b'"zz":"x",'),
]


def understood(line, symbol="BTCUSDT"):
    """Return what the compiled loop makes of a line, None if it leaves it to the parser."""
    block = read_block(line, symbol, where="here")
    if block.left:
        return None
    if not len(block.kinds):
        return Content.ASIDE, *block.aside.popitem()
    if block.kinds[0] == lines.OTHER:
        return "other", int(block.numbers[0, lines.TIME_NS])
    message = block.message(0)
    return (
        *message[:2],
        *message[4:9],
        *block.texts.counts[0].tolist(),
        block.texts.lines.tobytes(),
        bool(block.texts.traded[0]),
    )


def parsed(line, symbol="BTCUSDT"):
    """Return the same of the parser."""
    message = parse_line(line, 1, where="here")
    if message.content is Content.ASIDE:
        return Content.ASIDE, message.reason if message.symbol == symbol else "another symbol", 1
    if message.symbol != symbol:
        return "other", message.time_ns
    text, bids, asks = message.levels
    traded = message.content in (Content.TRADE, Content.AGGREGATE)
    return (*message[:2], *message[4:9], bids, asks, text, traded)


@pytest.mark.parametrize("name", KNOWN)
def test_lines_as_binance_writes_them_are_understood(name):
    line, kind = KNOWN[name]
    assert read_block(line, "BTCUSDT", where="here").kinds.tolist() == [kind]
    assert understood(line) == parsed(line)
    assert understood(line, "ETHUSDT") == parsed(line, "ETHUSDT")


@pytest.mark.parametrize("line", [TICKER, BARE_TICKER])
def test_best_quotes_are_only_counted(line):
    assert understood(line) == (Content.ASIDE, "book ticker", 1)
    assert understood(line, "ETHUSDT") == (Content.ASIDE, "another symbol", 1)


@pytest.mark.parametrize("first", range(8))
def test_a_changed_line_is_understood_as_the_parser_does_or_left_to_it(first):
    random.seed(first)
    kinds = []
    for _ in range(2_000):
        line = random.choice([line for line, _ in KNOWN.values()] + [TICKER, BARE_TICKER])
        for _ in range(random.randrange(1, 4)):
            at = random.choice([place for place in range(len(line)) if random.random() < 0.3 or line[place] in b'",:'])
            removed = random.choice([0, 0, 1, 1, random.randrange(12)])
            line = line[:at] + random.choice([b"", *PIECES]) + line[at + removed :]
        line = line.replace(b"\n", b"")
        found = understood(line)
        kinds.append(found is None)
        if found is not None:
            assert found == parsed(line), line
    assert 0.02 < 1 - np.mean(kinds) < 0.9  # some of both


@pytest.mark.parametrize("number", [0, 1, 2**61, 2**62 - 1, 2**62, 10**18 - 1, 10**18, 10**19, 1723161255342])
@pytest.mark.parametrize("key", ["T", "u", "pu"])
def test_large_numbers(number, key):
    head, _, text = FUTURES.partition(b" ")
    message = json.loads(text)
    message["data"][key] = number
    line = head + b" " + json.dumps(message, separators=(",", ":")).encode()
    found = understood(line)
    try:
        expected = parsed(line)
    except InputError:
        assert found is None
    else:
        assert found in (None, expected)


@pytest.mark.parametrize(
    "time", [b"9223372036854775808", b"9999999999999999999", b"0723161255030314667", b"4611686018427387904"]
)
def test_a_time_of_arrival_out_of_range_is_left(time):
    line = time + FUTURES[19:]
    assert understood(line) is None


def test_lines_that_are_left_keep_their_place_among_the_others():
    spaced = MARKET.replace(b'"p":"61837.6"', b'"p": "5"')
    block = read_block(b"\n".join([FUTURES, spaced, TICKER, SNAPSHOT, TRADE, b""]), "BTCUSDT", where="here", first=11)
    assert (block.lines, block.aside) == (5, {"book ticker": 1})
    assert [block.message(number).line for number in range(4)] == [11, 12, 14, 15]
    assert [block.message(number).raw for number in range(4)] == [FUTURES, spaced, SNAPSHOT, TRADE]
    assert block.texts.lines.tobytes().split() == [
        *(
            b"61659.60,0.000",
            b"61700.00,1.5",
            b"61805,0.059",
            b"5,0.02",
            b"61837.63,3.7",
            b"61837.64,1.5",
            b"61837.63,0.02",
        )
    ]
    assert block.texts.counts.tolist() == [[2, 1], [0, 1], [1, 1], [1, 0]]
    assert block.texts.traded.tolist() == [False, True, False, True]
