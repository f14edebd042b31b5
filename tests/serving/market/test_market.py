"""A market that is followed event by event is the one that a day is when it is read at once, bit for bit."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.vocabulary import BOS, event_index
from tests.serving.market.markets import (
    EVERYTHING,
    TOKENIZERS,
    contents_of,
    control,
    days,
    differences,
    followed,
    last_token,
    one_event,
    opened,
    simulated,
    whole,
)

EXACT = TOKENIZERS["exact"]
DAYS = ("orders", "halts", "window", "narrow window", "levels", "signed", "without ids")


def assert_same(day, tokenizer, cuts, model=None):
    market, expected = opened(day, tokenizer, model), whole(day, tokenizer, model)
    found = followed(market, day, cuts)
    assert differences(found, {"tokens": expected.tokens_T, **expected.known_T}) == []
    assert differences(market.prompt(), last_token(expected)) == []
    assert (market.events, market.time_ns, market.closed) == (len(day.events), expected.clock_ns, expected.closed)
    return market, found


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("name", DAYS)
def test_in_whatever_parts_a_day_comes(name, tokenizer):
    day, random = days()[name], np.random.default_rng(3)
    market, found = assert_same(day, TOKENIZERS[tokenizer], np.sort(random.integers(0, len(day.events), 9)))
    same = {"day_of_week", "instrument"} | ({"queue"} if tokenizer == "compact" else set())
    assert {key for key, values in found.items() if len(np.unique(values)) == 1} == same
    if "window" in name:
        assert len(market.prompt().behind.side) > 0


@pytest.mark.parametrize("tokenizer", ["rounded", "ranks", "compact"])
@pytest.mark.parametrize("name", ["halts", "narrow window"])
def test_one_event_after_the_other(name, tokenizer):
    day = days()[name]
    assert_same(day, TOKENIZERS[tokenizer], range(1, len(day.events)))


@pytest.mark.parametrize("changes", [{}, {"regime": "prefix", "n_regimes": 9}, {"flow_state": True}])
def test_a_model_that_reads_less(changes):
    nothing = {name: False for name in ("flow_state", "queue_state", "price_memory", "latest_tokens", "pointer")}
    less = {**nothing, "positions": "rotary", "regime": "none", "n_instruments": 0, "mask": "none", **changes}
    model = dataclasses.replace(EVERYTHING, **less)
    _, found = assert_same(days()["orders"], EXACT, (1, 700), model)
    assert "queue" not in found and ("regime" in found) == ("regime" in changes)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("name", DAYS)
def test_what_is_unusual_is_told(name, tokenizer):
    day, words = days()[name], TOKENIZERS[tokenizer]
    market, tokens, told = opened(day, words), [], []
    for first in range(0, len(day.events), 100):
        part = slice(first, first + 100)
        tokens.append(market.take(day.events[part], day.corrections.between(part.start, part.stop))["tokens"])
        told += market.outside
    tokens = np.concatenate(tokens)
    expected = np.zeros(len(day.events), np.uint8)
    np.maximum.at(expected, event_index(tokens), words.sets(tokens, day).outside)
    assert told == ["" if escape == Escape.INSIDE else Escape(escape).name for escape in expected]
    assert any(told) == (name in ("levels", "halts", "window", "narrow window") or any(expected))


def test_a_market_at_its_opening_is_a_bos():
    day = days()["orders"]
    market = opened(day, EXACT)
    prompt, day_read = market.prompt(number=7), whole(day, EXACT)
    assert prompt.tokens_T.tolist() == [BOS] and prompt.known_T["event"].tolist() == [-1] and prompt.number == 7
    assert prompt.tokens_T.dtype == np.int32 and list(prompt.known_T) == list(day_read.known_T)
    for name in ("book", "flow", "time_of_day", "anchors", "regime", "clock", "instrument"):
        assert differences(prompt.known_T[name], day_read.known_T[name][:1]) == []
    assert not prompt.known_T["queue"].any() and not prompt.known_T["price_memory"].any()
    assert not prompt.known_T["latest"].any()
    assert (market.events, market.time_ns, market.closed, market.outside) == (0, day.start.time_ns, 0, [])
    assert market.instrument == day.instrument != contents_of(day, EXACT).instrument


def test_the_best_quotes_are_those_of_the_book():
    day = days()["orders"]
    market = opened(day, EXACT)
    for side, best in ((1, market.bid), (-1, market.ask)):
        price = max(day.start.price[day.start.side == side] * side) * side
        assert best == (price, day.start.size[(day.start.side == side) & (day.start.price == price)].sum())
    market.take(control(day, Code.CLEAR))
    assert market.bid is None and market.ask is None and market.outside == ["CLEARED"]


def test_a_copy_goes_its_own_way():
    day = days()["window"]
    market = opened(day, EXACT)
    market.take(day.events[:50], day.corrections.between(0, 50))
    before, other = market.prompt(), market.copy()
    other.take(day.events[50:300], day.corrections.between(50, 300))
    assert differences(market.prompt(), before) == [] and market.events == 50 and other.events == 300
    market.take(day.events[50:300], day.corrections.between(50, 300))
    assert differences(market.prompt(), other.prompt()) == []


def test_what_a_prompt_holds_stays_as_it_was():
    day = days()["window"]
    market = opened(day, EXACT)
    market.take(day.events[:300], day.corrections.between(0, 300))
    one, again = market.prompt(), market.copy().prompt()
    market.take(day.events[300:301], day.corrections.between(300, 301))
    market.take(day.events[301:], day.corrections.between(301, len(day.events)))
    assert differences(one, again) == []


@pytest.mark.parametrize("tokenizer", ["exact", "ranks", "compact"])
def test_a_correction_may_come_before_an_event_or_by_itself(tokenizer):
    day, words = days()["narrow window"], TOKENIZERS[tokenizer]
    at = int(day.corrections.event[20])
    late = day.corrections.between(at, at + 1)
    by_itself, beside, known = opened(day, words), opened(day, words), opened(day, words)
    for market in (by_itself, beside):
        market.take(day.events[: at + 1], day.corrections.between(0, at))
    known.take(day.events[: at + 1], day.corrections.between(0, at + 1))
    late = dataclasses.replace(late, event=late.event - 1)
    assert len(by_itself.take(Events.from_columns(), late)["tokens"]) == 0
    of_book = ("book", "anchors", "regime")
    mine, expected = by_itself.prompt(), known.prompt()
    assert [path for path in differences(mine, expected) if not path.startswith("/flow/")] == []
    assert by_itself.bid == known.bid and by_itself.ask == known.ask
    found = beside.take(day.events[at + 1 : at + 2], late)
    exact = known.take(day.events[at + 1 : at + 2])
    for name in ("tokens", *(key for key in of_book if key in found)):
        assert differences(found[name], exact[name]) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"event": 5}, "event"),
        ({"event": -2}, "event"),
        ({"side": 0}, "side"),
        ({"price": 50}, "price"),
        ({"price": 0}, "price"),
        ({"price": 10_050}, "price"),
        ({"size": -1}, "size"),
        ({"size": 10**12}, "size"),
    ],
)
def test_a_correction_that_is_none_is_refused(change, where):
    day = days()["orders"]
    market = opened(day, EXACT)
    row = {"event": 0, "side": 1, "price": 10_000, "size": 5, **change}
    corrections = Corrections(*(np.array([value]) for value in row.values()))
    with pytest.raises(InputError, match="an invalid correction") as refused:
        market.take(day.events[:5], corrections)
    assert f"{where} in row 0" in str(refused.value.where) and market.events == 0


def test_corrections_out_of_order_are_refused():
    day = days()["narrow window"]
    backwards = Corrections(*(getattr(day.corrections, name)[::-1] for name in ("event", "side", "price", "size")))
    with pytest.raises(InputError, match="an invalid correction"):
        opened(day, EXACT).take(day.events, backwards)


def test_a_halt_before_the_opening_is_known():
    day = days()["orders"]
    market = opened(day, EXACT, closed=2)
    market.take(day.events[:1])
    assert market.closed == 2 and market.outside == ["IN_A_HALT"] and market.prompt().closed == 2
    market.take(control(day, Code.RESUME_TRADE, after_ns=int(day.events.time_ns[0] - day.start.time_ns)))
    assert market.closed == 0 and market.outside == [""]


def test_a_market_takes_some_kilobytes():
    day = simulated(seed=2, events=5_000)
    market = opened(day, EXACT)
    for event in range(len(day.events)):
        market.take(day.events[event : event + 1])
    assert 10_000 < market.nbytes < 200_000


@pytest.mark.parametrize("tokenizer", ["ranks", "compact"])
def test_a_book_grows_with_its_levels(tokenizer):
    day, random, count = days()["orders"], np.random.default_rng(5), 3_000
    far = random.permutation(np.arange(1, count // 2 + 1))
    price = np.concatenate([day.start.price[day.start.side == 1].max() - 100 * far[far < 90], 10**8 + 100 * far])
    columns = {"price": price, "side": np.where(price < 10**8, 1, -1), "size": 1 + far[0] + price % 700}
    columns |= {"kind": np.full(len(price), int(Kind.ADD)), "order_id": 10**9 + np.arange(len(price))}
    columns["time_ns"] = day.start.time_ns + np.arange(len(price))
    deep = dataclasses.replace(day, events=Events.from_columns(**columns))
    market, _ = assert_same(deep, TOKENIZERS[tokenizer], (*range(1, 200), 900, 1_000))
    assert len(market.book) == len(day.start) + len(price) > 1_500 and market.nbytes < 2_000_000


@pytest.mark.parametrize("name", ["pointer", "price_memory"])
def test_a_price_needs_exact_tokens(name):
    model = dataclasses.replace(EVERYTHING, **{"pointer": False, "price_memory": False, name: True})
    with pytest.raises(InputError, match=f"a model with {name} needs"):
        opened(days()["orders"], TOKENIZERS["compact"], model)


def test_a_model_of_other_instruments_is_refused():
    day = days()["orders"]
    other = dataclasses.replace(day, instrument=dataclasses.replace(day.instrument, symbol="OTHERS"))
    contents = contents_of(other, EXACT)
    unknown = dataclasses.replace(contents, settings=dataclasses.replace(contents.settings, symbols=("A", "B")))
    without = dataclasses.replace(contents, settings=dataclasses.replace(contents.settings, regimes=None))
    for given in (unknown, without):
        with pytest.raises(InputError, match="the model lacks the"):
            type(opened(day, EXACT))(day.start, contents=given, tokenizer=EXACT)


def test_execution_behind_the_front_is_taken_and_told():
    day = days()["orders"]
    market = opened(day, EXACT)
    price, lots = market.bid
    deeper = day.start.price[(day.start.side == 1) & (day.start.price < price)].max()
    market.take(one_event(day, Kind.EXECUTE, 1, int(deeper), 1))
    assert market.outside == ["BEHIND_THE_BEST"]
    market.take(one_event(day, Kind.EXECUTE, 1, price, lots))
    assert market.outside == ["BEHIND_THE_FRONT"] or (day.start.price == price).sum() == 1
