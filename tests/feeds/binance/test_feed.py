"""Binance captures: valid and invalid lines, gaps, several symbols, and real captures."""

import json
from fractions import Fraction

import numpy as np
import pytest

from lob_jax.book.replay import count_states
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Kind
from lob_jax.feeds.binance.feed import BinanceFeed
from lob_jax.feeds.feed import Reading
from tests.feeds.checks import assert_round_trip, assert_sound
from tests.feeds.sample_binance import ASKS, BIDS, CLOCK_MS, bare, depth, line, snapshot, trade

OPEN = [depth(0, 96, 104, [], []), snapshot(50, 100, BIDS, ASKS)]


def read(tmp_path, *lines, feed=None, **settings):
    path = tmp_path / "btcusdt.txt"
    path.write_text("".join(lines))
    return (feed or BinanceFeed()).read(path, Reading(**settings))


def test_a_gap_is_an_event_and_the_book_comes_back_with_the_next_snapshot(tmp_path):
    day = read(
        tmp_path, *OPEN, depth(100, 105, 106, [("99.50", "1")], []), depth(200, 120, 125, [("99.40", "1")], []),
        depth(300, 126, 130, [("99.30", "2")], []), snapshot(350, 127, BIDS[:1], ASKS[:1]),
        depth(400, 131, 131, [("99.20", "1")], []),
    )  # fmt: skip
    codes = day.events.code[day.events.kind == Kind.CONTROL].tolist()
    assert codes == [Code.FEED_GAP, Code.CLEAR] and day.report["gaps"] == 1
    assert len(day.corrections) == 2
    assert day.events.price[-2:].tolist() == [9930, 9920]  # missing in the snapshot, and added after it
    assert_sound(day)
    assert_round_trip(day)


def test_the_maker_flag_gives_the_resting_side(tmp_path):
    day = read(
        tmp_path, *OPEN, trade(60, "100.00", "2", maker_is_buyer=True), depth(100, 105, 106, [("100.00", "3")], [])
    )
    assert day.events.kind.tolist() == [Kind.EXECUTE] and day.events.side.tolist() == [BID]
    day = read(
        tmp_path, *OPEN, trade(60, "100.02", "2", maker_is_buyer=False), depth(100, 105, 106, [], [("100.02", "8")])
    )
    assert day.events.kind.tolist() == [Kind.EXECUTE] and day.events.side.tolist() == [ASK]
    assert day.events.time_ns.tolist() == [(CLOCK_MS + 60) * 10**6]


def test_trades_told_twice_count_once(tmp_path):
    aggregate = json.loads(trade(60, "100.00", "2", maker_is_buyer=True).split(" ", 1)[1])["data"]
    aggregate = {**aggregate, "e": "aggTrade", "a": 1}
    both = [*OPEN, line(61, aggregate, "btcusdt@aggTrade"), trade(60, "100.00", "2", maker_is_buyer=True)]
    assert read(tmp_path, *both).report["kinds"]["EXECUTE_HIDDEN"] == 1
    alone = [*OPEN, line(61, aggregate, "btcusdt@aggTrade")]
    assert read(tmp_path, *alone).report["kinds"]["EXECUTE_HIDDEN"] == 1


def test_a_trade_that_is_no_execution_is_counted_and_no_event(tmp_path):
    market = {"price": "100.00", "maker_is_buyer": True}
    day = read(
        tmp_path, *OPEN, trade(60, quantity="2", X="MARKET", **market),
        trade(61, "0", "0", maker_is_buyer=True, X="NA"), trade(62, "0", "0.000", maker_is_buyer=False, X="NA"),
        trade(63, "86.10", "700", maker_is_buyer=False, X="INSURANCE_FUND"), trade(64, quantity="1", X="ADL", **market),
        depth(100, 105, 106, [("100.00", "3")], []),
    )  # fmt: skip
    assert (day.events.kind.tolist(), day.report["kinds"]["EXECUTE"]) == ([Kind.EXECUTE], 1)
    assert day.events.size.tolist() == [2 * day.instrument.lot_scale]
    reasons = {reason.split("(")[-1].split(",")[0]: count for reason, count in day.report["rows_dropped"].items()}
    assert reasons == {"NA)": 2, "a trade of the insurance fund": 1, "a deleveraging": 1}
    assert_sound(day)


