"""Folders of sequences: the layout, what is written and read back, plain days, and bad files."""

import dataclasses
import gzip
import pathlib

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.folders import NO_GENERATION, fingerprint, read_folder, write_folders
from lob_jax.feeds.load import load_incremental_data
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans
from lob_jax.writers.lobster import write_lobster

MESSAGES = ["34200.5,1,-7,30,1000100,1", "34200.5000001,3,-7,30,1000100,1"]
BOOKS = ["1000200,70,1000100,30", "1000200,70,-1,-1"]


@pytest.fixture(scope="module")
def day():
    return load_incremental_data(events=700, seed=3)


@pytest.fixture(scope="module")
def flow(day):
    return flow_of_spans(day, disjoint_spans(600, length=50), levels=3)


def columns(flow):
    return {field.name: getattr(flow, field.name) for field in dataclasses.fields(flow)[1:]}


def same(one, other):
    for name, column in columns(one).items():
        np.testing.assert_array_equal(column, columns(other)[name], err_msg=name)
        assert column.dtype == columns(other)[name].dtype


def write(folder: pathlib.Path, files: dict[str, list[str]]) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


def pair(real: int = 0, messages=MESSAGES, books=BOOKS) -> dict[str, list[str]]:
    return {
        f"X_2024-07-01_message_real_id_{real}.csv": messages,
        f"X_2024-07-01_orderbook_real_id_{real}.csv": books,
    }


def test_what_is_written_is_read_back_exactly(flow, tmp_path):
    real, generated, cond = flow.select([0, 1, 2]), flow.select([3, 4, 5, 6, 7, 8]), flow.select([9, 10, 11])
    write_folders(tmp_path, real, generated=generated, cond=cond, ids=[4, 30, 200])
    for part, written in (("data_real", real), ("data_gen", generated), ("data_cond", cond)):
        found = read_folder(tmp_path, part, events=1)
        same(found.flow, written)
        assert found.flow.instrument.tick == flow.instrument.tick and found.has_messages
        assert found.report["explained"] == 1.0 and found.report["crossed_books"] == 0
    keys = read_folder(tmp_path / "data_gen", "data_gen", events=1).keys
    assert [key[1:] for key in keys] == [(4, 0), (4, 1), (30, 0), (30, 1), (200, 0), (200, 1)]


def test_the_layout_is_that_of_lob_bench(flow, tmp_path):
    write_folders(tmp_path, flow.select([0]), generated=flow.select([1, 2]), cond=flow.select([3]))
    prefix = f"{flow.instrument.symbol}_{flow.instrument.trading_day}"
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.csv")) == [
        f"data_cond/{prefix}_message_real_id_0.csv",
        f"data_cond/{prefix}_orderbook_real_id_0.csv",
        f"data_gen/{prefix}_message_real_id_0_gen_id_0.csv",
        f"data_gen/{prefix}_message_real_id_0_gen_id_1.csv",
        f"data_gen/{prefix}_orderbook_real_id_0_gen_id_0.csv",
        f"data_gen/{prefix}_orderbook_real_id_0_gen_id_1.csv",
        f"data_real/{prefix}_message_real_id_0.csv",
        f"data_real/{prefix}_orderbook_real_id_0.csv",
    ]
    first = flow.order_id[0]
    line = (tmp_path / f"data_real/{prefix}_message_real_id_0.csv").read_text().splitlines()[0].split(",")
    assert line[1:3] == [str(flow.kind[0]), str(first)] and float(line[0]) * 1e9 == pytest.approx(flow.time_ns[0])


def test_several_generations_of_a_sequence_differ(tmp_path):
    """LOB-Bench's own loader reads the last one for all of them."""
    files = {}
    for generation, size in enumerate((10, 20, 30)):
        files[f"X_2024-07-01_message_real_id_5_gen_id_{generation}.csv"] = [f"34200,1,1,{size},1000100,1"]
        files[f"X_2024-07-01_orderbook_real_id_5_gen_id_{generation}.csv"] = [f"1000200,70,1000100,{size}"]
    found = read_folder(write(tmp_path / "data_gen", files), "data_gen", events=1)
    assert found.flow.size.tolist() == [10, 20, 30] and found.report["generations"] == [3, 3]
    assert found.report["real_ids"] == 1 and len(found.flow) == 3


