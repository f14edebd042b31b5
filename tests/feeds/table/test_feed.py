"""Tables of order events: names, types, floats, times, bad rows, books, and the supported sources."""

import dataclasses
import datetime
import decimal
import gzip
import json
import zoneinfo

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from backports import zstd
from pyarrow import feather, parquet

from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Flag, Kind
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.load import load_incremental_data
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.feeds.table import names
from lob_jax.feeds.table.feed import TableFeed
from lob_jax.feeds.table.names import NAMES, parse_columns
from lob_jax.writers.parquet import write_parquet
from tests.feeds.checks import assert_round_trip, assert_same_day, assert_sound
from tests.feeds.sample_table import CLOCK, FEED, write

T = CLOCK
BASE = {
    "time_ns": [T, T + 1, T + 2, T + 3],
    "kind": ["ADD", "ADD", "EXECUTE", "DELETE"],
    "side": ["bid", "ask", "ask", "bid"],
    "price": ["100.00", "100.02", "100.02", "100.00"],
    "size": [5, 7, 3, 5],
    "order_id": [1, 2, 2, 1],
}


def table(**columns):
    return pa.table({name: values for name, values in {**BASE, **columns}.items() if values is not None})


def read(data, *, on_error="strict", **settings):
    return TableFeed(**settings).read_table(data, Reading(on_error))


def assert_refused(data, *told, **settings):
    with pytest.raises(InputError) as caught:
        read(data, **settings)
    for text in told:
        assert text in str(caught.value)


def test_a_table_becomes_the_events_that_it_says():
    day = read(table())
    assert_sound(day)
    assert_round_trip(day)
    assert day.events.kind.tolist() == [1, 1, 4, 3] and day.events.side.tolist() == [1, -1, -1, 1]
    assert day.events.price.tolist() == [10_000, 10_002, 10_002, 10_000] and day.events.size.tolist() == [5, 7, 3, 5]
    assert day.events.sequence.tolist() == [1, 2, 3, 4] and not day.start.pooled
    assert (day.instrument.price_scale, day.instrument.tick, day.instrument.lot_scale) == (100, 2, 1)
    assert day.instrument.trading_day == "2024-01-02" and day.start.time_ns == T
    assert day.events.flags.tolist() == [1, 1, Flag.LAST_IN_GROUP | Flag.AGGRESSOR_KNOWN, 1]


AS = {
    "Arrow": pa.table,
    "record batch": lambda columns: pa.record_batch(columns),
    "polars": pl.DataFrame,
}


@pytest.mark.parametrize("kind", AS)
def test_a_table_in_memory_is_the_table_in_a_file(kind, tmp_path):
    made = AS[kind](BASE)
    parquet.write_table(pa.table(BASE), tmp_path / "XY.parquet")
    assert_same_day(
        load_incremental_data(made, symbol="XY", tick="0.01"),
        load_incremental_data(tmp_path / "XY.parquet", tick="0.01"),
    )
    with pytest.raises(InputError, match="cannot read the given data"):
        load_incremental_data(made, feed="itch")


def test_a_dataframe_of_pandas_is_a_table():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(BASE).drop(columns="time_ns")
    frame["time"] = pandas.to_datetime(BASE["time_ns"], utc=True)
    frame["side"] = frame["side"].astype("category")
    assert_same_day(load_incremental_data(frame), load_incremental_data(pa.table(BASE)))
    assert_same_day(load_incremental_data(frame.set_index("time")), load_incremental_data(pa.table(BASE)))


def test_what_arrow_cannot_take_is_refused():
    with pytest.raises(InputError, match="cannot convert"):
        load_incremental_data(pl.Series([1, 2]))
    pandas = pytest.importorskip("pandas")
    mixed = pandas.DataFrame(BASE).astype({"price": object})
    mixed.loc[1, "price"] = 100.02
    with pytest.raises(InputError, match="cannot convert"):
        load_incremental_data(mixed)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows", ".feather", ".csv", ".parquet.gz", ".csv.zst"])