KLINE = {"e": "kline", "E": CLOCK_MS, "s": "BTCUSDT", "k": {"t": CLOCK_MS, "s": "BTCUSDT", "o": "99", "c": "100"}}
FORCED = {"e": "forceOrder", "E": CLOCK_MS, "o": {"s": "ETHUSDT", "S": "SELL", "q": "1", "p": "3", "X": "FILLED"}}
TICKERS = [{"e": "24hrMiniTicker", "s": symbol, "c": "1"} for symbol in ("ETHUSDT", "XRPUSDT")]
MARK = {"e": "markPriceUpdate", "E": CLOCK_MS, "s": "BTCUSDT", "p": "100.01", "r": "0.0001"}
DONE = {"result": None, "id": 1}
LISTED = {"id": "a", "status": 200, "result": []}
FAILED = {"error": {"code": 2, "msg": "no"}, "id": 3}
INVALID = {"code": 2, "msg": "Invalid request"}
ASIDE = [
    *((content, "another stream") for content in (KLINE, FORCED, TICKERS, MARK)),
    *((content, "a reply to a request") for content in (DONE, LISTED, FAILED, INVALID)),
]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("content", "reason"), ASIDE)
def test_other_streams_and_replies_are_counted_in_strict_mode_too(tmp_path, content, reason, wrapped):
    text = line(60, content, "btcusdt@kline_1m") if wrapped else bare(60, content)
    more = depth(100, 105, 106, [("99.50", "1")], [])
    day = read(tmp_path, text, *OPEN, text, more, text)
    assert day.report["rows_dropped"] == {reason: 3}
    assert day.events.price.tolist() == [9950] and day.instrument.symbol == "BTCUSDT"


def test_partial_depth_is_neither_a_snapshot_nor_an_update(tmp_path):
    spot = line(60, {"lastUpdateId": 104, "bids": BIDS[:1], "asks": ASKS[:1]}, "btcusdt@depth5@100ms")
    futures = line(
        70, json.loads(depth(70, 500, 600, BIDS[:1], [], pu=400).split(" ", 1)[1])["data"], "btcusdt@depth20"
    )
    more = depth(100, 105, 106, [("99.50", "1")], [])
    day = read(tmp_path, OPEN[0], spot, OPEN[1], spot, futures, more)
    (reason,) = day.report["rows_dropped"]
    assert reason.startswith("partial depth") and day.report["rows_dropped"][reason] == 3
    assert len(day.start) == len(BIDS) + len(ASKS) and day.report["gaps"] == 0


def test_the_reply_that_brings_a_snapshot_is_one(tmp_path):
    reply = bare(50, {"id": 7, "status": 200, "result": {"lastUpdateId": 100, "bids": BIDS, "asks": ASKS}})
    assert_sound(day := read(tmp_path, OPEN[0], reply, depth(100, 105, 106, [("99.50", "1")], [])))
    assert len(day.start) == len(BIDS) + len(ASKS) and len(day.events) == 1


def lost(count):
    return [depth(300 + k, 200 + k, 200 + k, [("99.30", "2")], []) for k in range(count)]


KEPT = [depth(100, 105, 106, [("99.50", "1")], []), depth(200, 107, 107, [("99.40", "1")], [])]


@pytest.mark.parametrize("count", [1, 1001])
@pytest.mark.parametrize("stale", [[], [snapshot(5000, 150, BIDS, ASKS)]])
def test_a_gap_that_no_snapshot_closes_is_refused_with_its_line(tmp_path, count, stale):
    lines = [*OPEN, *KEPT, *lost(count), *stale]
    with pytest.raises(InputError, match=rf"no later snapshot[\s\S]*line 5[\s\S]*{count} after[\s\S]*on_error=skip"):
        read(tmp_path, *lines)
    day = read(tmp_path, *lines, on_error="skip")
    assert day.report["rows_dropped"]["depth behind a gap"] == count and day.report["gaps"] == 1
    assert day.events.price[:2].tolist() == [9950, 9940]
    assert_sound(day)


