"""The flow of records: each remembers the day before it, and no entry depends on what comes later."""

import dataclasses
import weakref

import numpy as np
import pytest

from lob_jax.book.flow import blank_flow, flow_names
from lob_jax.book.flow_loop import FlowEvents, flow_along
from lob_jax.book.oracle import OracleBook
from lob_jax.book.replay import replay, snapshots_at
from lob_jax.data.records import records as records_module
from lob_jax.data.records.builder import open_records, prepare_records
from lob_jax.data.records.flow import COLUMNS, read_flow
from lob_jax.data.records.manifest import FORMAT, FORMAT_WITH_FLOW, load_manifest
from lob_jax.data.records.records import RecordPlan, day_record, make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.flow import flow_at, record_flow
from lob_jax.data.windows.known import Beside, flow_of
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Kind
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.seen import seen_in
from tests.flow_by_hand import flow_by_hand

SHAPE = {"record_events": 60, "context": 32, "book_levels": 3, "flow_state": True}
PARTS = [Part("train", 0, 100, 0), Part("validation", 180, 300, 40), Part("test", 340, 400, 30)]
TICK = 100


@pytest.fixture(name="day", scope="module")
def day_fixture(make_day):
    """Return a day in which the book is cleared at times, and crossed by an order that comes in."""
    day = make_day(420, seed=3)
    code, price = day.events.code.copy(), day.events.price.copy()
    code[np.flatnonzero(day.events.kind == Kind.CONTROL)[::3]] = Code.CLEAR
    adds = np.flatnonzero(day.events.kind == Kind.ADD)[40::17]
    price[adds] += 400 * day.events.side[adds].astype(np.int64)
    assert np.count_nonzero(code == Code.CLEAR) > 1
    return day.with_events(day.events.replace(code=code, price=price))


@pytest.fixture(name="tokenizers", scope="module")
def tokenizers_fixture(day):
    seen = seen_in(day.events, replay(day, 1).reference[:-1], day.instrument, day.start.time_ns)
    return {"exact": ExactTokenizer(), "rounded": ExactTokenizer(2), "compact": CompactTokenizer.fit([seen])}


def made(day, tokenizer, parts=PARTS):
    return [record for _, record in make_records(day, parts, tokenizer, **SHAPE)]


def quote(book: OracleBook, side: int) -> tuple[int, int] | None:
    """Return twice the best price of a side and the lots there, if both sides have one; if crossed, the middle."""
    bid, ask = book.best(1), book.best(-1)
    if side == 0 or bid is None or ask is None:
        return None
    best = bid if side > 0 else ask
    return (bid + ask if bid > ask else 2 * best), sum(book.sizes(side, best))


