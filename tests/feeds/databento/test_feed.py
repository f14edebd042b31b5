"""Complete Databento days: listing and refusals, two instruments in a file, the real CME days."""

import collections
import datetime
import gzip

import databento_dbn
import numpy as np
import pytest
from backports import zstd

from lob_jax.book.replay import replay, snapshots_at
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Flag, Kind
from lob_jax.feeds.databento.feed import DatabentoFeed
from lob_jax.feeds.feed import DaySource, Reading
from tests.feeds.checks import assert_round_trip, assert_same_day, assert_sound
from tests.feeds.sample_databento import DAY, LAST, SYSTEM, beside, metadata, record, timed, write

TWO = {"XY": 7, "A/B:C D": 8}
PRE_OPEN_ENDS = int(datetime.datetime(2023, 12, 25, 23, tzinfo=datetime.UTC).timestamp()) * 10**9
REAL_DAYS = ("20231224", "20231225")


def two_instruments(folder, name="two.dbn", day=DAY):
    """Write a file of two instruments with the same order ids and interleaved groups and times."""
    data = b""
    for k in range(20):
        for instrument, price in ((7, "10.25"), (8, "0.001")):
            flags = LAST if k % 3 == 2 else 0
            data += record("A", "B", price, 1 + k, k, flags=flags, instrument=instrument, time=100 * k)
        if k % 5 == 4:
            data += record("C", "B", "10.25", 1, k, instrument=7, time=100 * k + 1) + beside(SYSTEM)
    path = folder / name
    path.write_bytes(metadata(TWO, day=day) + data)
    return path


@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
def test_two_instruments_are_two_books(tmp_path, block_bytes):
    path, feed = two_instruments(tmp_path), DatabentoFeed()
    reading = Reading(block_bytes=block_bytes)
    other, xy = feed.read_all(path, reading)
    assert (xy.instrument.symbol, other.instrument.symbol) == ("XY", "A/B:C D")
    assert (xy.instrument.price_scale, xy.instrument.tick) == (100, 1025)
    assert (other.instrument.price_scale, other.instrument.tick) == (1000, 1)
    assert len(xy.events) == 24 and len(other.events) == 20
    assert (other.events.kind == Kind.ADD).all() and set(other.events.price) == {1}
    assert np.flatnonzero(other.events.flags & Flag.LAST_IN_GROUP).tolist() == [2, 5, 8, 11, 14, 17]
    assert xy.report["rows_dropped"] == {"records of another instrument": 20, "records of another kind": 4}
    for day in (xy, other):
        source = DaySource(path, day.instrument.symbol, day.instrument.trading_day)
        assert_same_day(feed.read(source, reading), day)
        assert feed.read(source, reading).report == day.report
        assert_sound(day)
        assert_round_trip(day)


def test_symbols_choose_what_is_listed_and_read(tmp_path):
    path = two_instruments(tmp_path)
    assert [day.symbol for day in DatabentoFeed().days(path)] == ["A/B:C D", "XY"]
    feed = DatabentoFeed(symbols=("XY",))
    assert [day.symbol for day in feed.days(path)] == ["XY"] and len(feed.read_all(path)) == 1
    assert feed.read(path).instrument.symbol == "XY"
    with pytest.raises(InputError, match="several days or symbols"):
        DatabentoFeed().read(path)
    with pytest.raises(InputError, match="no such symbol"):
        DatabentoFeed().read(DaySource(path, "Z", DAY.isoformat()))
    with pytest.raises(InputError, match="no MBO file with such a symbol"):
        DatabentoFeed(symbols=("Z",)).days(path)


def test_each_symbol_has_a_store_of_its_own(tmp_path):
    path = two_instruments(tmp_path)
    stored = DatabentoFeed().read_all(path, Reading(store=tmp_path / "store"))
    assert len(list((tmp_path / "store").iterdir())) == 2
    for day, same in zip(stored, DatabentoFeed().read_all(path), strict=True):
        assert isinstance(day.events.price, np.memmap)
        assert_same_day(day, same)


def test_a_folder_lists_days_in_order_and_refuses_a_day_twice(tmp_path):
    two_instruments(tmp_path, "b.dbn")
    two_instruments(tmp_path, "a.dbn", day=DAY + datetime.timedelta(days=1))
    (tmp_path / "trades.dbn").write_bytes(metadata(schema="trades"))
    (tmp_path / "condition.json").write_text("{}")
    days = [(day.trading_day, day.symbol) for day in DatabentoFeed().days(tmp_path)]
    assert days == sorted(days) and len(days) == 4 and days[0] == ("2024-01-02", "A/B:C D")
    (tmp_path / "c.dbn.gz").write_bytes(gzip.compress((tmp_path / "b.dbn").read_bytes()))
    with pytest.raises(InputError, match="twice"):
        DatabentoFeed().days(tmp_path)


