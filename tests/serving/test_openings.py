"""Starting books as JSON."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.book.snapshot import ORDER_COLUMNS
from lob_jax.events.instrument import Instrument
from lob_jax.serving.openings import opening_of, read_opening
from lob_jax.serving.records import InvalidRecords
from lob_jax.serving.units import Units

UNITS = Units.of(Instrument("A", "B", "2024-01-02"))
OPENING = {
    "time": "2012-06-21T13:30:00Z",
    "bids": [{"price": "585.33", "size": 100, "order_id": 7}, {"price": 585.33, "size": 5}, ["585.30", 1]],
    "asks": [[585.34, "3"]],
}


def read(opening, **view):
    return read_opening(opening, UNITS, **{"window": 0, "pooled": False, **view}, inside="/opening")


def test_rows_are_orders_and_those_without_an_id_totals():
    book, closed = read(OPENING)
    assert (book.time_ns, closed) == (1_340_285_400 * 10**9, 0)
    assert book.side.tolist() == [1, 1, 1, -1]
    assert book.price.tolist() == [5_853_300, 5_853_300, 5_853_000, 5_853_400]
    assert (book.size.tolist(), book.order_id.tolist()) == ([100, 5, 1, 3], [7, 0, 0, 0])
    assert book.anonymous.tolist() == [False, True, True, True]
    assert (book.last_best.tolist(), book.seen.tolist()) == ([5_853_300, 5_853_400], [True, True])
    for name, dtype in ORDER_COLUMNS.items():
        assert getattr(book, name).dtype == dtype


def test_a_book_comes_back():
    book, closed = read(OPENING)
    again, same = read(json.loads(json.dumps(opening_of(book, UNITS, closed=2))))
    assert same == 2 and closed == 0
    for name in ("side", "price", "size", "order_id", "anonymous", "last_best", "seen"):
        np.testing.assert_array_equal(getattr(again, name), getattr(book, name))


def test_a_total_of_unknown_orders_has_no_id():
    book = dataclasses.replace(read(OPENING)[0], anonymous=np.array([True, True, True, False]))
    assert [row.get("order_id") for row in opening_of(book, UNITS)["bids"]] == [None] * 3


def test_a_book_of_levels_has_no_anonymous_orders_and_may_be_empty():
    book, closed = read({"time": 1, "bids": [[1, 1]], "asks": [], "closed": "trading"}, window=3, pooled=True)
    assert (book.anonymous.tolist(), book.window, book.pooled, closed) == ([False], 3, True, 1)
    assert (book.seen.tolist(), book.last_best.tolist()) == ([True, False], [10_000, 0])
    assert len(read({"time": 1, "bids": [], "asks": []})[0]) == 0


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"time": "noon"}, "/time"),
        ({"closed": "open"}, "/closed"),
        ({"closed": []}, "/closed"),
        ({"open": 1}, ""),
        ({"bids": {}}, "/bids"),
        ({"bids": "ab"}, "/bids"),
        ({"bids": [[1, 1], [2, 1]]}, "/bids/1"),
        ({"asks": [[2, 1], [1, 1]]}, "/asks/1"),
        ({"asks": [[1, 1, 1]]}, "/asks/0"),
        ({"asks": [[1, 0]]}, "/asks/0/1"),
        ({"asks": [["1.00001", 1]]}, "/asks/0/0"),
        ({"asks": [[[], 1]]}, "/asks/0/0"),
        ({"asks": [{"price": 1}]}, "/asks/0/size"),
        ({"asks": [{"price": 1, "size": 1, "id": 1}]}, "/asks/0"),
        ({"asks": [{"price": 1, "size": 1, "order_id": "a"}]}, "/asks/0/order_id"),
    ],
)
def test_a_wrong_book_is_named_by_its_place(change, pointer):
    with pytest.raises(InvalidRecords) as caught:
        read({**OPENING, **change})
    assert caught.value.faults[0].pointer == f"/opening{pointer}"


def test_a_book_of_levels_has_neither_ids_nor_a_level_twice():
    with pytest.raises(InvalidRecords) as caught:
        read(OPENING, pooled=True)
    assert [fault.pointer for fault in caught.value.faults] == ["/opening/bids/0/order_id"]
    with pytest.raises(InvalidRecords, match="each level once"):
        read({"time": 1, "bids": [[1, 1], [1, 2]], "asks": []}, pooled=True)


@pytest.mark.parametrize("name", ["time", "bids", "asks"])
def test_a_part_that_is_missing_is_named(name):
    with pytest.raises(InvalidRecords) as caught:
        read({key: value for key, value in OPENING.items() if key != name})
    assert caught.value.faults[0].pointer == f"/opening/{name}"
