import gzip
import hashlib
import zipfile

import pytest
from backports import zstd

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.source import Source

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
