import bz2
import gzip
import hashlib
import itertools
import lzma
import zipfile
import zlib

import pytest
from backports import zstd

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.source import Source, refuse_unreadable

TEXT = b"".join(b"%d,%d\n" % (i, i * i) for i in range(5000))


def write_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in members:
            archive.writestr(name, TEXT)


WRITERS = {
    "day.csv": lambda path: path.write_bytes(TEXT),
    "day.csv.gz": lambda path: path.write_bytes(gzip.compress(TEXT)),
    "day.csv.zst": lambda path: path.write_bytes(zstd.compress(TEXT)),
    "two_frames.csv.zst": lambda path: path.write_bytes(zstd.compress(TEXT[:999]) + zstd.compress(TEXT[999:])),
    "day.csv.zip": lambda path: write_zip(path, "anything.csv"),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("block_bytes", [100, 1 << 24])
def test_every_compression_gives_the_same_bytes_in_bounded_blocks(tmp_path, name, block_bytes):
    WRITERS[name](tmp_path / name)
    blocks = list(Source(tmp_path / name).blocks(Reading(block_bytes=block_bytes)))
    assert b"".join(blocks) == TEXT
    assert all(0 < len(block) <= block_bytes for block in blocks)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "day.csv"])
def test_a_file_that_stops_short_is_damaged_and_not_short(tmp_path, name):
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"cannot be read or decompressed[\s\S]*" + name):
        list(Source(tmp_path / name).blocks(Reading()))


def before_damage(path, block_bytes=1 << 20):
    """Return the bytes before the error, and the error."""
    blocks = []
    with pytest.raises(InputError) as caught:
        blocks.extend(Source(path).blocks(Reading(block_bytes=block_bytes)))  # keeps what came before the error
    assert all(blocks)
    return b"".join(blocks), caught.value


def byte_by_byte(data, new):
    """Return what a decompressor recovers from concatenated streams, fed byte by byte, until it fails."""
    out, decompressor = bytearray(), new()
    for byte in data:
        decompressor = new() if decompressor.eof else decompressor
        try:
            out += decompressor.decompress(bytes([byte]))
        except (zlib.error, zstd.ZstdError):
            break
    return bytes(out)


SMALL = TEXT[:3000]
STREAMS = {  # that follow each other in a file
    "day.csv.gz": [gzip.compress(SMALL[:1000]), gzip.compress(SMALL[1000:])],
    "day.csv.zst": [zstd.compress(SMALL[at : at + 500]) for at in range(0, 3000, 500)],
}
PACKED = {
    "day.csv.gz": (b"".join(STREAMS["day.csv.gz"]), lambda: zlib.decompressobj(31)),
    "day.csv.zst": (b"".join(STREAMS["day.csv.zst"]), zstd.ZstdDecompressor),
}