def true_flow(day) -> FlowEvents:
    """Return the flow of a day by the reference book."""
    book, mids, spreads, quotes, corrections = OracleBook(day.start), [], [], [], day.corrections
    names = ("kind", "code", "side", "price", "size", "order_id")
    rows = zip(*(getattr(day.events, name).tolist() for name in names), strict=True)
    for i, (kind, code, *event) in enumerate([(Kind.CONTROL, 0), *rows]):
        if code == Code.CLEAR:
            book.clear()
        elif kind != Kind.CONTROL:
            book.apply(kind, *event)
        for row in np.flatnonzero(corrections.event == i - 1):
            book.correct(*(int(getattr(corrections, name)[row]) for name in ("side", "price", "size")))
        both = book.best(1), book.best(-1)
        mids.append(None if None in both else sum(both))
        spreads.append(0 if None in both else max(both[1] - both[0], 0) // day.instrument.tick)
        quotes.append({s: quote(book, s) for s in (1, -1, 0)})
    moves = [0 if None in pair else pair[1] - pair[0] for pair in zip(mids, mids[1:], strict=False)]
    gaps = np.diff(day.events.time_ns, prepend=day.start.time_ns)
    inward, grew = [], []
    for before, after, side in zip(quotes, quotes[1:], day.events.side.tolist(), strict=False):
        one, other = before[side], after[side]
        inward.append(side * (other[0] - one[0]) if one and other else 0)
        grew.append(int(other[1] > one[1]) if one and other else 0)
    columns = (day.events.kind, day.events.side, day.events.size, gaps, moves, spreads[1:], inward, grew)
    return FlowEvents(*(np.asarray(column, np.int64) for column in columns))


def test_records_remember_the_whole_day_before_them(day, tokenizers):
    """Across records, parts and what is left out between them; and they are those of plain Python."""
    units = {"start_ns": day.start.time_ns, "tick": TICK}
    events = true_flow(day)
    whole, crossed = flow_along(blank_flow(), events, **units), replay(day, 1).counts["crossed"]
    assert crossed > 5 and np.count_nonzero(events.move2) > 30
    records = made(day, tokenizers["exact"])
    assert len(records) == 5
    for record in records:
        first, found = int(record["first_event"]), record_flow(record, tokenizers["exact"])
        np.testing.assert_array_equal(found, whole[first : first + len(found)])
    for row in (0, 90, 250, 419):
        by_name = flow_by_hand(events, row, **units)
        np.testing.assert_allclose(whole[row], [by_name[name] for name in flow_names()], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["exact", "rounded", "compact"])
def test_a_record_begins_with_the_state_that_the_one_before_has_there(day, tokenizers, name):
    tokenizer, records = tokenizers[name], made(day, tokenizers[name], PARTS[1:2])
    begins = [int(record["first_event"]) for record in records]
    assert len(records) == 2 and 0 < begins[1] - begins[0] < 100
    state = flow_at(records[0], tokenizer, begins[1] - begins[0])
    for column, expected in zip(read_flow(records[1]), state, strict=True):
        np.testing.assert_array_equal(column, expected)
    names, length = flow_names(), len(records[0]["clock_ns"])
    spelled, found = tokenizer.spelled(records[0]["tokens"][:-1]), record_flow(records[0], tokenizer)
    lots = np.expm1(found[:, names.index("run_lots")])
    trades = np.isin(spelled.kind, (4, 5))
    new_run = trades & (np.expm1(found[1:, names.index("run_trades")]).round() == 1)
    assert found.shape == (length, len(names)) and new_run.any()
    np.testing.assert_allclose(lots[1:][new_run], spelled.size[new_run], rtol=1e-5)


@pytest.mark.parametrize("flow_state", [False, True])
def test_few_books_are_in_memory_at_a_time(day, tokenizers, flow_state, monkeypatch):
    seen = []

    def noted(*arguments):
        for snapshot in snapshots_at(*arguments):
            seen.append(weakref.ref(snapshot))
            yield snapshot

    monkeypatch.setattr(records_module, "snapshots_at", noted)
    shape = {**SHAPE, "record_events": 10, "flow_state": flow_state}
    alive = [sum(one() is not None for one in seen) for _ in make_records(day, PARTS, tokenizers["exact"], **shape)]
    assert len(seen) > 20 and max(alive) <= 3


@pytest.mark.parametrize("name", ["exact", "rounded", "compact"])
def test_no_entry_depends_on_later_events(day, tokenizers, name):
    tokenizer = tokenizers[name]
    whole = day_record(day, 30, 200, tokenizer, book_levels=3, flow=blank_flow())
    found = record_flow(whole, tokenizer)
    for last in (31, 77, 150):
        cut = day_record(day, 30, last, tokenizer, book_levels=3, flow=blank_flow())
        np.testing.assert_array_equal(record_flow(cut, tokenizer), found[: last - 30 + 1])


def test_a_day_that_begins_later_goes_on_from_the_state_there(day, tokenizers):
    tokenizer = tokenizers["exact"]
    whole = day_record(day, 50, 200, tokenizer, book_levels=3, flow=blank_flow())
    state = flow_of(whole, Beside(("flow",), tokenizer=tokenizer), 70)
    (start,) = snapshots_at(day, np.array([120]))
    again = day_record(day.part(120, 400, start=start), 60, 80, tokenizer, book_levels=3, flow=state)
    assert flow_of(whole, Beside(), 70) is None
    np.testing.assert_array_equal(record_flow(again, tokenizer), record_flow(whole, tokenizer)[130:151])


def test_only_records_that_are_asked_to_hold_the_state(day, tokenizers):
    plain = [record for _, record in make_records(day, PARTS, tokenizers["exact"], **{**SHAPE, "flow_state": False})]
    assert not plain[0].keys() & COLUMNS.keys()
    for one, other in zip(plain, made(day, tokenizers["exact"]), strict=True):
        assert other.keys() - one.keys() == COLUMNS.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name], name)
    with pytest.raises(InputError, match="do not hold the state of the flow") as caught:
        record_flow(plain[0], tokenizers["exact"])
    assert "model.flow_state" in caught.value.remedy


def test_records_on_disk_are_made_anew_for_a_model_that_reads_the_flow(day, tokenizers, held_feed, tmp_path):
    plan = RecordPlan(
        record_events=40, context=24, book_levels=2, train_fraction=0.6, validation_fraction=0.2, embargo_events=20
    )
    how = {"tokenizer": tokenizers["exact"], "inputs": {}, "processes": 1, "folder": tmp_path / "records"}
    feed = held_feed(day)
    before = prepare_records(feed, feed.days(), plan=plan, **how)["fingerprint"]
    assert before["format"] == FORMAT and "flow_state" not in before
    asked = dataclasses.replace(plan, flow_state=True)
    with pytest.warns(UserWarning, match=f"needs format {FORMAT_WITH_FLOW}: .* kept as records.format{FORMAT}"):
        after = prepare_records(feed, feed.days(), plan=asked, **how)["fingerprint"]
    assert after == {**before, "format": FORMAT_WITH_FLOW} == load_manifest(tmp_path / "records")["fingerprint"]
    first = int(open_records(tmp_path / "records", "validation").outlines[0].first_event)
    record = open_records(tmp_path / "records", "validation")[0]
    expected = day_record(day, first, first + 1, tokenizers["exact"], book_levels=2, flow=blank_flow())
    assert first > 240
    for name, dtype in COLUMNS.items():
        assert record[name].dtype == dtype
        np.testing.assert_array_equal(record[name], expected[name], name)
    assert len(record_flow(record, tokenizers["exact"])) == len(record["clock_ns"])
    with pytest.raises(InputError, match="do not hold the state"):
        read_flow(open_records(tmp_path / f"records.format{FORMAT}", "train")[0])
