"""Both files in parallel: a row that is bad in one is left out of both, and the book stays right."""

import gzip
import json

import numpy as np
import pytest

from lob_jax.book.replay import replay
from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.lobster.feed import LobsterFeed
from tests.feeds.checks import assert_same_day
from tests.feeds.sample_lobster import LEVELS, NAME, write

SKIP = Reading(on_error="skip")
HALVES = ("message", "orderbook")


@pytest.fixture
def day(tmp_path):
    """Return the path of a valid day, and the lines of both files."""
    path = write(tmp_path)
    return path, {half: lines_of(tmp_path, half) for half in HALVES}


def lines_of(folder, half):
    return (folder / NAME.format(half)).read_text().splitlines()


def put(folder, half, lines, end="\n"):
    (folder / NAME.format(half)).write_text("\n".join(lines) + end)


def spoil(path, lines, **bad):
    """Replace fields, given as half=[(line, column, text)], all from 1."""
    for half, changes in bad.items():
        rows = [line.split(",") for line in lines[half]]
        for line, column, text in changes:
            rows[line - 1][column - 1] = text
        put(path.parent, half, [",".join(row) for row in rows])


def assert_follows_the_book(day, rows):
    """The replay's book is the file's in every kept row."""
    states = replay(day, levels=LEVELS).after()
    assert day.events.sequence.tolist() == [line - 1 for line in sorted(rows)]
    for state, line in enumerate(sorted(rows)):
        fields = np.array(rows[line].split(","), np.int64).reshape(LEVELS, 2, 2)
        size = fields[:, ::-1, 1].T
        np.testing.assert_array_equal(states.size[state], size)
        np.testing.assert_array_equal(states.price[state], np.where(size > 0, fields[:, ::-1, 0].T, 0))


@pytest.mark.parametrize("block_bytes", [40, 150, 1 << 20])
def test_a_bad_row_is_left_out_of_both_files_and_counted_once(day, block_bytes):
    path, lines = day
    bad = {"message": [(4, 2, "9"), (9, 4, "x"), (20, 4, "-5")], "orderbook": [(1, 1, "7"), (9, 2, ""), (22, 2, "-1")]}
    spoil(path, lines, **bad)
    for half, (line, column, _) in (("message", bad["message"][0]), ("orderbook", bad["orderbook"][0])):
        spoil(path, lines, **{half: bad[half]})
        (path.parent / NAME.format("orderbook" if half == "message" else "message")).write_text(
            "\n".join(lines["orderbook" if half == "message" else "message"]) + "\n"
        )
        with pytest.raises(InputError) as caught:
            LobsterFeed().read(path)
        assert f"{half}_3.csv, line {line}, column {column} (" in caught.value.where
    spoil(path, lines, **bad)
    read = LobsterFeed().read(path, Reading(on_error="skip", block_bytes=block_bytes))
    kept = {n: row for n, row in enumerate(lines["orderbook"], 1) if n not in (1, 4, 9, 20, 22)}
    assert_follows_the_book(read, kept)
    assert (read.report["rows_read"], read.report["rows_kept"]) == (len(lines["message"]), len(kept))
    assert read.report["rows_dropped"] == {
        "an unknown message type": 1,
        "a field that is not a whole number": 1,
        "a negative size": 2,
        "a price between ticks": 1,
    }


@pytest.mark.parametrize("block_bytes", [30, 64, 100])
def test_it_does_not_matter_which_file_is_read_ahead(tmp_path, block_bytes):
    """A one-level book has shorter rows than its messages."""
    path = tmp_path / "XYZ_2012-06-21_34200000_57600000_message_1.csv"
    messages, book = ["34200.123456789,5,0,1,1000100,1"] * 30, ["200,1,100,1"] * 30
    for line in (7, 8, 21):
        messages[line] = "x" + messages[line][1:]
    for line in (7, 15, 21):
        book[line] = "x"
    path.write_text("\n".join(messages) + "\n")
    path.with_name(path.name.replace("message", "orderbook")).write_text("\n".join(book) + "\n")
    report = LobsterFeed().read(path, Reading(on_error="skip", block_bytes=block_bytes)).report
    assert (report["rows_read"], report["rows_kept"]) == (30, 26)
    assert report["rows_dropped"] == {"a field that is not a decimal number": 3, "a wrong number of columns": 1}


def test_a_row_is_not_sound_for_being_the_same_as_a_bad_one(day):
    path, lines = day
    spoil(path, lines, orderbook=[(line, 1, "1000201") for line in (1, 2, 3)])
    report = LobsterFeed().read(path, SKIP).report
    assert report["rows_dropped"] == {"a price between ticks": 3}


def test_what_the_corrections_mend_behind_a_lost_row_is_told(day):
    path, lines = day
    assert LobsterFeed().read(path).report["unexplained_rows"] == 0
    spoil(path, lines, message=[(6, 2, "9")])  # the trade of three at the ask
    report = LobsterFeed().read(path, SKIP).report
    assert (report["unexplained_rows"], report["first_unexplained_lines"]) == (1, [7])


def test_groups_end_where_their_kept_rows_end(day):
    path, lines = day
    spoil(path, lines, message=[(2, 2, "9"), (4, 2, "9")])
    flags = LobsterFeed().read(path, Reading(on_error="skip", block_bytes=64)).events.flags
    assert (flags[:4] & 1).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("block_bytes", [60, 1 << 20])
