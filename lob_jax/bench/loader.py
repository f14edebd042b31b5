"""Measure how fast training windows are read: windows a second with 0, 1 and 2 processes, and the CPU of each stage.

`python -m lob_jax.bench.loader --lobster MESSAGE_FILE` prepares the records of a LOBSTER day, whose order-book file is
found next to the message file, in a temporary folder; without a file, of a simulated day. Each case is a configuration
with windows of `--context` tokens, with the records in memory, as of a small data set, or read again for each window,
as of one much larger than the memory for it. Stages are microseconds of CPU a window (order: which windows a batch has;
read and prepare: a record from the disk; cut: the arrays of a batch; place: join the batches of a step and put them on
a device), measured without other processes.

The rate on more cores is extrapolated from the CPU of each part, all per window and measured with two processes: that
of the processes that read; here, that of the main thread (receive and place), of Grain's threads, which hold the
interpreter's lock while they unpickle and wait for shared memory to be given back, of the up to T threads that unpack
without that lock, and of threads that are not Python's. There are two figures. Both assume that the main thread and
Grain's run one at a time, and that neither memory, the disk nor the device's own copy is waited for.

* At once: processes read ahead while others wait, so that the slowest part decides: the serial one, the threads that
  unpack, or all cores together.
* One after the other: nobody reads ahead, the worst. 1 / (serial + unpack / T + others / (cores - 1)), Amdahl's law.
"""

import argparse
import dataclasses
import functools
import importlib
import json
import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grain
import jax
import ml_collections
import numpy as np
import psutil

from lob_jax.bench.processes import alone
from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.config import sections
from lob_jax.data.records.builder import open_records
from lob_jax.data.windows.augment.mirror import MirroredWindows
from lob_jax.data.windows.dataset import CACHE_BYTES, TokenBookDataset, Window
from lob_jax.data.windows.order import Order
from lob_jax.data.windows.pipeline import MOST_THREADS, UNPACKING, batches
from lob_jax.models.inputs import fields_read
from lob_jax.runs.beside import beside_of, read_in_training
from lob_jax.runs.records import prepare
from lob_jax.training.step.shift import join, split

CASES: dict[str, dict[str, Any]] = {
    "base": {},
    "base, mask=book": {"model.mask": "book"},
    "tiny": {},
    "lobster_day": {},
    "modern": {},
}
PROCESSES = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Case:
    """What is read, and how.

    Attributes:
      name: a key of CASES, which begins with the name of a configuration.
      path: a LOBSTER message file; None for a simulated day.
      folder: the folder of the run, with its records.
      events: events of a simulated day.
      context: tokens of a window but the first.
      batch_size: windows a batch.
      in_memory: whether records stay in memory.
      seconds: how long each rate is measured.
    """

    name: str
    path: pathlib.Path | None
    folder: pathlib.Path
    events: int
    context: int
    batch_size: int
    in_memory: bool
    seconds: float

    def config(self) -> ml_collections.ConfigDict:
        """Return the configuration."""
        config = importlib.import_module(f"lob_jax.configs.{self.name.partition(',')[0]}").get_config()
        config.update_from_flattened_dict({"data.synthetic_days": 1, "data.embargo_events": 520, **CASES[self.name]})
        config.model.max_seq_length, config.data.synthetic_events = self.context, self.events
        if self.path is not None:
            config.data.feed, config.data.path = "lobster", str(self.path)
        return config

    def windows(self) -> TokenBookDataset | MirroredWindows:
        """Return the windows that training reads."""
        config = self.config()
        windows = TokenBookDataset(
            open_records(self.folder / "records", "train"),
            context=self.context,
            time_buckets=config.model.time_buckets,
            evaluation=False,
            beside=read_in_training(beside_of(config, self.folder), config),
            cache_bytes=CACHE_BYTES if self.in_memory else 0,
        )
        return MirroredWindows(windows) if config.data.mirror else windows

    def read(self, processes: int) -> grain.DatasetIterator:
        """Return an iterator over batches, read by so many processes."""
        how: dict[str, Any] = {"seed": 0, "epochs": None, "shuffle": True, "workers": processes}
        return iter(batches(self.windows(), batch_size=self.batch_size, **how))

    def place(self) -> Callable[[Window], None]:
        """Return a function that puts a batch on a device, as a step of training, and waits for that."""
        fields = fields_read(sections.model_config(self.config()))
        return lambda batch: jax.block_until_ready(jax.device_put(split(join([batch], fields), self.batch_size)))


