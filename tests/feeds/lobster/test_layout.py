"""Information in the first lines: a seventh column, swapped or duplicated halves, files with many levels."""

import json

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.load import detect_format
from lob_jax.feeds.lobster.feed import LobsterFeed, read_book_rows, read_messages
from tests.feeds.checks import assert_round_trip, assert_same_day, assert_sound
from tests.feeds.sample_lobster import LEVELS, MESSAGES, NAME, write

ALONE = LobsterFeed(order_book="none")


def with_participants(folder, names, end="\n"):
    """Write the sample day with a seventh column that cycles through the names; return the message file."""
    path = write(folder)
    lines = [f"{line},{names[k % len(names)]}" for k, line in enumerate(path.read_text().splitlines())]
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block_bytes", [40, 1 << 20])
def test_a_seventh_column_is_accepted_and_its_names_counted(tmp_path, end, block_bytes):
    plain = LobsterFeed().read(write(tmp_path))
    path = with_participants(tmp_path, ["null", "GSCO", "", "UBSS", "GSCO"], end)
    for feed in (LobsterFeed(), ALONE):
        day = feed.read(path, Reading(block_bytes=block_bytes))
        assert day.report["participants"] == {"GSCO": 9, "UBSS": 4}
        assert day.report["participant_rows"] == 13
        np.testing.assert_array_equal(day.events.price, plain.events.price)
        assert_sound(day)
        assert_round_trip(day)
    assert_same_day(LobsterFeed().read(path), plain)
    assert len(read_messages(path)) == len(MESSAGES)
    assert json.loads(json.dumps(day.report)) == day.report


@pytest.mark.parametrize("names", [["null"], [""], ["null", ""]])
def test_a_column_without_names_has_no_participants(tmp_path, names):
    plain = LobsterFeed().read(write(tmp_path))
    day = LobsterFeed().read(with_participants(tmp_path, names))
    assert_same_day(day, plain)
    assert (day.report["participant_rows"], day.report["participants"]) == (0, {})


def test_many_names_are_reported_in_part(tmp_path):
    names = [f"P{k:03d}" for k in range(len(MESSAGES) - 1)]
    report = LobsterFeed().read(with_participants(tmp_path, names)).report
    assert report["participant_rows"] == len(MESSAGES)
    assert report["participants"]["P000"] == 2
    assert len(report["participants"]) == 21 and report["participants"]["(others)"] == 1
    assert sum(report["participants"].values()) == len(MESSAGES)


@pytest.mark.parametrize("seven", [True, False])
@pytest.mark.parametrize("line", [1, 9])
def test_a_row_of_another_width_than_the_others_is_at_fault(tmp_path, seven, line):
    path = with_participants(tmp_path, ["null"]) if seven else write(tmp_path)
    lines = path.read_text().splitlines()
    lines[line - 1] = lines[line - 1].removesuffix(",null") if seven else lines[line - 1] + ",GSCO"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError) as caught:
        LobsterFeed().read(path)
    assert caught.value.what == "a wrong number of columns"
    assert (caught.value.where, caught.value.expected) == (f"{path}, line {line}", f"{6 + seven} columns")
    report = LobsterFeed().read(path, Reading(on_error="skip")).report
    assert report["rows_dropped"] == {"a wrong number of columns": 1}


def test_participants_of_refused_rows_are_not_counted(tmp_path):
    path = with_participants(tmp_path, ["GSCO"])
    path.write_text(path.read_text().replace(",18,1000000,1,GSCO", ",-18,1000000,1,GSCO"))
    report = LobsterFeed().read(path, Reading(on_error="skip")).report
    assert (report["participant_rows"], report["rows_dropped"]) == (len(MESSAGES) - 1, {"a negative size": 1})


def test_a_file_with_participants_is_recognised_by_its_content(tmp_path):
    other = tmp_path / "messages.txt"
    other.write_bytes(with_participants(tmp_path, ["null"]).read_bytes())
    assert detect_format(other) == "lobster"


def misplaced(folder, message: str, orderbook: str):
    """Write the content of the given halves under the names of the pair; return the message file."""
    path = write(folder)
    content = {half: (folder / NAME.format(half)).read_bytes() for half in ("message", "orderbook")}
    path.write_bytes(content[message])
    (folder / NAME.format("orderbook")).write_bytes(content[orderbook])
    return path


