"""Finding days: names, pairs, folders and archives, and the errors of each."""

import gzip
import itertools
import pathlib
import zipfile

import pytest
from backports import zstd

from lob_jax.errors import InputError
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.lobster.files import LobsterName, find_pair, list_days, parse_name
from lob_jax.feeds.reading.source import Source

STEM = "XYZ_2024-07-01_34200000_57600000_{}_2"
MESSAGE, BOOK = STEM.format("message"), STEM.format("orderbook")


def put(folder: pathlib.Path, *names: str) -> pathlib.Path:
    """Write files that contain their own name; return the first."""
    for name in names:
        content = name.encode()
        pack = {".gz": gzip.compress, ".zst": zstd.compress}.get(pathlib.Path(name).suffix, bytes)
        (folder / name).write_bytes(pack(content))
    return folder / names[0]


def zipped(path: pathlib.Path, *members: str) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, member)
    return path


def text(source: Source) -> str:
    return b"".join(source.blocks(STRICT)).decode()


def error(action, *arguments) -> InputError:
    """Return the InputError of a call, after checking that it is complete."""
    with pytest.raises(InputError) as caught:
        action(*arguments)
    for part in ("what", "where", "expected", "was", "remedy"):
        assert str(getattr(caught.value, part))
    return caught.value


def test_a_name_is_parsed_and_formed():
    name = LobsterName("BRK.B_x-1", "2012-06-21", 34_200_000, 57_600_000, 10)
    assert name.stem("message") == "BRK.B_x-1_2012-06-21_34200000_57600000_message_10"
    for suffix in (".csv", ".csv.gz", ".csv.zst", ".csv.zip", ".zip"):
        assert parse_name(name.stem("orderbook") + suffix) == (name, "orderbook")


@pytest.mark.parametrize(
    "name",
    [
        "AAPL_2012-06-21_message_10_first998.csv",
        "AAPL_2012-06-21_34200000_57600000_message_10.txt",
        "AAPL_2012-06-21_34200000_57600000_messages_10.csv",
        "AAPL_2012-06-21_34200000_57600000_message_0.csv",
        "AAPL_2012-06-31_34200000_57600000_message_10.csv",
        "AAPL_2012-6-21_34200000_57600000_message_10.csv",
        "AAPL_2012-06-21_57600000_34200000_message_10.csv",
        "AAPL_2012-06-21_34200000_864000001_message_10.csv",
        "AAPL_2012-06-21_86400000_86400001_message_10.csv",
        "AAPL_2012-06-21_34200000_message_10.csv",
        "_2012-06-21_34200000_57600000_message_10.csv",
        "A/B_2012-06-21_34200000_57600000_message_10.csv",
    ],
)
def test_other_names_are_no_lobster_names(name):
    assert parse_name(name) is None


@pytest.mark.parametrize("suffixes", [*itertools.product((".csv", ".csv.gz", ".csv.zst"), repeat=2)])
def test_halves_lie_side_by_side(tmp_path, suffixes):
    path = put(tmp_path, MESSAGE + suffixes[0], BOOK + suffixes[1])
    pair = find_pair(path)
    assert pair.name == LobsterName("XYZ", "2024-07-01", 34_200_000, 57_600_000, 2)
    assert text(pair.message) == MESSAGE + suffixes[0]
    assert text(pair.orderbook) == BOOK + suffixes[1]


def test_the_book_in_the_form_of_its_messages_comes_first(tmp_path):
    path = put(tmp_path, MESSAGE + ".csv.gz", BOOK + ".csv", BOOK + ".csv.gz")
    assert find_pair(path).orderbook.path.name == BOOK + ".csv.gz"


def test_one_zip_holds_both(tmp_path):
    path = zipped(tmp_path / "sample.zip", "ReadMe.txt", f"day/{MESSAGE}.csv", f"day/{BOOK}.csv")
    pair = find_pair(path)
    assert text(pair.message) == f"day/{MESSAGE}.csv"
    assert text(pair.orderbook) == f"day/{BOOK}.csv"
    assert str(pair.message) == f"{path}!day/{MESSAGE}.csv"


@pytest.mark.parametrize("suffix", [".zip", ".csv.zip"])
def test_one_zip_a_half(tmp_path, suffix):
    path = zipped(tmp_path / (MESSAGE + suffix), MESSAGE + ".csv")
    zipped(tmp_path / (BOOK + suffix), BOOK + ".csv")
    assert text(find_pair(path).orderbook) == BOOK + ".csv"
    assert list(list_days(tmp_path)) == [path]


def test_a_missing_book_is_named(tmp_path):
    other_levels = STEM.format("orderbook").replace("_2", "_3") + ".csv"
    plain = put(tmp_path, MESSAGE + ".csv.gz", other_levels)
    fault = error(find_pair, plain)
    assert "order-book file" in fault.what
    assert fault.expected == tmp_path / (BOOK + ".csv.gz")
    assert "--config.data.order_book=none" in fault.remedy
    fault = error(find_pair, zipped(tmp_path / "half.zip", MESSAGE + ".csv"))
    assert fault.expected == tmp_path / (BOOK + ".csv")
    fault = error(find_pair, zipped(tmp_path / "levels.zip", MESSAGE + ".csv", other_levels))
    assert "order-book file" in fault.what


