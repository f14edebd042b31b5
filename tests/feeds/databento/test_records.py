"""Records of DBN files: the fast reader against Databento's own decoder, and invalid records."""

import databento_dbn
import numpy as np
import pytest
from backports import zstd

from lob_jax.errors import InputError
from lob_jax.feeds.databento.records import RECORD, Records
from lob_jax.feeds.feed import STRICT, Reading
from lob_jax.feeds.reading.source import Source, damaged
from tests.feeds.sample_databento import RECORD as LAYOUT
from tests.feeds.sample_databento import ROWS, STATUS, SYSTEM, beside, metadata, record, timed

UNSIGNED = ("order_id", "ts_event", "ts_recv")
SKIP = Reading(on_error="skip")


def opened(tmp_path, content, reading=STRICT):
    path = tmp_path / "x.dbn"
    path.write_bytes(content)
    return Records(Source(path), reading)


def all_of(records):
    parts = list(records)
    return [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.empty(0, RECORD), []]


def decoded(data):
    """Return the MBO records, field by field, from Databento's decoder."""
    decoder = databento_dbn.DBNDecoder()
    decoder.write(data)
    messages = [message for message in decoder.decode() if isinstance(message, databento_dbn.MBOMsg)]
    fields = {
        name: [int(getattr(message, name)) for message in messages]
        for name in RECORD.names[2:]
        if name not in ("action", "side")
    }
    for name in ("action", "side"):
        fields[name] = [ord(str(getattr(message, name))) for message in messages]
    return fields


def assert_equal_fields(records, fields):
    assert len(records) == len(fields["size"])
    for name, expected in fields.items():
        own = records[name].view("<u8") if name in UNSIGNED else records[name]
        assert own.tolist() == expected, name


@pytest.mark.parametrize("day", ["20231224", "20231225"])
def test_every_field_of_a_real_day_is_that_of_databentos_decoder(market_data, day):
    path = market_data(f"databento/esh4-glbx-mdp3-{day}.mbo.dbn.zst")
    records, numbers = all_of(Records(Source(path), Reading(block_bytes=100_003)))
    np.testing.assert_array_equal(numbers, np.arange(len(records)))
    assert_equal_fields(records, decoded(zstd.decompress(path.read_bytes())))


def test_the_layout_is_that_of_databentos_encoder():
    message = databento_dbn.MBOMsg(
        3, 7, 5, 2**64 - 2, -(10**9), 3, databento_dbn.Action.ADD, databento_dbn.Side.BID, 6, 130, 9, -11, 4
    )
    (own,) = np.frombuffer(bytes(message), RECORD)
    values = (14, 160, 3, 7, 5, -2, -(10**9), 3, 130, 9, ord("A"), ord("B"), 6, -11, 4)
    assert own.tolist() == values and RECORD.itemsize == LAYOUT.size == len(bytes(message)) == 56


@pytest.mark.parametrize("block_bytes", [1, 57, 1 << 20])
def test_records_of_other_kinds_are_walked_over_and_counted(tmp_path, block_bytes):
    content = metadata() + timed([SYSTEM, *ROWS, STATUS, ROWS[0]])
    records = opened(tmp_path, content, Reading(block_bytes=block_bytes))
    rows, numbers = all_of(records)
    assert records.beside == {"system": 2, "status": 2} and records.read == len(ROWS) + 3
    assert_equal_fields(rows, decoded(content.replace(beside(SYSTEM), b"").replace(beside(STATUS), b"")))
    assert numbers[0] == 1 and numbers[-1] == records.read - 1


def test_times_of_sending_make_records_longer(tmp_path):
    plain = record("A", "B", "1", 2, 3)
    longer = [bytes([16]) + record("A", "B", "1", 2, k)[1:] + bytes(8) for k in (3, 4)]
    rows, _ = all_of(opened(tmp_path, metadata(ts_out=True) + b"".join(longer)))
    assert rows["order_id"].tolist() == [3, 4]
    for content in (metadata(ts_out=True) + plain, metadata() + longer[0]):
        with pytest.raises(InputError, match="another length"):
            all_of(opened(tmp_path, content))


@pytest.mark.parametrize(
    ("bad", "what", "kept", "read"),
    [
        (record("A", "B", "1", 2, 3)[:30], "a truncated record", 1, 2),
        (b"\x0e", "a truncated record", 1, 2),
        (b"\x00" * 56, "a record shorter than its header", 1, 2),
        (record("A", "B", "1", 2, 3, rtype=161) + record("A", "B", "1", 2, 4), "does not belong in an MBO file", 2, 3),
        (record("A", "B", "1", 2, 3, rtype=1) + record("A", "B", "1", 2, 4), "does not belong in an MBO file", 2, 3),
        (record("A", "B", "1", 2, 3, instrument=8) + record("A", "B", "1", 2, 4), "metadata do not list", 2, 3),
        (record("A", "B", "1", 2, 3, length=15) + bytes(4), "an MBO record of another length", 1, 2),
    ],
)
def test_what_is_no_record_is_refused_or_counted(tmp_path, bad, what, kept, read):
    content = metadata() + record("A", "B", "1", 2, 1) + bad
    with pytest.raises(InputError, match=what) as error:
        all_of(opened(tmp_path, content))
    assert "record 1" in error.value.where
    records = opened(tmp_path, content, SKIP)
    rows, _ = all_of(records)
    assert len(rows) == kept and records.read == read and records.faults.dropped.total() == 1


@pytest.mark.parametrize("cut", [0, 1, 30, 56, 1000])
def test_what_lies_before_damage_is_read_and_damage_is_one_fault(tmp_path, monkeypatch, cut):
    """A source yields what it can decompress, then raises: the truncated record is not a second fault."""
    content = metadata() + b"".join(record("A", "B", "1", 2, k) for k in range(100))

    def blocks(source, reading):
        yield from (part for part in (content[: len(metadata())], content[len(metadata()) : -cut or None]) if part)
        raise damaged(source, EOFError("cut short"))

    monkeypatch.setattr(Source, "blocks", blocks)
    with pytest.raises(InputError, match="decompressed"):
        all_of(Records(Source(tmp_path / "x.dbn.zst"), STRICT))
    records = Records(Source(tmp_path / "x.dbn.zst"), SKIP)
    rows, _ = all_of(records)
    assert len(rows) == 100 - -(-cut // 56) and records.read == len(rows) + 1
    assert records.faults.dropped == {"a file that cannot be read or decompressed": 1}


def test_damage_part_way_keeps_what_came_before(tmp_path):
    path = tmp_path / "x.dbn.zst"
    rng = np.random.default_rng(1)
    content = metadata() + b"".join(record("A", "B", "1", 2, int(k)) for k in rng.integers(0, 2**62, 9000))
    path.write_bytes(zstd.compress(content)[:-20_000])
    with pytest.raises(InputError, match="decompressed"):
        all_of(Records(Source(path), Reading(block_bytes=1000)))
    records = Records(Source(path), Reading(on_error="skip", block_bytes=1000))
    rows, _ = all_of(records)
    assert 0 < len(rows) < 9000 and records.faults.dropped["a file that cannot be read or decompressed"] == 1