def test_every_kind_of_file_is_read(suffix, tmp_path):
    path, data = tmp_path / f"XY{suffix.split('.gz')[0].split('.zst')[0]}", pa.table(BASE)
    if ".parquet" in suffix:
        parquet.write_table(data, path, row_group_size=2)
    elif suffix == ".feather":
        feather.write_feather(data, path)
    elif ".csv" in suffix:
        pl.DataFrame(BASE).write_csv(path)
    else:
        with (
            path.open("wb") as file,
            (pa.ipc.new_file if suffix == ".arrow" else pa.ipc.new_stream)(file, data.schema) as writer,
        ):
            writer.write_table(data)
    for end, compress in ((".gz", gzip.compress), (".zst", zstd.compress)):
        if suffix.endswith(end):
            raw, path = path, path.with_name(path.name + end)
            path.write_bytes(compress(raw.read_bytes()))
    seen = []
    day = load_incremental_data(
        path, symbol="XY", reading=Reading(on_bytes=lambda done, size: seen.append((done, size)))
    )
    assert_same_day(day, load_incremental_data(data, symbol="XY"))
    assert seen and all(0 < done <= size for done, size in seen)


def test_parquet_that_is_cut_off_is_damage(tmp_path):
    path = tmp_path / "XY.parquet"
    parquet.write_table(pa.table(BASE), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read or decompressed"):
        load_incremental_data(path)


def test_columns_are_found_by_name_and_others_are_listed():
    renamed = pa.table({**{f"my_{name}": values for name, values in BASE.items()}, "venue": ["N"] * 4, "x.y": [1] * 4})
    called = {name: f"my_{name}" for name in BASE}
    day = read(renamed.select(renamed.column_names[::-1]), columns=called)
    assert_same_day(day, read(table()))
    assert day.report["columns"] == called and sorted(day.report["columns_ignored"]) == ["venue", "x.y"]
    assert json.loads(json.dumps(day.report)) == day.report
    assert TableFeed(columns="price=px") == TableFeed(columns={"price": "px"})


@pytest.mark.parametrize("name", ["kind", "side", "price", "size", "time_ns"])
def test_a_missing_column_is_named_with_the_nearest(name):
    renamed = table().rename_columns([f"{column}_" if column == name else column for column in BASE])
    assert_refused(renamed, f"a column {name}", f"did you mean {name}_?", f"columns={name}={name}_")


def test_a_table_of_levels_says_what_to_do():
    levels = pa.table({"timestamp": [1], "side": ["bid"], "price": [1.0], "amount": [1.0], "is_snapshot": [True]})
    assert_refused(levels, "not of order events", "feed=tardis")


@pytest.mark.parametrize("text", ["price", "price=", "=px", "price=px,price=py", "pric=px"])
def test_names_of_columns_that_cannot_be_read_are_refused(text):
    with pytest.raises(InputError, match="column"):
        parse_columns(text)
    with pytest.raises(InputError, match="column"):
        TableFeed(columns=text)


def test_every_name_of_a_column_is_explained():
    assert all(name in names.__doc__ for name in NAMES)


def test_a_column_twice_is_refused():
    twice = pa.Table.from_arrays([*table().columns, table()["price"]], [*BASE, "price"])
    assert_refused(twice, "column twice", "price")


PRICES = {
    "text": ["100.00", "100.02", "100.02", "100"],
    "padded text": ["100.000", "1.0002e2", "100.0200", "100.0"],
    "Decimals": [decimal.Decimal(text) for text in ("100.00", "100.02", "100.02", "100.00")],
    "floats": [100.0, 100.02, 100.02, 100.0],
    "large text": pa.array(["100.00", "100.02", "100.02", "100.00"], pa.large_string()),
    "a dictionary": pa.array(["100.00", "100.02", "100.02", "100.00"]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", PRICES)
def test_prices_of_any_exact_type_are_the_same(kind):
    assert_same_day(read(table(price=PRICES[kind])), read(table()))


def test_integers_are_units_of_the_currency():
    day = read(table(price=[100, 102, 102, 100]))
    assert day.events.price.tolist() == [100, 102, 102, 100] and day.instrument.price_scale == 1


@pytest.mark.parametrize("price", [0.1 + 0.2, 100.02 + 1e-13, 1 / 3, float("nan"), float("inf"), None])
def test_a_float_that_is_no_short_decimal_is_refused(price):
    data = table(price=[100.0, price, 100.02, 100.0])
    assert_refused(data, "row 2, column price")
    day = read(data, on_error="skip")
    assert day.events.price.tolist() == [100, 100] and sum(day.report["rows_dropped"].values()) == 2


@pytest.mark.parametrize("kind", [pa.float32(), pa.bool_(), pa.binary()])
def test_columns_of_other_types_are_refused(kind):
    values = {pa.float32(): [100.0] * 4, pa.bool_(): [True] * 4, pa.binary(): [b"1"] * 4}[kind]
    assert_refused(table(price=pa.array(values, kind)), "an unsupported type", "column price")


def test_floats_give_back_every_price_of_ten_decimals():
    whole = np.random.default_rng(0).integers(1, 10**14, 500) * 10 ** (np.arange(500) % 2)
    texts = [str(decimal.Decimal(int(value)).scaleb(-10)) for value in whole]
    columns = {"time_ns": np.arange(T, T + 500), "kind": ["ADD"] * 500, "side": ["bid"] * 500, "size": [1] * 500}
    columns |= {"order_id": np.arange(1, 501)}
    days = [read(pa.table({**columns, "price": price})) for price in (texts, list(map(float, texts)))]
    assert_same_day(*days)
    assert days[0].events.price.tolist() == whole.tolist()


def test_numbers_of_any_size_and_sign_are_read():
    data = table(price=["-37.63", "0", "0", "-37.63"], size=["1e12", "7", "3", "1000000000000"])
    day = read(data)
    assert day.events.price.tolist() == [-3763, 0, 0, -3763] and day.events.size.tolist() == [10**12, 7, 3, 10**12]
    assert_refused(table(price=["2e18", "1", "1", "2e18"]), "out of range")
    assert_refused(table(price=["1e-19", "1", "1", "1e-19"]), "too many decimal places")


def test_tick_and_lot_are_the_users():
    day = read(table(), tick="0.01", lot="0.1")
    assert (day.instrument.price_scale, day.instrument.tick, day.instrument.lot_scale) == (100, 1, 10)
    assert day.events.size.tolist() == [50, 70, 30, 50]
    assert_refused(
        table(price=["100.00", "100.025", "100.02", "100.00"]),
        "row 2, column price",
        "between ticks",
        "100.025",
        tick="0.01",
    )
    assert_refused(table(size=["5", "7.05", "3", "5"]), "row 2, column size", "too many decimal places", lot="0.1")
    hidden = table(
        kind=["ADD", "EXECUTE_HIDDEN", "EXECUTE_HIDDEN", "DELETE"], price=["100.00", "100.005", "100.01", "100.00"]
    )
    day = read(hidden, tick="0.01")
    assert (day.instrument.price_scale, day.instrument.tick) == (1000, 10)


def test_kinds_and_sides_have_names_and_numbers():
    numbers = table(kind=[1, 1, 4, 3], side=[1, -1, -1, 1])
    assert_same_day(read(numbers), read(table()))
    assert_same_day(read(table(kind=[1.0, 1.0, 4.0, 3.0], side=["Buy", "SELL", "s", "b"])), read(table()))
    assert_refused(
        table(kind=["ADD", "ADD", "MODIFY", "DELETE"]), "row 3, column kind", "ADD or CANCEL", "MODIFY", "a CANCEL"
    )
    assert_refused(table(side=["bid", "ask", "unknown", "bid"]), "row 3, column side", "unknown")


TIMES = {
    "ns": {"time_ns": [T + k for k in range(4)]},
    "datetimes": {"time": pa.array([T + k for k in range(4)], pa.timestamp("ns", "UTC"))},
    "time_ns as datetimes": {"time_ns": pa.array([T + k for k in range(4)], pa.timestamp("ns", "UTC"))},
    "text": {"time": [f"2024-01-02T13:50:00.00000000{k}Z" for k in range(4)]},
    "text with an offset": {"time": [f"2024-01-02 08:50:00.00000000{k}-05:00" for k in range(4)]},
}


@pytest.mark.parametrize("kind", TIMES)
def test_time_in_any_form_is_the_same(kind):
    assert_same_day(read(table(**{"time_ns": None, **TIMES[kind]})), read(table()))


@pytest.mark.parametrize("name,unit", [("time_us", 1000), ("time_ms", 1_000_000)])
def test_other_units_of_time_are_named(name, unit):
    day = read(table(time_ns=None, **{name: [T // unit + k for k in range(4)]}))
    assert day.events.time_ns.tolist() == [T + k * unit for k in range(4)]
    assert_refused(
        table(time_ns=[T // unit + k for k in range(4)]), "before 1980", "row 1, column time_ns", "time_us or time_ms"
    )


def test_a_time_without_a_zone_needs_one():
    clock = pa.array([datetime.datetime(2024, 1, 2, 8, 50, 0, k) for k in range(4)], pa.timestamp("us"))
    text = [f"2024-01-02 08:50:00.00000{k}" for k in range(4)]
    for times in (clock, text):
        data = table(time_ns=None, time=times)
        assert_refused(data, "without a time zone", "time_zone")
        day = read(data, time_zone="America/New_York")
        assert day.events.time_ns.tolist() == [T + 1000 * k for k in range(4)]
        assert day.instrument.time_zone == "America/New_York"
    with pytest.raises(InputError, match="no such time zone"):
        TableFeed(time_zone="New York")


def test_a_zone_of_the_column_is_the_venues():
    zoned = pa.array([T + k for k in range(4)], pa.timestamp("ns", "Asia/Tokyo"))
    assert read(table(time_ns=None, time=zoned)).instrument.time_zone == "Asia/Tokyo"
    late = [
        int(datetime.datetime(2024, 1, 2, 23, tzinfo=zoneinfo.ZoneInfo("UTC")).timestamp()) * 10**9 + k
        for k in range(4)
    ]
    assert read(table(time_ns=late)).instrument.trading_day == "2024-01-02"
    assert read(table(time_ns=late), time_zone="Asia/Tokyo").instrument.trading_day == "2024-01-03"


def test_an_hour_that_a_zone_has_twice_is_refused():
    clock = pa.array(
        [datetime.datetime(2024, 11, 3, 0, 59), *[datetime.datetime(2024, 11, 3, 1, 30)] * 3], pa.timestamp("us")
    )
    assert_refused(table(time_ns=None, time=clock), "row 2, column time", "twice", time_zone="America/New_York")


@pytest.mark.parametrize("time", [["2024-01-02"] * 3 + ["soon"], ["2024-13-02T00:00:00Z"] * 4, [None] * 4])
def test_a_time_that_is_none_is_refused(time):
    assert_refused(table(time_ns=None, time=time), "column time", time_zone="UTC")
    with pytest.raises(InputError, match="as floats"):
        read(table(time_ns=[float(T)] * 4))
    with pytest.raises(InputError, match="without a unit"):
        read(table(time_ns=None, time=[T] * 4))


CONTROLS = [
    {"kind": "CONTROL", "code": "HALT"},
    {"kind": "CONTROL", "code": "3", "side": "0", "price": "0", "size": "0"},
    {"kind": "CONTROL", "code": "CLEAR"},
    {"kind": "ADD", "side": "bid", "price": "100.00", "size": "4", "order_id": "1"},
]


def controls(**changes):
    names = ("kind", "code", "side", "price", "size", "order_id")
    columns = {name: [row.get(name) for row in CONTROLS] for name in names}
    return table(**{**columns, **changes})


def test_controls_are_read_and_a_clear_empties_the_book():
    before = table(code=[""] * 4, size=["5", "7", "3", "5"], order_id=["1", "2", "2", "1"])
    both = pa.concat_tables([before, controls(order_id=["", "", "", "2"])], promote_options="default")
    day = read(both.set_column(0, "time_ns", pa.array([T + k for k in range(8)])))
    assert day.events.code.tolist()[4:] == [Code.HALT, Code.RESUME_TRADE, Code.CLEAR, 0]
    assert_sound(day)
    assert_round_trip(day)


@pytest.mark.parametrize(
    "changes,told",
    [
        ({"code": [None, "3", "CLEAR", None]}, "without a code"),
        ({"code": ["HALT", "3", "CLEAR", "HALT"]}, "not CONTROL"),
        ({"code": ["STOP", "3", "CLEAR", None]}, "an unknown word"),
        ({"side": ["bid", None, None, "bid"]}, "CONTROL event with a side"),
        ({"price": ["1", None, None, "1"]}, "CONTROL event with a price"),
        ({"size": ["1", None, None, "1"]}, "CONTROL event with a size"),
        ({"side": [None, None, None, None]}, "without a side"),
        ({"size": [None, None, None, "0"]}, "of size 0"),
        ({"size": [None, None, None, None]}, "an empty field"),
        ({"order_id": [None, None, None, None]}, "without an order_id"),
    ],
)
def test_controls_and_orders_that_contradict_themselves_are_refused(changes, told):
    assert_refused(controls(**changes), told, "row ")


@pytest.mark.parametrize(
    "changes,told",
    [
        ({"order_id": [1, 2, 3, 1]}, ("row 3, column order_id", "not in the book", "3, of EXECUTE")),
        ({"order_id": [1, 1, 1, 1]}, ("row 2, column order_id", "already in the book")),
        ({"price": ["100", "100.02", "100.04", "100"]}, ("row 3, column price", "another price", "100.04, of EXECUTE")),
        ({"side": ["bid", "ask", "bid", "bid"]}, ("row 3", "another price or side")),
        ({"size": [5, 7, 8, 5]}, ("row 3, column size", "more than the remaining size", "8, of EXECUTE")),
        ({"size": [5, 7, 3, 4]}, ("row 4, column size", "less than the remaining size")),
        ({"sequence": [1, 2, 1, 3]}, ("row 3, column sequence", "backwards")),
        ({"order_id": [-1, 2, 2, 1]}, ("row 1, column order_id", "out of range")),
        ({"flags": [1, 1, 64, 1]}, ("row 3, column flags", "0..63")),
        ({"size": [5, 7, -3, 5]}, ("row 3, column size", "out of range")),
    ],
)  # fmt: skip
def test_events_that_contradict_the_book_are_refused(changes, told):
    assert_refused(table(**changes), *told)
    day = read(table(**changes), on_error="skip")
    assert_sound(day)
    assert_round_trip(day)
    assert sum(day.report["rows_dropped"].values()) >= 1


def test_a_cancel_of_all_is_a_delete_and_counted():
    day = read(table(kind=["ADD", "ADD", "CANCEL", "CANCEL"], size=[5, 7, 3, 5]))
    assert day.events.kind.tolist() == [1, 1, 2, 3] and day.report["cancels_of_all_that_was_left"] == 1


def test_without_ids_each_level_is_one_order():
    data = table(
        order_id=None,
        kind=["ADD", "ADD", "EXECUTE", "DELETE"], side=["bid"] * 4, price=["100.00"] * 4, size=["5", "7", "3", None],
    )  # fmt: skip
    day = read(data)
    assert day.start.pooled and day.events.size.tolist() == [5, 7, 3, 9]
    assert_sound(day)
    assert_round_trip(day)
    assert_refused(table(order_id=None, price=["100.00", "100.02", "99.00", "100.00"]), "row 3, column price", "level")


def test_what_is_optional_is_kept():
    extra = {"sequence": [4, 4, 9, 9], "receive_ns": [T + 9, T + 10, 0, T + 11], "flags": [0, 1, 17, 1]}
    day = read(table(**extra))
    for name, values in extra.items():
        assert getattr(day.events, name).tolist() == values
    received = pa.array([T + 9, T + 10, None, T + 11], pa.timestamp("ns", "UTC"))
    assert_same_day(read(table(**{**extra, "receive_ns": received})), day)


def test_time_that_runs_backwards_is_flagged():
    day = read(table(time_ns=[T, T + 5, T + 3, T + 4]))
    assert (day.events.flags & Flag.BAD_TIME).tolist() == [0, 0, Flag.BAD_TIME, 0]
    assert day.report["time_reversals"] == 1


def two_days():
    first = table(symbol=["A"] * 4, trading_day=["2024-01-02"] * 4)
    others = [
        table(symbol=["B"] * 4, trading_day=["2024-01-02"] * 4),
        table(symbol=["A"] * 4, trading_day=["2024-01-03"] * 4),
    ]
    return pa.concat_tables([first, *others])


def test_a_table_of_several_days_and_symbols_lists_them_all(tmp_path):
    path = tmp_path / "many.parquet"
    parquet.write_table(two_days(), path, row_group_size=3)
    days = TableFeed().days(path)
    assert [(day.trading_day, day.symbol) for day in days] == [
        ("2024-01-02", "A"),
        ("2024-01-02", "B"),
        ("2024-01-03", "A"),
    ]
    for day in days:
        got = TableFeed().read(day)
        assert (got.instrument.symbol, got.instrument.trading_day) == (day.symbol, day.trading_day)
        np.testing.assert_array_equal(got.events.price, read(table()).events.price)
        assert got.report["rows_dropped"] == {"of other symbols or days": 8} and got.report["rows_read"] == 12
    assert [day.symbol for day in TableFeed(symbols=("B",)).days(path)] == ["B"]
    with pytest.raises(InputError, match="more than one day"):
        load_incremental_data(path)
    assert len(load_incremental_data(path, symbol="B").events) == 4


def test_a_table_of_several_days_without_their_column_is_refused():
    later = [T, T + 1, T + 86_400 * 10**9, T + 86_400 * 10**9]
    assert_refused(table(time_ns=later), "row 3, column time_ns", "trading_day")
    assert len(read(table(time_ns=[T, T + 1, T + 2, T + 86_399 * 10**9])).events) == 4


@pytest.mark.parametrize(
    "changes", [{"symbol": ["A", None, "A", "A"]}, {"trading_day": ["2024-01-02"] * 3 + ["2.1.2024"]}]
)
def test_a_row_of_no_symbol_or_day_is_refused(changes):
    assert_refused(table(**changes), f"column {next(iter(changes))}")


def test_the_first_bad_row_is_named_whatever_is_wrong_with_it(tmp_path):
    path = tmp_path / "XY.csv"
    good = "time_ns,kind,side,price,size,order_id"
    path.write_text(f"{good}\n{T},ADD,bid,1,1,1\n{T},DELETE,bid,1,1,7\n{T},ADD,bid,x,1,2\n{T},ADD,bid,1\n")
    with pytest.raises(InputError, match=r"not in the book[\s\S]*line 3, column order_id"):
        load_incremental_data(path)
    day = load_incremental_data(path, reading=Reading("quarantine", tmp_path / "bad"))
    reasons = ("a removal from an order that is not in the book", "a field that is not a decimal number")
    assert day.report["rows_dropped"] == dict.fromkeys((*reasons, "a wrong number of columns"), 1)
    lines = [json.loads(line) for line in (tmp_path / "bad" / "XY.csv.jsonl").read_text().splitlines()]
    assert [entry["where"].split(", ")[1] for entry in lines] == ["line 3", "line 4", "line 5"]
    assert day.report["rows_read"] == 4 and len(day.events) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text + "\n\n",
        lambda text: ",".join(f'"{name}"' for name in text.split("\n")[0].split(",")) + text[text.index("\n") :],
        lambda text: "\n".join(
            ",".join(f'"{field}"' for field in line.split(",")) for line in text.strip().split("\n")
        ),
        lambda text: text.rstrip("\n"),
    ],
)
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_dialects_of_csv_give_the_same_day(change, block_bytes, tmp_path):
    path = tmp_path / "XY.csv"
    text = pl.DataFrame(BASE).write_csv()
    path.write_bytes(change(text).encode())
    assert_same_day(
        load_incremental_data(path, reading=Reading(block_bytes=block_bytes)),
        load_incremental_data(table(), symbol="XY"),
    )


@pytest.mark.parametrize("line", ['1,"a\n', "\n", "1\r2,3\n", '1,x"y",3\n', "\xff\n", "a,b\0\n"])
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_a_line_that_cannot_be_split_is_one_bad_row(line, block_bytes, tmp_path):
    path = tmp_path / "XY.csv"
    lines = pl.DataFrame(BASE).write_csv().splitlines(keepends=True)
    path.write_bytes("".join([*lines[:3], line, *lines[3:]]).encode("latin-1"))
    with pytest.raises(InputError, match="XY.csv, line 4"):
        load_incremental_data(path, reading=Reading(block_bytes=block_bytes))
    day = load_incremental_data(path, reading=Reading("skip", block_bytes=block_bytes))
    assert sum(day.report["rows_dropped"].values()) == 1
    np.testing.assert_array_equal(day.events.price, read(table()).events.price)


def test_what_lies_before_damage_is_kept(tmp_path):
    path = tmp_path / "XY.csv.gz"
    rows = "".join(f"{T + k},ADD,bid,{k + 1}.5,1,{k + 1}\n" for k in range(20_000))
    data = gzip.compress(f"time_ns,kind,side,price,size,order_id\n{rows}".encode())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="decompressed"):
        load_incremental_data(path, tick="0.5")
    day = load_incremental_data(path, tick="0.5", reading=Reading("skip", block_bytes=1 << 12))
    assert 1000 < len(day.events) < 20_000 and sum(day.report["rows_dropped"].values()) == 1


def test_our_own_parquet_takes_no_settings(tmp_path):
    folder = write_parquet(tmp_path / "day", SyntheticFeed(1, 300, 0).read("2024-01-02"))
    with pytest.raises(InputError, match="does not need"):
        load_incremental_data(folder, tick="0.01")
    (folder / "start.parquet").unlink()
    with pytest.raises(InputError, match=r"cannot be read[\s\S]*start\.parquet"):
        load_incremental_data(folder)


def test_our_own_parquet_without_its_description_is_no_other_table(tmp_path):
    folder = write_parquet(tmp_path / "day", SyntheticFeed(1, 300, 0).read("2024-01-02"))
    events = parquet.read_table(folder / "events.parquet").replace_schema_metadata(None)
    parquet.write_table(events, folder / "events.parquet")
    for path in (folder, folder / "events.parquet", tmp_path):
        with pytest.raises(InputError, match="another kind"):
            load_incremental_data(path, reading=Reading("skip"))


def test_a_damaged_arrow_file_is_damage_and_no_crash(tmp_path):
    path = tmp_path / "XY.arrow"
    data = pa.table({**BASE, "note": ["long enough to be followed somewhere"] * 4})
    with path.open("wb") as file, pa.ipc.new_file(file, data.schema) as writer:
        writer.write_table(data)
    good = path.read_bytes()
    at = good.index(np.array([0, 3, 6, 13], np.int32).tobytes())  # where the words of `kind` begin
    path.write_bytes(good[: at + 4] + np.int32(2**30).tobytes() + good[at + 8 :])
    with pytest.raises(InputError, match="cannot be read or decompressed"):
        load_incremental_data(path)


def test_days_of_our_own_parquet_are_told_apart_by_their_content(tmp_path):
    feed = SyntheticFeed(2, 300, 0)
    for k, source in enumerate(feed.days()):
        write_parquet(tmp_path / f"day_{k}", feed.read(source))
    listed = TableFeed().days(tmp_path)
    assert [day.trading_day for day in listed] == [day.trading_day for day in feed.days()]
    inputs = TableFeed().inputs(listed)
    assert {f"day_{k}/{name}.parquet" for k in range(2) for name in ("events", "start", "corrections")} <= set(inputs)
    assert inputs["day_0/events.parquet"] != inputs["day_1/events.parquet"]


def test_settings_decide_what_is_read_and_so_are_told(tmp_path):
    path = write(tmp_path)
    days = FEED.days(path)
    for changed in ({"tick": "0.02"}, {"lot": "1"}, {"time_zone": "Asia/Tokyo"}, {"columns": "order_id=sequence"}):
        assert dataclasses.replace(FEED, **changed).inputs(days) != FEED.inputs(days)


def test_what_our_events_hold_comes_back_from_a_table_of_them(tmp_path):
    day = SyntheticFeed(1, 2_000, 0).read("2024-01-02")
    names = [kind.name for kind in Kind]
    opening = {"time_ns": np.full(len(day.start), day.start.time_ns), "kind": ["ADD"] * len(day.start)}
    opening |= {
        "side": day.start.side,
        "price": day.start.price,
        "size": day.start.size,
        "order_id": day.start.order_id,
    }
    opening |= {"code": np.zeros(len(day.start), np.int64)}
    events = {name: getattr(day.events, name) for name in opening} | {
        "kind": [names[kind - 1] for kind in day.events.kind]
    }
    parts = [pa.table(part).cast(pa.table(opening).schema) for part in (opening, events)]
    again = read(pa.concat_tables(parts))
    first = len(day.start)
    for name in ("time_ns", "kind", "code", "side", "price", "size", "order_id"):
        np.testing.assert_array_equal(getattr(again.events, name)[first:], getattr(day.events, name), err_msg=name)
