"""Days prepared by several processes have the same bytes as by one, whatever happens to the processes."""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from lob_jax.data.records.builder import open_records, prepare_records
from lob_jax.data.records.jobs import lay_out, make_jobs
from lob_jax.data.records.records import RecordPlan
from lob_jax.errors import InputError
from lob_jax.feeds.feed import STRICT, DaySource
from lob_jax.feeds.itch.feed import ItchFeed
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.lock import locked
from lob_jax.tokens.exact import ExactTokenizer
from tests.feeds import sample_itch, sample_lobster

ROOT = pathlib.Path(__file__).resolve().parents[3]
PLAN = RecordPlan(
    record_events=200, context=32, book_levels=2, train_fraction=0.6, validation_fraction=0.2, embargo_events=20
)
PROGRAM = """
import pathlib, sys
from lob_jax.data.records.builder import prepare_records
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens.exact import ExactTokenizer
from tests.data.records.test_jobs import PLAN
if __name__ == "__main__":
    feed = SyntheticFeed(6, int(sys.argv[3]), 0)
    prepare_records(feed, feed.days(), folder=pathlib.Path(sys.argv[1]), tokenizer=ExactTokenizer(), plan=PLAN,
                    inputs={}, processes=int(sys.argv[2]))
"""


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def prepared(folder, feed, days, **settings):
    return prepare_records(feed, days, folder=folder, tokenizer=ExactTokenizer(), plan=PLAN, inputs={}, **settings)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path):
    feed, told = SyntheticFeed(4, 900, 0), []
    one = prepared(tmp_path / "one", feed, feed.days(), processes=1)
    two = prepared(
        tmp_path / "two", feed, feed.days(), processes=2, on_day=lambda name, part: told.append((name, part))
    )
    assert one == two and contents(tmp_path / "one") == contents(tmp_path / "two")
    assert sorted(name for name, _ in told) == [f"SYN {day.trading_day}" for day in feed.days()]
    assert sum(part["tokens"] for _, part in told) == sum(split["tokens"] for split in two["splits"].values())
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_an_error_of_a_worker_comes_whole_and_good_days_stay(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    message = sample_lobster.write(raw)
    for file in list(raw.iterdir()):
        for day in ("2031-01-02", "2031-01-03"):
            name = "_".join([file.name.split("_")[0], day, *file.name.split("_")[2:]])
            (raw / name).write_bytes(file.read_bytes())
    last = sorted(path for path in raw.iterdir() if "2031-01-03" in path.name and "message" in path.name)[0]
    last.write_bytes(last.read_bytes() + b"34999.5,1,x,1,1,1\n")
    feed = LobsterFeed()
    with pytest.raises(InputError, match=r"not a whole number[\s\S]*2031-01-03"):
        prepared(tmp_path / "records", feed, feed.days(message.parent), processes=2)
    assert not (tmp_path / "records").exists()
    done = {path.name for path in (tmp_path / "records.partial" / "days").glob("*.json")}
    assert done and done <= {"00000.json", "00001.json"}  # a worker became free for the bad day after one of them


def test_a_file_of_several_instruments_is_one_job(tmp_path):
    path = sample_itch.write(tmp_path)
    feed = ItchFeed(trading_day=sample_itch.FEED.trading_day)
    days = [DaySource(path, symbol, "2024-01-02") for symbol in ("AAA", "BBB")]
    (job,) = make_jobs(feed, lay_out(days), STRICT)
    assert [place.source.symbol for place in job.places] == ["AAA", "BBB"]
    assert len(make_jobs(LobsterFeed(), lay_out(days), STRICT)) == 2


@pytest.mark.slow
def test_only_one_process_prepares_a_folder(tmp_path):
    feed = SyntheticFeed(1, 600, 0)
    with locked(tmp_path / "records.lock"), pytest.raises(InputError, match="another process is at work"):
        prepared(tmp_path / "records", feed, feed.days())
    prepared(tmp_path / "records", feed, feed.days())
    assert not (tmp_path / "records.lock").exists()


def program(folder, processes, events):
    arguments = [sys.executable, "-c", PROGRAM, str(folder), str(processes), str(events)]
    return subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, processes):
    """kill -9 after the first, then after the third completed day; workers end with their parent."""
    events = 30_000
    assert program(tmp_path / "undisturbed", processes, events).wait() == 0
    folder, accounts = tmp_path / "records", tmp_path / "records.partial" / "days"
    for done in (1, 3):
        run = program(folder, processes, events)
        while len(list(accounts.glob("*.json"))) < done:
            assert run.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not folder.exists()
    assert program(folder, processes, events).wait() == 0
    assert contents(folder) == contents(tmp_path / "undisturbed")
    assert len(open_records(folder, "train")) > 0
