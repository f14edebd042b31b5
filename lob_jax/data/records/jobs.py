"""Group days into jobs for worker processes, run the jobs, and find those that are complete already."""

import concurrent.futures
import dataclasses
import itertools
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from lob_jax.book.day import MarketDay
from lob_jax.data.records.records import RecordPlan
from lob_jax.data.records.shards import Account, Place, account_path, write_day
from lob_jax.data.records.split import number_days
from lob_jax.errors import InputError
from lob_jax.feeds.feed import DaySource, Feed, OnePassFeed, Reading
from lob_jax.signals import spared
from lob_jax.tokens.tokenizer import Tokenizer

OnAccount = Callable[[Account], None]


@dataclasses.dataclass(frozen=True)
class Job:
    """Days that one process reads together: all days of a file that is read in one pass, or else a single day.

    Attributes:
      feed: the feed of the days; must be picklable.
      reading: the reading options; `store` is ignored.
      places: the days.
    """

    feed: Feed
    reading: Reading
    places: tuple[Place, ...]

    def read(self, store: pathlib.Path) -> Iterator[tuple[Place, MarketDay]]:
        """Yield the days, with events memory-mapped from files in the folder `store`.

        Raises:
          InputError: a file is not valid in its format, or does not contain a listed day.
        """
        reading = dataclasses.replace(self.reading, store=store)
        if len(self.places) > 1 and isinstance(self.feed, OnePassFeed):
            days = self.feed.read_all(self.places[0].source.file, reading)
        else:
            days = [self.feed.read(place.source, reading) for place in self.places]
        found = {(day.instrument.symbol, day.instrument.trading_day): day for day in days}
        for place in self.places:
            wanted = (place.source.symbol, place.source.trading_day)
            if wanted not in found:
                raise InputError(
                    "a file does not contain a listed day",
                    where=place.source.path,
                    expected=" ".join(wanted),
                    was=[" ".join(day) for day in found],
                    remedy="check that the name of the file matches its content",
                )
            yield place, found[wanted]


def lay_out(days: Sequence[DaySource]) -> list[Place]:
    """Return the places of days, which must be sorted from the oldest.

    Raises:
      InputError: there are no days, they are out of order, or a day of an instrument occurs twice.
    """
    if not days:
        raise InputError(
            "there are no days to prepare",
            where="config.data",
            expected="at least one day",
            was=0,
            remedy="name a file of the feed, or a folder with such files",
        )
    numbers, count = number_days([(day.trading_day, day.symbol) for day in days])
    return [Place(index, day, number, count) for index, (day, number) in enumerate(zip(days, numbers, strict=True))]


def make_jobs(feed: Feed, places: Sequence[Place], reading: Reading) -> list[Job]:
    """Group days into jobs; all instruments of a file are read in one pass if the feed supports that."""
    if not isinstance(feed, OnePassFeed):
        return [Job(feed, reading, (place,)) for place in places]
    files: dict[pathlib.Path | None, list[Place]] = {}
    for place in places:
        files.setdefault(place.source.path, []).append(place)
    return [Job(feed, reading, tuple(together)) for together in files.values()]


def finished(folder: pathlib.Path, places: Sequence[Place]) -> dict[int, Account]:
    """Return the accounts of completed days by index, and remove all other files from the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    accounts = {}
    for place in places:
        if account_path(folder, place).exists():
            accounts[place.index] = json.loads(account_path(folder, place).read_bytes())
    names = [shard["file"] for account in accounts.values() for part in account["shards"].values() for shard in part]
    kept = {*names, *(account_path(folder, place).name for place in places)}
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in kept:
            path.unlink()
    return accounts


def write_days(
    jobs: Sequence[Job],
    *,
    folder: pathlib.Path,
    tokenizer: Tokenizer,
    plan: RecordPlan,
    processes: int | None,
    on_account: OnAccount,
) -> None:
    """Write the shards and accounts of all days to a folder.

    Args:
      jobs: the jobs.
      folder: where to write the files.
      tokenizer: encodes the events.
      plan: how days are divided into records.
      processes: number of worker processes; None for one per core. With one process or one job, this process does the
        work. Otherwise a program needs the guard `if __name__ == "__main__"`, since workers import its main module.
      on_account: called in this process with the account of each completed day; an exception from it ends the work.

    Raises:
      InputError: a day cannot be read, divided or tokenized. Completed days are kept.
    """
    workers = min(processes or len(os.sched_getaffinity(0)), len(jobs))
    if workers > 1:
        _write_at_once(jobs, workers, folder, tokenizer, plan, on_account)
        return
    for job in jobs:
        for account in _write_job(job, folder, tokenizer, plan):
            on_account(account)


def _write_job(job: Job, folder: pathlib.Path, tokenizer: Tokenizer, plan: RecordPlan) -> Iterator[Account]:
    """Write the days of a job and yield their accounts; the events are stored in a temporary folder meanwhile."""
    store = folder / f"{job.places[0].index:05}.{os.getpid()}.events"
    try:
        for place, day in job.read(store):
            yield write_day(place, day, folder=folder, tokenizer=tokenizer, plan=plan)
    finally:
        shutil.rmtree(store, ignore_errors=True)


def _write_whole_job(job: Job, folder: pathlib.Path, tokenizer: Tokenizer, plan: RecordPlan) -> list[Account]:
    """Do a job in a worker process; a generator could not be sent back."""
    return list(_write_job(job, folder, tokenizer, plan))


def _write_at_once(
    jobs: Sequence[Job],
    workers: int,
    folder: pathlib.Path,
    tokenizer: Tokenizer,
    plan: RecordPlan,
    on_account: OnAccount,
) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would copy locks held by JAX's threads, but not the threads
    watched, alive = context.Pipe(duplex=False)
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _begin_worker, (watched,))
    try:
        remote = [dataclasses.replace(job, reading=dataclasses.replace(job.reading, on_bytes=None)) for job in jobs]
        with spared(signal.SIGINT):
            done = [pool.submit(_write_whole_job, job, folder, tokenizer, plan) for job in remote]
        for account in itertools.chain.from_iterable(f.result() for f in concurrent.futures.as_completed(done)):
            on_account(account)
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process ended before its day was complete",
            where="config.data.processes",
            expected=f"{workers} processes that finish their work",
            was=error,
            remedy="run the same command again, with fewer processes if memory ran out; completed days are kept",
        ) from error
    except BaseException:
        alive.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        alive.close()
        watched.close()


def _begin_worker(watched: Connection) -> None:
    """Make a worker process end with its parent, however that ends, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        watched.poll(None)  # nothing is ever sent, so this returns when the parent closes its end or dies
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