def cpu_us(call: Callable[[], Any], repeat: int) -> float:
    """Return the median microseconds of this process's CPU that a call takes, after one that is not counted."""
    taken = []
    for _ in range(repeat + 1):
        begin = time.process_time()
        call()
        taken.append(time.process_time() - begin)
    return 1e6 * statistics.median(taken[1:])


def stages(case: Case) -> dict[str, float]:
    """Return the microseconds of CPU a window of each stage, without other processes."""
    windows, size = case.windows(), case.batch_size
    plain = windows.windows if isinstance(windows, MirroredWindows) else windows
    assert isinstance(plain, TokenBookDataset)
    order, places = Order(0, len(windows), len(windows), shuffled=True), iter(range(10**9))
    numbers = iter(order.at(np.arange(10**5)).tolist())
    found = {"order": cpu_us(lambda: order.at(next(places) * size + np.arange(size)), 50) / size}
    if not case.in_memory:
        record_of = [span.record for span in plain.spans]
        found["read"] = cpu_us(lambda: plain.source[record_of[next(numbers) % len(record_of)]], 50)
        record = plain.source[0]
        found["prepare"] = cpu_us(functools.partial(plain.prepare, record), 50)
    reading = case.read(0)
    whole = cpu_us(functools.partial(next, reading), max(2 * len(windows) // size, 50)) / size
    found["cut"] = whole - sum(found.values())
    batch = next(reading)
    return {**found, "place": cpu_us(functools.partial(case.place(), batch), 20) / size}


def rate(case: Case, processes: int) -> dict[str, float]:
    """Return windows a second with so many processes, and the CPU a window of each part of the work, microseconds."""
    reading, others, place = case.read(processes), psutil.Process().children, case.place()
    passes = 2 if case.in_memory else 0  # until every process has every record in memory
    for _ in range(passes * max(processes, 1) * len(case.windows()) // case.batch_size + 4 * max(processes, 1)):
        batch = next(reading)
    place(batch)
    count, placing, theirs, threads = 0, 0.0, _cpu_s(others()), thread_s()
    begin, main = time.perf_counter(), time.thread_time()
    while time.perf_counter() - begin < case.seconds:
        batch = next(reading)
        placed = time.thread_time()
        place(batch)
        placing += time.thread_time() - placed
        count += case.batch_size
    taken, main = time.perf_counter() - begin, time.thread_time() - main
    theirs, threads = _cpu_s(others()) - theirs, {name: used - threads[name] for name, used in thread_s().items()}
    reading.close()
    return {
        "windows_per_s": count / taken,
        "place_us": 1e6 * placing / count,
        "receive_us": 1e6 * (main - placing) / count,
        **{f"{name}_us": 1e6 * used / count for name, used in threads.items()},
        "others_us": 1e6 * theirs / count,
    }


def thread_s() -> dict[str, float]:
    """Return the CPU seconds of this process's threads but the main one: of those that unpack, Grain's and others."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    used = dict.fromkeys(("unpack", "grain", "native"), 0.0)
    for thread in psutil.Process().threads():
        name = names.get(thread.id, "")
        kind = "unpack" if name.startswith(UNPACKING) else "grain" if name else "native"
        if thread.id != threading.main_thread().native_id:
            used[kind] += thread.user_time + thread.system_time
    return used


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


def at_once(serial_us: float, unpack_us: float, others_us: float, cores: int) -> float:
    """Return windows a second on so many cores if all parts of the work go on at once, see the module."""
    threads = min(MOST_THREADS, cores)
    return 1e6 / max(serial_us, unpack_us / threads, (serial_us + unpack_us + others_us) / cores)


def one_after_the_other(serial_us: float, unpack_us: float, others_us: float, cores: int) -> float:
    """Return windows a second on so many cores if each part of the work waits for the one before, see the module."""
    return 1e6 / (serial_us + unpack_us / min(MOST_THREADS, cores) + others_us / (cores - 1))


def measure(case: Case, cores: int) -> dict[str, Any]:
    """Measure a case, each rate in a process of its own."""
    found = {"stages_us": alone(stages, case)}
    rates = {str(processes): alone(rate, case, processes) for processes in PROCESSES}
    two = rates[str(PROCESSES[-1])]
    serial_us = two["receive_us"] + two["place_us"] + two["grain_us"]
    parts = serial_us, two["unpack_us"], two["others_us"] + two["native_us"], cores
    nbytes = sum(array.nbytes for array in next(case.read(0)).values()) / case.batch_size
    return {
        **found,
        "bytes_per_window": nbytes,
        "rates": rates,
        "serial_us": serial_us,
        "at_once_per_s": at_once(*parts),
        "one_after_the_other_per_s": one_after_the_other(*parts),
    }


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure every requested case."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.cases:
            case = Case(
                name=name,
                path=chosen.lobster,
                folder=pathlib.Path(folder) / name.partition(",")[0],
                events=chosen.events,
                context=chosen.context,
                batch_size=chosen.batch_size,
                in_memory=True,
                seconds=chosen.seconds,
            )
            prepare(case.config(), case.folder)
            for in_memory in (True, False):
                told = f"{name}, records {'in memory' if in_memory else 'from the disk'}"
                found[told] = measure(dataclasses.replace(case, in_memory=in_memory), chosen.cores)
    return found


def table(results: dict[str, Any], cores: int) -> list[str]:
    """Return the results as lines of text."""
    lines = []
    for name, case in results.items():
        rates = ", ".join(f"{one['windows_per_s']:,.0f} with {count}" for count, one in case["rates"].items())
        parts = ", ".join(f"{stage} {taken:.1f}" for stage, taken in case["stages_us"].items())
        two = case["rates"][str(PROCESSES[-1])]
        lines += [
            f"{name}: {case['bytes_per_window'] / 1e3:,.0f} kB a window",
            f"  windows/s: {rates} processes",
            f"  us of CPU a window, here: {parts}",
            f"  us of CPU a window, with {PROCESSES[-1]} processes: theirs {two['others_us']:.1f}, here receive"
            f" {two['receive_us']:.1f}, place {two['place_us']:.1f}, Grain's threads {two['grain_us']:.1f},"
            f" unpack {two['unpack_us']:.1f}, native threads {two['native_us']:.1f}",
            f"  on {cores} cores {case['at_once_per_s']:,.0f} windows/s, if parts wait for each other"
            f" {case['one_after_the_other_per_s']:,.0f}; {case['serial_us']:.1f} us are serial",
        ]
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.loader", description=__doc__)
    parser.add_argument("--lobster", type=user_path, help="a LOBSTER message file; a simulated day if absent")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), help="configurations")
    parser.add_argument("--events", type=int, default=150_000, help="expected events of the simulated day")
    parser.add_argument("--context", type=int, default=1024, help="tokens of a window")
    parser.add_argument("--batch-size", type=int, default=32, help="windows a batch")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each rate is measured")
    parser.add_argument("--cores", type=int, default=16, help="cores to extrapolate to")
    chosen = parser.parse_args(arguments)
    results = run(chosen)
    print("\n".join(table(results, chosen.cores)))
    packages = ("numpy", "grain", "jax", "tensorflow-datasets")
    about = surroundings("loader", packages=packages, used="as many used as there are processes, and one")
    print(json.dumps({"benchmark": "loader", "cores": chosen.cores, "cases": results, **about}))


if __name__ == "__main__":
    main()