def torn(first):
    """Return twenty updates of which none continues another."""
    return [depth(k, first + 2 * k, first + 2 * k, [("99.30", "2")], []) for k in range(20)]


@pytest.mark.parametrize(
    "lines",
    [[*torn(10), *OPEN, *KEPT], [*OPEN, *KEPT, *torn(200), snapshot(5000, 300, BIDS, ASKS)]],
    ids=["late snapshot", "gap"],
)
def test_a_day_of_which_most_is_lost_is_refused_though_a_snapshot_comes(tmp_path, lines):
    with pytest.raises(InputError, match="more depth lost than used"):
        read(tmp_path, *lines)
    day = read(tmp_path, *lines, on_error="skip")
    assert sum(day.report["rows_dropped"].values()) == 20
    assert_sound(day)


def test_of_several_symbols_one_is_read_and_the_others_are_counted(tmp_path):
    other = [text.replace("BTCUSDT", "ETHUSDT").replace("btcusdt", "ethusdt") for text in OPEN]
    more = depth(100, 105, 106, [("99.50", "1")], [])
    path = tmp_path / "two.txt"
    path.write_text("".join([*OPEN, *other, more]))
    days = BinanceFeed().days(path)
    assert [day.symbol for day in days] == ["BTCUSDT", "ETHUSDT"]
    first, second = (BinanceFeed().read(day) for day in days)
    assert (len(first.events), len(second.events)) == (1, 0)
    assert first.report["rows_dropped"]["another symbol"] == 2
    with pytest.raises(InputError, match="several symbols"):
        BinanceFeed().read(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello\n", "time of arrival"),
        ("1704196800000003000 {]\n", "not JSON"),
        ("1704196800000003000 [1]\n", "not a JSON object"),
        (depth(100, 107, 105, [], []), "run backwards"),
        (depth(100, 105, 106, [("99.50", "-1")], []), "level quantities of 0 or more"),
        (depth(100, 105, 106, [("nan", "1")], []), "decimal numbers"),
        (depth(100, 105, 106, [("99.50", "1")], [], s=""), "an empty 's'"),
        (depth(100, 105, 106, [("99.50",)], []), "not a pair"),
        (depth(100, 105, 106, [(99.5, 1)], []), "not a pair"),
        (line(100, {"e": 24, "s": "BTCUSDT"}), "unknown kind"),
        (line(100, {"id": 1, "s": "BTCUSDT"}), "unknown kind"),
        (trade(60, "100.00", "1", maker_is_buyer=True, X="SETTLEMENT"), "unknown type"),
        (trade(60, "100.00", "1", maker_is_buyer=True, X="NA"), "unknown type"),
        (trade(60, "100.00", "1", maker_is_buyer=True, X=1), "wrong type of 'X'"),
        (line(100, {"e": "depthUpdate", "s": "BTCUSDT", "E": CLOCK_MS, "U": 105}), "without 'u'"),
        (trade(60, "100.00", "0", maker_is_buyer=True), "quantities"),
    ],
)
def test_a_bad_line_is_refused_by_its_number_and_counted_otherwise(tmp_path, text, told):
    more = depth(200, 105, 106, [("99.50", "1")], [])
    with pytest.raises(InputError, match=rf"(?s){told}.*") as raised:
        read(tmp_path, *OPEN, text, more)
    assert "line 3" in str(raised.value)
    day = read(tmp_path, *OPEN, text, more, on_error="quarantine", quarantine=tmp_path / "bad")
    assert len(day.events) == 1 and sum(day.report["rows_dropped"].values()) >= 1
    assert text[:5] in (tmp_path / "bad" / "btcusdt.txt.jsonl").read_text()