def test_ids_are_ordered_as_numbers_and_days_apart(tmp_path):
    files = {
        name.replace("2024-07-01", day): lines
        for day in ("2024-07-02", "2024-07-01")
        for name, lines in (pair(10) | pair(9)).items()
    }
    keys = read_folder(write(tmp_path, files), "data_real", events=1).keys
    assert keys[0] == ("2024-07-01", 9, NO_GENERATION)
    assert [(key.trading_day[-1], key.real) for key in keys] == [("1", 9), ("1", 10), ("2", 9), ("2", 10)]


def test_other_simulators_conventions_are_understood(tmp_path):
    """Negative order ids, -1 for an empty level, gzip, a participant; a message without sense beside its book."""
    folder = write(tmp_path / "data_real", pair(messages=[f"{line},null" for line in MESSAGES]))
    book = next(folder.glob("*orderbook*"))
    (folder / f"{book.name}.gz").write_bytes(gzip.compress(book.read_bytes()))
    book.unlink()
    found = read_folder(tmp_path, "data_real", events=1).flow
    assert found.order_id.view(np.int64).tolist() == [-7, -7]
    assert found.book_size[:, 0, 0].tolist() == [30, 0] and found.book_price[:, 0, 0].tolist() == [1000100, 0]
    assert found.time_ns.tolist() == [34_200_500_000_000, 34_200_500_000_100]


def test_halts_are_left_out_with_their_books(tmp_path):
    folder = write(tmp_path, pair(messages=[MESSAGES[0], "34201,7,0,0,-1,-1"]))
    found = read_folder(folder, "data_real", events=1)
    assert found.flow.kind.tolist() == [1] and len(found.flow.book_size) == 1 and found.report["halts_left_out"] == 1


def test_books_alone_are_read(tmp_path):
    books = {name: lines for name, lines in pair().items() if "orderbook" in name}
    found = read_folder(write(tmp_path, books), "data_real", events=1)
    assert not found.has_messages and found.report["messages"] == 0 and found.report["books"] == 2
    assert not found.flow.kind.any() and found.flow.book_price[0, 1, 0] == 1000200
    write_folders(tmp_path / "again", found.flow, generated=found.flow)
    same(read_folder(tmp_path / "again", "data_gen", events=1).flow, found.flow)
    assert not list((tmp_path / "again").rglob("*message*"))


def test_a_day_is_cut_into_sequences(day, tmp_path):
    write_lobster(tmp_path, day, levels=2)
    found = read_folder(tmp_path, "data_real", events=100)
    whole = flow_of_spans(day, np.array([[0, len(day.events)]]), levels=2)  # without halts
    kept = len(whole.time_ns) // 100 * 100
    cut = {name: column[:kept] for name, column in columns(whole).items()} | {"edges": np.arange(0, kept + 1, 100)}
    same(found.flow, dataclasses.replace(whole, **cut))
    assert found.report["days"] == 1 and found.report["sequences"] == kept // 100
    with pytest.raises(InputError, match="shorter than one sequence"):
        read_folder(tmp_path, "data_real", events=10_000)


def test_the_tick_is_that_of_the_prices_or_given(tmp_path):
    folder = write(tmp_path, pair())
    assert read_folder(folder, "data_real", events=1).flow.instrument.tick == 100
    given = read_folder(folder, "data_real", events=1, tick=200)
    assert given.flow.instrument.tick == 200 and given.report["prices_off_tick"] == 2


def test_what_no_market_shows_is_counted_and_not_refused(tmp_path):
    messages = ["34201,1,1,30,1000300,1", "34200,1,2,30,1000100,1"]
    books = ["1000200,70,1000300,30", "1000200,70,1000300,30"]
    report = read_folder(write(tmp_path, pair(messages=messages, books=books)), "data_real", events=1).report
    assert report["times_backwards"] == 1 and report["crossed_books"] == 2