@pytest.mark.parametrize("read", [LobsterFeed().read, read_messages, read_book_rows])
def test_a_swapped_pair_is_named_as_swapped(tmp_path, read):
    path = misplaced(tmp_path, "orderbook", "message")
    with pytest.raises(InputError) as caught:
        read(path)
    error = caught.value
    assert error.what == "the message and the order-book file are swapped"
    assert str(error.where) == str(path) and NAME.format("orderbook") in error.expected
    assert "swap the names" in error.remedy


def test_a_swapped_pair_is_no_row_to_skip(tmp_path):
    with pytest.raises(InputError, match="swapped"):
        LobsterFeed().read(misplaced(tmp_path, "orderbook", "message"), Reading(on_error="skip"))


@pytest.mark.parametrize("half", ["message", "orderbook"])
@pytest.mark.parametrize("feed", [LobsterFeed(), ALONE])
def test_a_half_that_lies_there_twice_is_named(tmp_path, half, feed):
    path = misplaced(tmp_path, half, half)
    if feed == ALONE and half == "message":
        assert len(feed.read(path).events) == len(MESSAGES)
        return
    with pytest.raises(InputError) as caught:
        feed.read(path)
    what = {"message": "an order-book file that holds messages", "orderbook": "a message file that holds an order book"}
    at = "orderbook" if half == "message" else "message"
    assert caught.value.what == what[half]
    assert str(caught.value.where) == str(tmp_path / NAME.format(at))


@pytest.mark.parametrize("block_bytes", [1000, 1 << 20])
def test_a_file_of_fifty_levels_is_read(tmp_path, block_bytes):
    path = write(tmp_path)
    book = path.with_name(NAME.format("orderbook"))
    empty = ",9999999999,0,-9999999999,0" * (50 - LEVELS)
    wide = {half: tmp_path / NAME.format(half).replace("_3.", "_50.") for half in ("message", "orderbook")}
    wide["message"].write_bytes(path.read_bytes())
    wide["orderbook"].write_text("".join(line + empty + "\n" for line in book.read_text().splitlines()))
    day = LobsterFeed().read(wide["message"], Reading(block_bytes=block_bytes))
    assert day.start.window == 50
    price, _ = read_book_rows(wide["message"])
    assert price.shape == (len(MESSAGES), 2, 50)
    np.testing.assert_array_equal(price[:, :, :LEVELS], read_book_rows(path)[0])
    assert_sound(day)
    assert_round_trip(day)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("halves", [("message",), ("orderbook",), ("message", "orderbook")])
@pytest.mark.parametrize("block_bytes", [40, 1 << 20])
def test_a_byte_order_mark_and_a_blank_last_line_change_nothing(tmp_path, end, halves, block_bytes):
    path = write(tmp_path)
    plain = LobsterFeed().read(path)
    for half in halves:
        file = tmp_path / NAME.format(half)
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", end) + end)
    day = LobsterFeed().read(path, Reading(block_bytes=block_bytes))
    assert_same_day(day, plain)
    assert (day.report["rows_read"], day.report["rows_dropped"]) == (len(MESSAGES), {})


def test_a_blank_line_between_others_is_at_fault(tmp_path):
    path = write(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], "", *lines[4:]]) + "\n")
    with pytest.raises(InputError) as caught:
        LobsterFeed().read(path)
    assert (caught.value.where, caught.value.was) == (f"{path}, line 5", "an empty line")


@pytest.mark.parametrize("feed", [LobsterFeed(), ALONE])
@pytest.mark.parametrize("reading", [Reading(), Reading(on_error="skip")])
def test_an_empty_half_is_named_as_such(tmp_path, feed, reading):
    path = write(tmp_path)
    for half in ("message", "orderbook")[: 1 + (feed != ALONE)]:
        file = tmp_path / NAME.format(half)
        content = file.read_bytes()
        file.write_bytes(b"")
        with pytest.raises(InputError, match="an empty file") as caught:
            feed.read(path, reading)
        assert str(caught.value.where) == str(file)
        file.write_bytes(content)