def test_a_capture_without_a_snapshot_is_refused(tmp_path):
    with pytest.raises(InputError, match="no snapshot that the depth continues"):
        read(tmp_path, depth(0, 1, 2, [("99.50", "1")], []))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["usdm_btcusdt_20240808.gz", "spot_btcusdt_20240808.gz"])
def test_a_real_capture_is_never_crossed_and_comes_back_from_its_tokens(market_data, name):
    day = BinanceFeed().read(market_data(f"binance/{name}"))
    assert_sound(day)
    counts = count_states(day)
    assert counts == {"crossed": 0, "locked": 0, "unknown_level": 0, "over_removal": 0}
    assert day.report["gaps"] == 0 and len(day.events) > 100_000
    assert_round_trip(day)


@pytest.mark.slow
def test_a_capture_that_goes_on_in_a_second_file_has_no_snapshot_of_its_own(market_data, tmp_path):
    second = market_data("binance/spot_btcusdt_20240809.gz")
    with pytest.raises(InputError, match=r"cat first\.gz second\.gz"):
        BinanceFeed().read(second)
    joined = tmp_path / "both.gz"
    joined.write_bytes(market_data("binance/spot_btcusdt_20240808.gz").read_bytes() + second.read_bytes())
    day = BinanceFeed().read(joined)
    assert day.report["gaps"] == 0 and np.isin(day.events.kind, (Kind.ADD, Kind.DELETE)).sum() > 200_000


def exact(day):
    """Return the prices and quantities of the first events in units of the instrument."""
    scale = day.instrument
    return [
        (Fraction(p, scale.price_scale), Fraction(q, scale.lot_scale))
        for p, q in zip(day.events.price.tolist(), day.events.size.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("price", "quantity"),
    [
        ("0.00000123", "1500000000000.00"),  # 1.5e12 coins of almost no value
        ("99.50", "11529215046.07"),  # just above 2^60 at eight decimal places
        ("2000000000.5", "0.000000001"),
        ("-3.25", "4"),
        ("0.00", "4"),
    ],
)
def test_numbers_of_any_size_and_prices_of_any_sign_are_read_exactly(tmp_path, price, quantity):
    more = [depth(100, 105, 106, [(price, quantity)], []), depth(200, 107, 107, [], [("99.97", "0.125")])]
    day = read(tmp_path, *OPEN, *more)
    assert exact(day)[0] == (Fraction(price), Fraction(quantity))
    assert exact(day)[1] == (Fraction("99.97"), Fraction("0.125"))
    assert day.instrument.signed == (Fraction(price) <= 0) == day.report["prices_not_positive"]
    assert_sound(day)
    assert_round_trip(day, may_refuse=len(quantity) > 12)


def test_only_prices_that_are_read_are_counted_by_their_sign(tmp_path):
    bad = depth(100, 105, 105, [("nan", "1")], [])
    lines = [*OPEN, depth(100, 105, 106, [("-1.00", "1"), ("99.50", "1")], []), bad, depth(200, 120, 120, [], [])]
    day = read(tmp_path, *lines, on_error="skip")
    assert day.report["prices_not_positive"] == 1 and day.report["gaps"] == 1


def test_a_named_tick_and_lot_decide_the_places(tmp_path):
    more = depth(100, 105, 106, [("99.50", "1500000000000")], [])
    day = read(tmp_path, *OPEN, more, feed=BinanceFeed(tick="0.01", lot="0.1"))
    assert exact(day) == [(Fraction("99.5"), Fraction(1_500_000_000_000))]
    with pytest.raises(InputError, match="too many decimal places"):
        read(tmp_path, *OPEN, depth(100, 105, 106, [("99.505", "1")], []), feed=BinanceFeed(tick="0.01"))


def test_another_symbol_decides_no_places(tmp_path):
    other = depth(100, 1, 2, [("0.0000000000001", "9000000000000000000")], [], s="PEPEUSDT")
    path = tmp_path / "two.txt"
    path.write_text("".join([*OPEN, other, KEPT[0]]))
    day = BinanceFeed().read(BinanceFeed().days(path)[0])
    assert exact(day) == [(Fraction("99.5"), Fraction(1))]
