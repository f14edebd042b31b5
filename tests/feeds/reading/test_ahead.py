import gc
import hashlib
import threading

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading import ahead as module
from lob_jax.feeds.reading.ahead import ahead, hashing
from lob_jax.feeds.reading.csv_rows import Column, CsvRows
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.source import Source

COLUMNS = [Column("a", "int"), Column("b", "int")]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("lob_jax")]


@pytest.fixture(autouse=True, params=[True, False], ids=["two cores", "one core"])
def cores(request, monkeypatch):
    monkeypatch.setattr(module, "has_cores", lambda: request.param)
    yield request.param
    assert not threads()


def counted(count, log, error=None):
    """Yield 0..count-1 and then raise, if there is an error; `log` notes what has been made, and the end."""
    try:
        for k in range(count):
            log.append(k)
            yield k
        if error is not None:
            raise error
    finally:
        log.append("closed")


@pytest.mark.parametrize("most", [1, 2, 100])
def test_items_come_in_order_at_most_a_few_ahead(cores, most):
    log, seen = [], []
    for item in ahead(counted(50, log), most=most):
        seen.append(item)
        assert len(log) <= item + 1 + (most if cores else 0) + (item + most >= 49)
        assert len(threads()) <= cores
    assert seen == list(range(50)) and log == [*range(50), "closed"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), MemoryError()])
def test_an_error_comes_after_the_items_before_it(error):
    log, seen = [], []
    with pytest.raises(type(error)) as caught:
        seen.extend(item for item in ahead(counted(7, log, error)))
    assert caught.value is error
    seen.clear()
    items = ahead(counted(7, [], error))
    assert [next(items) for _ in range(7)] == list(range(7))
    with pytest.raises(type(error)):
        next(items)
    assert log[-1] == "closed" and not threads()


def test_a_consumer_that_stops_ends_the_thread():
    log = []
    items = ahead(counted(10**9, log), most=1)
    assert next(items) == 0 and next(items) == 1
    items.close()
    assert log[-1] == "closed" and len(log) < 6 and not threads()
    for item in ahead(counted(10**9, log)):
        if item == 3:
            break
    gc.collect()
    assert log[-1] == "closed" and not threads()


def test_a_consumer_that_fails_ends_the_thread():
    log = []
    with pytest.raises(KeyboardInterrupt):
        for item in ahead(counted(10**9, log)):
            if item == 3:
                raise KeyboardInterrupt
    gc.collect()
    assert log[-1] == "closed" and not threads()


def test_the_thread_is_another_one(cores):
    def where():
        yield threading.current_thread()

    assert (next(ahead(where())) is threading.current_thread()) == (not cores)


def file_of(folder, lines):
    (folder / "f.csv").write_text("".join(f"{line}\n" for line in lines))
    return Source(folder / "f.csv")


def rows_of(source, **reading):
    how = Reading(block_bytes=50, **reading)
    return CsvRows(source, COLUMNS, header=("a", "b"), reading=how, faults=Faults(how, source.name))


def test_rows_and_what_is_known_of_them_do_not_run_ahead(tmp_path):
    rows = rows_of(file_of(tmp_path, ["a,b", *(f"{k},{k * k}" for k in range(200)), "x,1", "7,7"]), on_error="skip")
    read = 0
    for block in rows:
        read += len(block.line)
        assert rows.rows_read - read == len(rows.refused) and (not rows.refused or read >= 200)
    assert (read, rows.rows_read, list(rows.refused)) == (201, 202, [202])


def test_a_bad_line_is_told_when_the_lines_before_it_have_been_taken(tmp_path):
    rows = iter(rows_of(file_of(tmp_path, ["a,b", *(f"{k},{k}" for k in range(100)), "x,1", *["1,1"] * 100])))
    taken = 0
    with pytest.raises(InputError, match="line 102, column 1"):
        for block in rows:
            taken += block.values.shape[1]
            np.testing.assert_array_equal(block.values[0], block.line - 2)
    assert 80 < taken <= 100


def test_progress_is_told_by_the_consumers_thread(tmp_path):
    told, source = [], file_of(tmp_path, ["a,b", *["1,1"] * 100])
    for _ in rows_of(source, on_bytes=lambda read, size: told.append((read, size, threading.current_thread()))):
        assert told
    assert {thread for *_, thread in told} == {threading.current_thread()}
    assert [read for read, *_ in told] == sorted(read for read, *_ in told) and told[-1][:2] == (404, 404)


def test_files_are_hashed_beside_the_work(tmp_path):
    source = file_of(tmp_path, ["1,1"] * 10**6)
    with hashing([source]) as hashes:
        pass
    with hashing([source]) as hashes:
        assert hashes() == {"f.csv": hashlib.sha256(source.path.read_bytes()).hexdigest()}
    with hashing([Source(tmp_path / "none")]) as hashes, pytest.raises(InputError, match="cannot be read"):
        hashes()


def test_work_that_fails_does_not_wait_for_hashes(tmp_path, cores, monkeypatch):
    seen, begun = [], threading.Event()

    def sha256(self, stopped):
        begun.set()
        seen.append(stopped.wait(60))

    monkeypatch.setattr(Source, "sha256", sha256)
    with pytest.raises(KeyboardInterrupt), hashing([file_of(tmp_path, ["1"])]):
        assert not cores or begun.wait(60)
        raise KeyboardInterrupt
    assert seen == [True] * cores


def test_a_hash_that_is_stopped_ends_early(tmp_path):
    source, stopped = file_of(tmp_path, ["1,1"] * 10**6), threading.Event()
    whole = source.sha256(stopped)
    stopped.set()
    assert whole == source.sha256() != source.sha256(stopped)