def test_messages_alone_need_no_book_and_leave_one_unread(tmp_path):
    path = put(tmp_path, MESSAGE + ".csv")
    for books in ([], [BOOK + ".csv"], [BOOK + ".csv", BOOK + ".csv.gz"]):
        put(tmp_path, *books) if books else None
        assert find_pair(path, order_book="none").orderbook is None
        assert list(list_days(tmp_path, order_book="none")) == [path]
    packed = zipped(tmp_path / "half.zip", MESSAGE + ".csv")
    assert find_pair(packed, order_book="none").orderbook is None
    put(tmp_path, BOOK.replace("07-01", "07-02") + ".csv")
    packed.unlink()
    fault = error(lambda: list_days(tmp_path, order_book="none"))
    assert "message file" in fault.what and "07-02" in str(fault.where)
    assert "unknown value" in error(lambda: find_pair(path, order_book="maybe")).what


def test_a_missing_message_file_is_named(tmp_path):
    path = put(tmp_path, BOOK + ".csv")
    assert error(list_days, tmp_path).expected == tmp_path / (MESSAGE + ".csv")
    assert error(find_pair, path).expected == MESSAGE + ".csv"
    assert "exactly one day" in error(find_pair, zipped(tmp_path / "b.zip", BOOK + ".csv")).what


def test_a_zip_of_two_days_is_refused(tmp_path):
    path = zipped(tmp_path / "two.zip", MESSAGE + ".csv", MESSAGE.replace("07-01", "07-02") + ".csv")
    assert "exactly one day" in error(find_pair, path).what


def test_what_is_no_day_is_refused(tmp_path):
    assert "no such file" in error(find_pair, tmp_path / (MESSAGE + ".csv")).what
    assert "no such file" in error(list_days, tmp_path / "absent").what
    assert "not LOBSTER's" in error(find_pair, put(tmp_path, "prices.csv")).what
    assert "7z" in error(find_pair, put(tmp_path, "days.7z")).what
    assert "7z" in error(list_days, tmp_path).what


def test_an_empty_folder_is_refused(tmp_path):
    assert "no LOBSTER message file" in error(list_days, tmp_path).what


def test_damaged_archives_are_refused(tmp_path):
    whole = gzip.compress(b"34200.5,1,1,1,100,1\n" * 100)
    for name, content in (
        ("cut", whole[:-20]),
        ("garbled", b"no gzip"),
        ("flipped", whole[:40] + b"\0" + whole[41:]),
    ):
        path = tmp_path / name / (MESSAGE + ".csv.gz")
        path.parent.mkdir()
        path.write_bytes(content)
        put(path.parent, BOOK + ".csv.gz")
        what = "a .gz file that is not compressed" if name == "garbled" else "cannot be read or decompressed"
        assert what in error(text, find_pair(path).message).what
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 no zip")
    assert "cannot be read or decompressed" in error(find_pair, broken).what
    path = zipped(tmp_path / "flipped.zip", MESSAGE + ".csv", BOOK + ".csv")
    content = bytearray(path.read_bytes())
    content[30 + len(MESSAGE) + 4 + 5] ^= 0xFF
    path.write_bytes(content)
    assert "cannot be read or decompressed" in error(text, find_pair(path).message).what


def test_days_come_by_date_then_symbol(tmp_path):
    names = ["B_2024-07-01", "A_2024-07-02", "A_2024-07-01", "C_2024-06-30"]
    for name in names:
        put(tmp_path, *(f"{name}_34200000_57600000_{half}_2.csv" for half in ("message", "orderbook")))
    put(tmp_path, "ReadMe.txt", ".hidden_message_.csv", "days.7z")
    found = [path.name[:12] for path in list_days(tmp_path)]
    assert found == ["C_2024-06-30", "A_2024-07-01", "B_2024-07-01", "A_2024-07-02"]
    one = tmp_path / "A_2024-07-02_34200000_57600000_message_2.csv"
    assert list(list_days(one)) == [one]


def test_a_folder_with_a_garbled_name_is_refused(tmp_path):
    put(tmp_path, MESSAGE + ".csv", BOOK + ".csv", "XYZ_2024-07-02_message_2.csv")
    assert error(list_days, tmp_path).where == tmp_path / "XYZ_2024-07-02_message_2.csv"


@pytest.mark.parametrize(
    "second", [MESSAGE + ".csv.gz", MESSAGE[:-1] + "5.csv", "XYZ_2024-07-01_36000000_37000000_message_2.csv"]
)
def test_a_day_that_lies_there_twice_is_refused(tmp_path, second):
    put(tmp_path, MESSAGE + ".csv", BOOK + ".csv", second, second.replace("message", "orderbook"))
    fault = error(list_days, tmp_path)
    assert "twice" in fault.what
    assert second in str(fault.where) + str(fault.was)


def test_a_second_copy_of_a_book_is_refused(tmp_path):
    put(tmp_path, MESSAGE + ".csv", BOOK + ".csv", BOOK + ".csv.gz")
    assert "two copies of an order-book file" in error(list_days, tmp_path).what


def test_sessions_that_follow_each_other_are_two_days(tmp_path):
    for session in ("43200000_57600000", "34200000_43200000"):
        put(tmp_path, *(f"XYZ_2024-07-01_{session}_{half}_2.csv" for half in ("message", "orderbook")))
    assert [path.name[15:23] for path in list_days(tmp_path)] == ["34200000", "43200000"]
