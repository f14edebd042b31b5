"""Binance captures: what a line must be, gaps, several symbols, and real captures."""

import json

import numpy as np
import pytest

from lob_jax.book.replay import count_states
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Kind
from lob_jax.feeds.binance import BinanceFeed
from lob_jax.feeds.feed import Reading
from tests.feeds.checks import assert_round_trip, assert_sound, book_of
from tests.feeds.sample_binance import ASKS, BIDS, CLOCK_MS, depth, line, snapshot, trade

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
    assert day.events.price[-2:].tolist() == [9930, 9920]  # what the snapshot had not, and what came behind it
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
        ("1704196800000003000 {]\n", "no JSON"),
        ("1704196800000003000 [1]\n", "no JSON object"),
        (depth(100, 107, 105, [], []), "run backwards"),
        (depth(100, 105, 106, [("99.50", "-1")], []), "levels 0 or more"),
        (depth(100, 105, 106, [("nan", "1")], []), "decimal numbers"),
        (depth(100, 105, 106, [("99.50", "1")], [], s=""), "an empty 's'"),
        (depth(100, 105, 106, [("99.50",)], []), "no pair of texts"),
        (depth(100, 105, 106, [(99.5, 1)], []), "no pair of texts"),
        (line(100, {"e": "kline", "s": "BTCUSDT"}), "unknown kind"),
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
    counts = count_states(day.events, **book_of(day))
    assert counts == {"crossed": 0, "locked": 0, "unknown_level": 0, "over_removal": 0}
    assert day.report["gaps"] == 0 and len(day.events) > 100_000
    assert_round_trip(day)


def test_a_capture_that_goes_on_in_a_second_file_has_no_snapshot_of_its_own(market_data, tmp_path):
    second = market_data("binance/spot_btcusdt_20240809.gz")
    with pytest.raises(InputError, match=r"cat first\.gz second\.gz"):
        BinanceFeed().read(second)
    joined = tmp_path / "both.gz"
    joined.write_bytes(market_data("binance/spot_btcusdt_20240808.gz").read_bytes() + second.read_bytes())
    day = BinanceFeed().read(joined)
    assert day.report["gaps"] == 0 and np.isin(day.events.kind, (Kind.ADD, Kind.DELETE)).sum() > 200_000