@pytest.mark.parametrize("name", PACKED)
def test_of_a_cut_file_every_byte_comes_that_can_be_decompressed(tmp_path, name):
    data, new = PACKED[name]
    ends = set(itertools.accumulate(map(len, STREAMS[name])))
    for cut in sorted({*range(30, len(data), 7), *(end - 1 for end in ends)} - ends):  # at an end nothing is missing
        (tmp_path / name).write_bytes(data[:cut])
        expected = byte_by_byte(data[:cut], new)
        got, error = before_damage(tmp_path / name)
        assert (got, "decompressed" in error.what) == (expected, True)
        assert SMALL.startswith(got)


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
def test_of_a_corrupted_file_every_byte_before_the_damage_comes(tmp_path, name, block_bytes):
    data, new = PACKED[name]
    for at in (len(data) // 2, len(data) * 4 // 5, len(data) - 3):
        corrupted = bytearray(data)
        corrupted[at : at + 2] = b"\xff\xff"
        (tmp_path / name).write_bytes(corrupted)
        got, error = before_damage(tmp_path / name, block_bytes)
        assert got == byte_by_byte(corrupted, new) and "decompressed" in error.what


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_wrong_check_sum_in_a_zip_is_told_behind_all_of_its_bytes(tmp_path, method):
    path = tmp_path / "day.csv.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("day.csv", TEXT)
    assert b"".join(Source(path).blocks(Reading(block_bytes=1000))) == TEXT
    directory = path.read_bytes().rindex(b"PK\1\2")
    path.write_bytes(path.read_bytes()[: directory + 16] + b"\0\0\0\0" + path.read_bytes()[directory + 20 :])
    got, error = before_damage(path)
    assert got == TEXT and "decompressed" in error.what and "checksum" in error.was


@pytest.mark.parametrize(
    ("name", "content", "what", "was"),
    [
        ("day.csv.gz", TEXT, "a .gz file that is not compressed", "plain text"),
        ("day.csv.gz", b"\0\1\2" * 9, "a .gz file that is not compressed", "other bytes"),
        ("day.csv.zst", gzip.compress(TEXT), "with the wrong suffix", ".gz data"),
        ("day.csv", gzip.compress(TEXT), "with the wrong suffix", ".gz data"),
        ("day.csv.zip", zstd.compress(TEXT), "with the wrong suffix", ".zst data"),
        ("day.csv.bz2", bz2.compress(TEXT), "an unsupported compression", ".bz2 data"),
        ("day.csv.xz", lzma.compress(TEXT), "an unsupported compression", ".xz data"),
        ("day.csv.7z", b"7z\xbc\xaf\x27\x1c\0\4", "an unsupported compression", ".7z data"),
    ],
)
def test_a_file_that_is_not_what_its_suffix_says_is_named_as_what_it_is(tmp_path, name, content, what, was):
    (tmp_path / name).write_bytes(content)
    got, error = before_damage(tmp_path / name)
    assert got == b"" and what in error.what and error.was.startswith(was) and error.remedy


def test_a_zip_that_cannot_be_unpacked_is_named_so(tmp_path):
    path = tmp_path / "day.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("day.csv", TEXT)
    assert "compression method 14" in before_damage(path)[1].was
    write_zip(path, "day.csv")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert before_damage(path)[1].was == "encrypted"


def test_the_first_bytes_are_those_before_a_damage_if_there_are_any(tmp_path):
    path = tmp_path / "day.csv.gz"
    path.write_bytes(PACKED["day.csv.gz"][0])
    assert Source(path).first_bytes(1500) == SMALL[:1500]
    assert Source(path).first_bytes(1 << 20) == SMALL
    path.write_bytes(path.read_bytes()[:200])
    assert SMALL.startswith(Source(path).first_bytes(2000)) and len(Source(path).first_bytes(2000)) > 100
    path.write_bytes(path.read_bytes()[:11])
    with pytest.raises(InputError, match="decompressed"):
        Source(path).first_bytes(2000)


@pytest.mark.parametrize("name", ["day.csv", "day.csv.gz", "day.csv.zst", "day.csv.zip"])
def test_a_file_of_no_bytes_is_empty_and_not_damaged(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert list(Source(tmp_path / name).blocks(Reading())) == [] and Source(tmp_path / name).first_bytes(9) == b""
    with pytest.raises(InputError, match="an empty file"):
        refuse_unreadable([tmp_path / name], expected="rows")
    (tmp_path / "other.csv").write_bytes(b"1")
    refuse_unreadable([tmp_path / name, tmp_path / "other.csv"], expected="rows")
    refuse_unreadable([], expected="rows")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(SMALL)[:200])
    with pytest.raises(InputError, match="decompressed"):
        refuse_unreadable([tmp_path / "other.csv", tmp_path / "cut.gz"], expected="rows")


def test_a_member_is_named_where_a_zip_holds_several(tmp_path):
    write_zip(tmp_path / "days.zip", "a/one.csv", "two.csv")
    with pytest.raises(InputError, match="exactly one file"):
        list(Source(tmp_path / "days.zip").blocks(Reading()))
    source = Source(tmp_path / "days.zip", "a/one.csv")
    assert b"".join(source.blocks(Reading())) == TEXT
    assert source.name == "one.csv" and str(source).endswith("days.zip!a/one.csv")


def test_the_name_is_that_of_the_data_and_the_hash_that_of_the_file(tmp_path):
    for name in WRITERS:
        WRITERS[name](tmp_path / name)
        assert Source(tmp_path / name).name == name.removesuffix(".gz").removesuffix(".zst").removesuffix(".zip")
        assert Source(tmp_path / name).sha256() == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_progress_counts_the_bytes_on_disk_to_their_end(tmp_path):
    WRITERS["day.csv.gz"](tmp_path / "day.csv.gz")
    seen = []
    list(
        Source(tmp_path / "day.csv.gz").blocks(Reading(on_bytes=lambda *counts: seen.append(counts), block_bytes=4096))
    )
    size = (tmp_path / "day.csv.gz").stat().st_size
    assert seen[-1] == (size, size) and seen == sorted(seen) and len(seen) > 3


def test_a_file_that_is_not_there_is_named(tmp_path):
    for read in (Source.sha256, lambda source: list(source.blocks(Reading()))):
        with pytest.raises(InputError, match=r"nowhere\.csv"):
            read(Source(tmp_path / "nowhere.csv"))