@pytest.mark.parametrize("shorter", HALVES)
def test_of_unequal_files_the_common_rows_are_kept(day, shorter, block_bytes):
    path, lines = day
    put(path.parent, shorter, lines[shorter][:15])
    read = LobsterFeed().read(path, Reading(on_error="skip", block_bytes=block_bytes))
    assert_follows_the_book(read, dict(enumerate(lines["orderbook"][:15], 1)))
    total = len(lines["message"])
    assert read.report["rows_read"] == total
    assert read.report["rows_dropped"] == {"the message and the order-book file differ in length": total - 15}


def test_bad_rows_beyond_the_shorter_file_are_counted_once(day):
    path, lines = day
    spoil(path, lines, message=[(12, 2, "9"), (18, 2, "9"), (20, 2, "9")])
    put(path.parent, "orderbook", lines["orderbook"][:15])
    report = LobsterFeed().read(path, SKIP).report
    assert report["rows_read"] == len(lines["message"]) == 22
    assert report["rows_dropped"] == {
        "an unknown message type": 3,
        "the message and the order-book file differ in length": 5,
    }


def test_bad_rows_of_each_file_are_kept_apart_on_disk(day, tmp_path):
    path, lines = day
    spoil(path, lines, message=[(4, 2, "9")], orderbook=[(4, 2, "x"), (6, 2, "-1")])
    read = LobsterFeed().read(path, Reading(on_error="quarantine", quarantine=tmp_path / "bad"))
    files = [tmp_path / "bad" / (NAME.format(half) + ".jsonl") for half in HALVES]
    assert read.report["quarantine"] == list(map(str, files))
    messages, books = ([json.loads(line) for line in file.read_text().splitlines()] for file in files)
    assert [entry["raw"] for entry in messages] == ["34200.1,9,13,2,1000100,1"]
    assert [entry["where"].split(", ")[1] for entry in books] == ["line 4", "line 6"]
    assert read.report["rows_dropped"] == {"an unknown message type": 1, "a negative size": 1}


def test_time_may_not_fall_behind_what_is_kept(day):
    path, lines = day
    spoil(path, lines, message=[(5, 1, "34200.0"), (9, 1, "50000")])
    report = LobsterFeed().read(path, SKIP).report
    assert report["rows_dropped"] == {"time that runs backwards": 1 + 12}  # until the last row, at 57599
    assert report["time_reversals"] == 0


def test_a_last_number_in_doubt_costs_its_row(day):
    path, lines = day
    put(path.parent, "message", lines["message"][:9])  # the last two at the same time
    rows = lines["orderbook"][:9]
    assert rows[-1].endswith(",60")
    put(path.parent, "orderbook", [*rows[:-1], rows[-1][:-1]], end="")
    with pytest.raises(InputError, match="do not confirm its last number"):
        LobsterFeed().read(path)
    read = LobsterFeed().read(path, SKIP)
    assert_follows_the_book(read, dict(enumerate(rows[:-1], 1)))
    assert read.report["rows_kept"] == 8
    assert sum(read.report["rows_dropped"].values()) == 1
    assert read.events.flags[-1] & 1


def test_a_day_without_a_good_row_is_refused(day):
    path, lines = day
    put(path.parent, "message", ["x"] * len(lines["message"]))
    with pytest.raises(InputError, match="no good row"):
        LobsterFeed().read(path, SKIP)


def test_a_file_that_is_damaged_part_way_keeps_what_came_before(day, tmp_path):
    path, lines = day
    put(path.parent, "message", ["34200," + line.split(",", 1)[1] for line in lines["message"] * 60])
    put(path.parent, "orderbook", lines["orderbook"] * 60)
    whole = LobsterFeed().read(path)
    data = gzip.compress(path.read_bytes(), 0)
    path.unlink()
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="decompressed"):
        LobsterFeed().read(packed)
    read = LobsterFeed().read(packed, Reading(on_error="skip", block_bytes=50))
    kept = len(read.events)
    assert 100 < kept < len(whole.events)
    assert np.array_equal(read.events.price, whole.events.price[:kept])
    assert read.report["rows_dropped"]["a file that cannot be read or decompressed"] == 1
    assert read.report["rows_kept"] == kept


@pytest.mark.parametrize("seed", range(4))
def test_files_in_blocks_that_never_match_give_the_same_day(tmp_path, seed):
    """A long day with scattered bad rows, read in one block and in many."""
    rng = np.random.default_rng(seed)
    path = write(tmp_path)
    long = {half: lines_of(tmp_path, half) * 60 for half in HALVES}
    long["message"] = [f"{34200 + n // 7}," + line.split(",", 1)[1] for n, line in enumerate(long["message"])]
    for half in HALVES:
        for line in rng.choice(len(long[half]), 40):
            long[half][line] = long[half][line].replace(",", ";", 1)
        put(tmp_path, half, long[half][: len(long[half]) - int(rng.integers(0, 50))])
    days = [LobsterFeed().read(path, Reading(on_error="skip", block_bytes=size)) for size in (1 << 20, 333, 1024)]
    for other in days[1:]:
        assert_same_day(days[0], other)
        assert other.report == days[0].report
    assert 1100 < len(days[0].events) < 1320


def test_progress_counts_both_files_as_one(day):
    path, _ = day
    seen = []
    LobsterFeed().read(path, Reading(on_bytes=lambda done, size: seen.append((done, size)), block_bytes=100))
    total = sum((path.parent / NAME.format(half)).stat().st_size for half in HALVES)
    assert {size for _, size in seen} == {total}
    done = [so_far for so_far, _ in seen]
    assert done == sorted(done) and done[-1] == total