@pytest.mark.parametrize("schema", ["mbp-1", "trades"])
def test_other_schemas_are_refused_by_name(market_data, schema):
    path = market_data(f"databento/futures_{schema}_2024-07-01T23-58_2024-07-02T00-02.dbn.zst")
    for refused in (DatabentoFeed().days, DatabentoFeed().read):
        with pytest.raises(InputError, match=f"schema {schema}, "):
            refused(path)


@pytest.mark.parametrize("schema", ["mbp-10", "definition", None])
def test_made_files_of_other_schemas_are_refused(tmp_path, schema):
    (tmp_path / "x.dbn").write_bytes(metadata(schema=schema))
    with pytest.raises(InputError, match=f"schema {schema or 'mixed'}, "):
        DatabentoFeed().days(tmp_path)


def test_symbols_must_lead_to_instruments(tmp_path):
    path = tmp_path / "x.dbn"
    for symbols, what in (({"XY": "ZZ"}, "metadata of a DBN file"), ({"XY": "7", "ZZ": "7"}, "one instrument")):
        path.write_bytes(metadata(symbols))
        with pytest.raises(InputError, match=what):
            DatabentoFeed().days(path)
    path.write_bytes(metadata({"XY": 7}).replace(b"7\x00\x00", b"\x00\x00\x00"))
    with pytest.raises(InputError, match="one instrument"):
        DatabentoFeed().days(path)


def test_a_file_cut_within_its_metadata_is_refused(tmp_path):
    path = tmp_path / "x.dbn"
    for length in (2, 7, 8, 100, len(metadata()) - 1):
        path.write_bytes(metadata()[:length])
        with pytest.raises(InputError, match="without the metadata" if length else "an empty file"):
            DatabentoFeed().days(path)


def test_a_file_without_records_is_an_empty_day(tmp_path):
    (tmp_path / "x.dbn").write_bytes(metadata())
    day = DatabentoFeed().read(tmp_path / "x.dbn")
    assert len(day.events) == len(day.start) == day.report["rows_read"] == 0
    assert_sound(day)


