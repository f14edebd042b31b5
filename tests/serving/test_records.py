"""Records of events and corrections: nothing is lost, and what is wrong is named by its place."""

import decimal
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.book.snapshot import Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import COLUMNS, Events, Kind
from lob_jax.serving.records import (
    CODES,
    LEVEL,
    InvalidRecords,
    path_json,
    path_records,
    read_records,
    records_of,
)
from lob_jax.serving.requests import PathEvent
from lob_jax.serving.units import LAST_NS, Units

UNITS = Units.of(Instrument("A", "B", "2024-01-02", price_scale=10_000, lot_scale=1000))
ADD = {"time": "2012-06-21T13:30:00Z", "kind": "add", "side": "bid", "price": "585.33", "size": 100, "order_id": 7}

AMOUNTS = st.integers(1, 2**50)
PLACED = st.tuples(st.sampled_from([1, 2, 3, 4, 5, 6]), st.sampled_from([-1, 1]), AMOUNTS, AMOUNTS)
CONTROLS = st.sampled_from(sorted(CODES.values()))


@st.composite
def flows(draw):
    """Draw events and corrections."""
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        time_ns, order_id = draw(st.integers(0, LAST_NS)), draw(st.integers(0, 2**64 - 1))
        if draw(st.booleans()):
            kind, side, price, size = draw(PLACED)
            rows.append((time_ns, kind, 0, side, price, size, order_id))
        else:
            rows.append((time_ns, int(Kind.CONTROL), draw(CONTROLS), 0, 0, 0, 0))
    names = ("time_ns", "kind", "code", "side", "price", "size", "order_id")
    columns = {name: np.array([row[at] for row in rows], COLUMNS[name]) for at, name in enumerate(names)}
    after = sorted(draw(st.lists(st.integers(-1, len(rows) - 1), max_size=4)))
    sizes = draw(st.lists(st.integers(0, 2**50), min_size=len(after), max_size=len(after)))
    placed = {"side": np.ones(len(after), np.int8), "price": np.arange(1, len(after) + 1)}
    corrections = Corrections(event=np.array(after, np.int64), **placed, size=np.array(sizes, np.int64))
    return Events.from_columns(**columns), corrections


def through_json(records):
    return json.loads(json.dumps(records), parse_float=decimal.Decimal)


@given(flows())
def test_events_and_corrections_come_back(flow):
    events, corrections = flow
    read = read_records(through_json(records_of(events, corrections, UNITS)), UNITS)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(read.events, name), getattr(events, name))
        assert getattr(read.events, name).dtype == COLUMNS[name]
    for name in ("event", "side", "price", "size"):
        np.testing.assert_array_equal(getattr(read.corrections, name), getattr(corrections, name))


def test_a_record_is_what_a_reader_expects():
    level = {"kind": LEVEL, "side": "ask", "price": decimal.Decimal("585.34"), "size": 0}
    halt = {"time": 5, "kind": "control", "code": "halt"}
    read = read_records([level, ADD, level, halt], UNITS)
    assert read.events.time_ns.tolist() == [1_340_285_400 * 10**9, 5]
    assert (read.events.price.tolist(), read.events.size.tolist()) == ([5_853_300, 0], [100_000, 0])
    assert (read.events.order_id.tolist(), read.events.code.tolist()) == ([7, 0], [0, 1])
    assert (read.corrections.event.tolist(), read.corrections.size.tolist()) == ([-1, 0], [0, 0])
    assert [read.pointer(event, "/events") for event in (0, 1, 2, -1)] == [
        "/events/1",
        "/events/3",
        "/events",
        "/events",
    ]


def test_large_ids_are_text_and_are_read_as_either():
    events = read_records([{**ADD, "order_id": 2**64 - 1}, {**ADD, "order_id": "12"}], UNITS).events
    assert events.order_id.tolist() == [2**64 - 1, 12]
    assert [record["order_id"] for record in records_of(events, Corrections.none(), UNITS)] == [str(2**64 - 1), 12]


WITHOUT = [
    ({key: value for key, value in ADD.items() if key != name}, f"/{name}") for name in ADD if name != "order_id"
]


@pytest.mark.parametrize(
    ("record", "pointer"),
    [
        *WITHOUT,
        ({**ADD, "price": "585.33001"}, "/price"),
        ({**ADD, "price": 0}, "/price"),
        ({**ADD, "price": []}, "/price"),
        ({**ADD, "price": True}, "/price"),
        ({**ADD, "size": "0.0001"}, "/size"),
        ({**ADD, "size": 0}, "/size"),
        ({**ADD, "size": {}}, "/size"),
        ({**ADD, "side": "buy"}, "/side"),
        ({**ADD, "side": ["bid"]}, "/side"),
        ({**ADD, "kind": "Add"}, "/kind"),
        ({**ADD, "kind": ["add"]}, "/kind"),
        ({**ADD, "time": "noon"}, "/time"),
        ({**ADD, "time": {}}, "/time"),
        ({**ADD, "order_id": 2**64}, "/order_id"),
        ({**ADD, "order_id": -1}, "/order_id"),
        ({**ADD, "order_id": "x"}, "/order_id"),
        ({**ADD, "order_id": None}, "/order_id"),
        ({**ADD, "order_id": decimal.Decimal("1.0")}, "/order_id"),
        ({**ADD, "code": "halt"}, "/code"),
        ({**ADD, "color": 1}, ""),
        ({"time": 5, "kind": "control", "code": "none"}, "/code"),
        ({"time": 5, "kind": "control", "code": "halt", "price": 0}, "/price"),
        ({"time": 5, "kind": LEVEL, "side": "bid", "price": 1, "size": 1}, "/time"),
        ({"kind": LEVEL, "side": "bid", "price": 1, "size": -1}, "/size"),
        ([], ""),
        (None, ""),
    ],
)
def test_a_wrong_record_is_named_by_its_place(record, pointer):
    with pytest.raises(InvalidRecords) as caught:
        read_records([ADD, record], UNITS, inside="/events")
    assert caught.value.faults[0].pointer == caught.value.where == f"/events/1{pointer}"


def test_several_faults_are_told_at_once_but_not_all():
    wrong = [{**ADD, "size": -1}] * 3
    with pytest.raises(InvalidRecords) as caught:
        read_records([ADD, *wrong], UNITS)
    assert [fault.pointer for fault in caught.value.faults] == ["/1/size", "/2/size", "/3/size"]
    with pytest.raises(InvalidRecords) as caught:
        read_records([None] * 1000, UNITS)
    assert len(caught.value.faults) == 10 and caught.value.faults[0].was == "None"


@pytest.mark.parametrize("shown", [None, (-1, 5_853_400, 2500)])
@pytest.mark.parametrize(("kind", "code", "side", "price", "size"), [(1, 0, 1, 5_853_300, 1), (7, 2, 0, 0, 0)])
def test_the_text_of_a_streams_event_is_that_of_its_records(kind, code, side, price, size, shown):
    event = PathEvent(0, 3, 1_340_285_400 * 10**9 + 1, kind, code, side, price, size, shown)
    records = path_records(event, UNITS)
    assert json.loads(path_json(event, UNITS)) == records
    assert len(records) == (1 if shown is None else 2)
    read = read_records(records, UNITS)
    assert (read.events.price[0], read.events.code[0], len(read.corrections)) == (price, code, len(records) - 1)
