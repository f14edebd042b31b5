import numpy as np
import pytest

from lob_jax.book.snapshot import Corrections
from lob_jax.events.schema import COLUMNS, Events
from lob_jax.feeds.reading.store import EventStore


def some_events(first, count):
    numbers = np.arange(first, first + count)
    return Events.from_columns(
        time_ns=numbers, kind=np.full(count, 1), side=np.full(count, -1), price=numbers * 50, size=numbers * 20 + 40
    )


def some_corrections(*events):
    rows = np.array(events, np.int64)
    return Corrections(rows, np.ones(len(rows), np.int8), rows * 0 + 150, rows * 0 + 60)


@pytest.mark.parametrize("on_disk", [False, True])
def test_blocks_are_joined_and_corrections_numbered_through(tmp_path, on_disk):
    store = EventStore(tmp_path / "events" if on_disk else None)
    store.append(some_events(0, 4), some_corrections(1, 3))
    store.append(some_events(4, 0))
    store.append(some_events(4, 3), some_corrections(-1, 2))
    events, corrections = store.finish()
    for name in COLUMNS:
        if name != "sequence":
            assert np.array_equal(getattr(events, name), getattr(some_events(0, 7), name)), name
    assert corrections.event.tolist() == [1, 3, 3, 6]
    assert isinstance(events.price, np.memmap) == on_disk


@pytest.mark.parametrize("on_disk", [False, True])
def test_prices_and_sizes_are_divided_in_events_and_corrections(tmp_path, on_disk, monkeypatch):
    monkeypatch.setattr("lob_jax.feeds.reading.store._ROWS_AT_ONCE", 3)
    store = EventStore(tmp_path if on_disk else None)
    store.append(some_events(0, 8), some_corrections(2))
    events, corrections = store.finish(divide_price=50, divide_size=20)
    assert events.price.tolist() == list(range(8)) and events.size.tolist() == list(range(2, 10))
    assert (corrections.price.tolist(), corrections.size.tolist()) == ([3], [3])
    assert events.time_ns.tolist() == list(range(8))


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_column_that_begins_with_zeros_keeps_them_and_one_of_zeros_has_no_file(tmp_path, on_disk):
    store = EventStore(tmp_path if on_disk else None)
    store.append(some_events(1, 2))
    store.append(some_events(3, 2).replace(order_id=np.array([0, 9])))
    store.append(some_events(5, 1))
    events, _ = store.finish(divide_size=20)
    assert events.order_id.tolist() == [0, 0, 0, 9, 0] and events.receive_ns.tolist() == [0] * 5
    assert events.size.tolist() == [3, 4, 5, 6, 7] and not (tmp_path / "receive_ns.column").exists()


@pytest.mark.parametrize("on_disk", [False, True])
def test_what_was_appended_stays_when_its_memory_is_used_again(tmp_path, on_disk):
    store, buffer = EventStore(tmp_path if on_disk else None), np.arange(1, 9)
    for first in (1, 5):
        buffer[:] = np.arange(first, first + 8)
        store.append(Events.from_columns(time_ns=buffer[:4]))
    assert store.finish()[0].time_ns.tolist() == list(range(1, 9))


@pytest.mark.parametrize("on_disk", [False, True])
def test_nothing_appended_is_nothing(tmp_path, on_disk):
    events, corrections = EventStore(tmp_path if on_disk else None).finish(divide_price=10)
    assert len(events) == 0 and len(corrections) == 0


def test_a_folder_used_before_starts_anew(tmp_path):
    EventStore(tmp_path).append(some_events(0, 4))
    store = EventStore(tmp_path)
    store.append(some_events(0, 2))
    assert len(store.finish()[0]) == 2


def test_mapped_events_go_where_arrays_go(tmp_path):
    """Compiled loops accept only writable columns: a mapped one must be neither copied nor changed on disk."""
    store = EventStore(tmp_path)
    store.append(some_events(0, 4))
    events, _ = store.finish()
    assert np.shares_memory(np.require(events.price, None, ["C", "W"]), events.price)
    events.price[0] = 77
    assert np.fromfile(tmp_path / "price.column", np.int64)[0] == 0