def test_a_truncated_file_keeps_what_is_whole(tmp_path):
    path = write(tmp_path)
    whole = DatabentoFeed().read(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated record"):
        DatabentoFeed().read(path)
    day = DatabentoFeed().read(path, Reading(on_error="skip"))
    assert day.report["rows_dropped"]["a truncated record"] == 1
    assert day.report["rows_read"] == whole.report["rows_read"]
    np.testing.assert_array_equal(day.events.price, whole.events.price[:-1])


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_file_that_is_cut_keeps_what_lies_before(tmp_path, suffix):
    ids = np.random.default_rng(1).integers(0, 2**62, 9000).tolist()
    content = metadata() + b"".join(record("A", "B", "1", 2, order_id, time=k) for k, order_id in enumerate(ids))
    packed = {".gz": gzip.compress, ".zst": zstd.compress}[suffix](content)
    path = tmp_path / f"x.dbn{suffix}"
    path.write_bytes(packed[: len(packed) * 9 // 10])
    (day,) = DatabentoFeed().days(path)
    with pytest.raises(InputError, match="cannot be read or decompressed"):
        DatabentoFeed().read(day)
    for reading in (Reading(on_error="skip"), Reading(on_error="quarantine", quarantine=tmp_path / "bad")):
        kept = DatabentoFeed().read(day, reading)
        assert kept.events.order_id.tolist() == ids[: len(kept.events)] and 6000 < len(kept.events) < 9000
        assert kept.report["rows_dropped"] == {"a file that cannot be read or decompressed": 1}


@pytest.fixture(scope="module")
def real_days(market_data):
    """Read both real days, and their records with Databento's decoder."""
    days = {}
    for name in REAL_DAYS:
        path = market_data(f"databento/esh4-glbx-mdp3-{name}.mbo.dbn.zst")
        decoder = databento_dbn.DBNDecoder()
        decoder.write(zstd.decompress(path.read_bytes()))
        messages = [message for message in decoder.decode() if isinstance(message, databento_dbn.MBOMsg)]
        days[name] = DatabentoFeed().read(path), messages
    return days


@pytest.mark.parametrize("name", REAL_DAYS)
def test_a_real_day_is_read_whole(real_days, name):
    day, messages = real_days[name]
    report = day.report
    assert (day.instrument.symbol, day.instrument.venue) == ("ESH4", "GLBX.MDP3")
    assert day.instrument.trading_day == f"{name[:4]}-{name[4:6]}-{name[6:]}"
    assert report["rows_read"] == report["rows_kept"] == len(messages) and report["time_reversals"] == 0
    assert len(day.start) == 8725 and len(day.corrections) == report["snapshots"] == 0
    assert day.start.order_id.dtype == np.uint64 and len(set(day.start.order_id.tolist())) == 8725
    assert_sound(day)


def test_the_real_days_quarter_point_is_the_tick(real_days):
    for day, _ in real_days.values():
        assert (day.instrument.price_scale, day.instrument.tick, day.instrument.lot_scale) == (100, 25, 1)


@pytest.mark.parametrize("name", REAL_DAYS)
def test_tokens_give_a_real_day_back(real_days, name):
    assert_round_trip(real_days[name][0])


def test_the_real_book_is_crossed_only_before_the_open(real_days):
    day, _ = real_days["20231225"]
    states = replay(day, levels=1).after()
    names = ("unknown_level", "over_removal", "unknown_order", "duplicate_order")
    assert [states.counts[name] for name in names] == [0, 0, 0, 0]
    (bid, ask), size = states.price[:, :, 0].T, states.size[:, :, 0]
    group_ends = (day.events.flags & Flag.LAST_IN_GROUP) > 0
    crossed = (size > 0).all(axis=1) & (bid >= ask) & group_ends
    early = day.events.time_ns < PRE_OPEN_ENDS
    assert crossed[early].sum() > 800 and not crossed[~early].any() and (group_ends & ~early).sum() > 40_000


def naive_books(messages, wanted):
    """Yield {(side, price): size} after each wanted record, from Databento's decoder."""
    orders = {}
    for number, message in enumerate(messages):
        action, own = str(message.action), message.order_id
        if action == "A":
            orders[own] = [str(message.side), message.price, message.size]
        elif action == "M":
            assert own in orders
            orders[own] = [str(message.side), message.price, message.size]
        elif action == "C":
            orders[own][2] -= message.size
            assert orders[own][2] >= 0
            if not orders[own][2]:
                del orders[own]
        if number in wanted:
            levels = collections.Counter()
            for side, price, size in orders.values():
                levels[BID if side == "B" else ASK, price] += size
            yield dict(levels)


@pytest.mark.parametrize("name", REAL_DAYS)
def test_the_real_book_is_that_of_databentos_records_at_the_ends_of_groups(real_days, name):
    day, messages = real_days[name]
    ends = np.array([number for number, message in enumerate(messages) if int(message.flags) & LAST])
    ends = np.unique(np.append(ends[:: max(len(ends) // 60, 1)], ends[-1]))
    at = np.searchsorted(day.events.sequence, ends, side="right")
    books = snapshots_at(day, at)
    quantum = 10**9 // day.instrument.price_scale
    for book, expected in zip(books, naive_books(messages, set(ends.tolist())), strict=True):
        levels = collections.Counter()
        for side, price, size in zip(book.side.tolist(), book.price.tolist(), book.size.tolist(), strict=True):
            levels[side, price * quantum] += size
        assert levels == expected


def lots(events, *kinds):
    return int(events.size[np.isin(events.kind, kinds)].sum())


def test_what_trades_on_the_real_day_is_what_is_executed(real_days):
    """Every fill of a resting order is executed; only the fills of aggressors are not."""
    day, messages = real_days["20231225"]
    traded, filled, own = collections.Counter(), collections.Counter(), 0
    aggressor = "N"
    for message in messages:
        side, action = str(message.side), str(message.action)
        if action == "T":
            traded[side] += message.size
            aggressor = side
        elif action == "F":
            filled[side] += message.size
            own += message.size * (side == aggressor != "N")
    events, report = day.events, day.report
    executed = lots(events, Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CROSS)
    assert executed == filled.total() - own == traded.total() + traded["N"]
    assert (traded.total(), filled.total(), own, traded["N"]) == (9892, 10201, 265, 44)
    assert report["lots_traded"] == traded.total() and report["lots_filled"] == filled.total()
    assert report["lots_filled_of_aggressors"] == own and report["lots_without_fill"] == 0
    assert lots(events, Kind.EXECUTE) == executed - report["lots_filled_unseen"]
    known = (events.flags & Flag.AGGRESSOR_KNOWN) > 0
    for side, aggressor in ((ASK, "B"), (BID, "A")):
        assert int(events.size[known & (events.side == side)].sum()) == traded[aggressor]


def test_blocks_of_any_length_give_the_same_real_day(market_data, real_days):
    path = market_data("databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst")
    assert_same_day(DatabentoFeed().read(path, Reading(block_bytes=4099)), real_days["20231225"][0])


def test_the_sample_has_the_row_types_that_matter(tmp_path):
    report = DatabentoFeed().read(write(tmp_path)).report
    assert report["snapshots"] == 1 and report["corrections"] == 4 and report["codes"]["CLEAR"] == 1
    assert report["records_of_another_kind"] == {"status": 1, "system": 1}
    assert report["rows_dropped"] == {"records of another kind": 2, "records without an action": 1}
    assert report["kinds"]["EXECUTE_HIDDEN"] == report["trades_without_fill"] == 1
    assert len(timed([SYSTEM])) == 24