@pytest.mark.parametrize(
    ("files", "what", "where"),
    [
        ({"notes.txt": []}, "no sequences in the folder", ""),
        (pair(books=BOOKS[:1]), "differ in number", "orderbook_real_id_0.csv, line 2"),
        (pair(books=[*BOOKS, BOOKS[1]]), "differ in number", "orderbook_real_id_0.csv, line 3"),
        (
            pair(messages=[MESSAGES[0], "x,1,1,1,1,1"]),
            "not a decimal number",
            "message_real_id_0.csv, line 2, column 1",
        ),
        (pair(messages=["34200,8,1,1,1,1"] * 2), "unknown message type", "line 1, column 2"),
        (pair(messages=["34200,1,1,1,1,0"] * 2), "a direction that is neither side", "line 1, column 6"),
        (pair(messages=["34200,1,1,0,1,1"] * 2), "a message without size", "line 1, column 4"),
        (pair(messages=["-1,1,1,1,1,1"] * 2), "a time outside the day", "line 1, column 1"),
        (pair(books=["1000200,70,1000300,0"] * 2), "half empty", "orderbook_real_id_0.csv, line 1"),
        (pair(books=[BOOKS[0], "1000200,70,1000100"]), "wrong number of columns", "line 2"),
        (pair(books=["1,2,3"] * 2), "a wrong number of columns", "line 1"),
        (pair(books=[]), "an empty file", "orderbook"),
        (pair() | {"X_2024-07-01_message_1_real_id_0.csv": MESSAGES}, "two files of the same sequence", "real_id_0"),
        (pair() | {"X_2024-07-01_message_real_id_1.csv": MESSAGES}, "order-book file of a sequence", "real_id_1"),
        (pair() | {"X_2024-07-01_orderbook_real_id_1.csv": BOOKS}, "message file of a sequence", "real_id_1"),
    ],
)
def test_bad_files_are_refused(files, what, where, tmp_path):
    with pytest.raises(InputError, match=what) as caught:
        read_folder(write(tmp_path, files), "data_real", events=1)
    assert where in str(caught.value.where) and str(tmp_path) in str(caught.value.where)


def test_levels_out_of_order_are_refused(tmp_path):
    books = ["1000300,70,1000100,30,1000200,70,1000000,1"] * 2
    with pytest.raises(InputError, match="levels out of order") as caught:
        read_folder(write(tmp_path, pair(books=books)), "data_real", events=1)
    assert "line 1" in str(caught.value.where)


def test_sequences_that_do_not_belong_together_are_not_written(flow, tmp_path):
    real = flow.select([0, 1])
    for wrong in (
        {"generated": flow.select([0, 1, 2])},
        {"generated": real, "cond": flow.select([0])},
        {"generated": real, "ids": [3, 3]},
        {"generated": real, "ids": [3]},
    ):
        with pytest.raises(InputError, match="do not belong together"):
            write_folders(tmp_path, real, **wrong)
    assert not list(tmp_path.iterdir())


def test_a_fingerprint_is_that_of_the_content(flow):
    again = flow.select(range(len(flow)))
    assert fingerprint(flow) == fingerprint(again) != fingerprint(flow.select(range(1, len(flow))))


@pytest.mark.slow
def test_a_real_day_explains_itself_and_comes_back_exactly(market_data, tmp_path):
    day = market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz")
    found = read_folder(day, "data_real", events=500)
    assert len(found.flow) == 295 and found.flow.instrument.tick == 100
    assert found.report["crossed_books"] == found.report["prices_off_tick"] == found.report["times_backwards"] == 0
    real, generated = found.flow.select([0, 100]), found.flow.select([3, 4, 5, 294])
    write_folders(tmp_path, real, generated=generated)
    again = read_folder(tmp_path, "data_gen", events=1)
    same(again.flow, generated)
    assert again.report["explained"] == 1.0 and again.flow.instrument.tick == 100
