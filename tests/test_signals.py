"""Programs that receive signals in various states; none of them needs JAX."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from lob_jax import signals
from lob_jax.signals import Stopped, listening

ROOT = pathlib.Path(__file__).resolve().parents[1]
BEGIN = """
import os, sys, signal, threading, time
from lob_jax import signals
signals.STUCK_S, signals.ENDING_S, signals.ONE_PRESS_S = 0.2, 1000.0, 0.05
listener = signals.listen()
def ready():
    print("ready", flush=True)
def busy():
    while True: pass
def in_one_call():  # of seconds, from which no handler of Python's comes back
    import hashlib
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


class Program:
    """A program that listens for signals and has reached `ready()`."""

    def __init__(self, body, *, before=""):
        code = BEGIN + textwrap.dedent(body)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
        self.process = subprocess.Popen(
            ["bash", "-c", f'{before} exec "$@"', "bash", sys.executable, "-c", code, "--some=argument"], **pipes
        )
        assert self.process.stdout.readline() == "ready\n"

    def tell(self, number):
        self.process.send_signal(number)
        return self

    def end(self, *, fails=False):
        """Return the exit status and the console output; unless it `fails`, check that there is no traceback."""
        printed, said = self.process.communicate(timeout=60)
        assert fails or "Traceback" not in said, said
        return self.process.returncode, printed, said


@pytest.fixture
def program():
    started = []

    def start(body, **options):
        started.append(Program(body, **options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


BODIES = {
    "in Python": "ready(); busy()",
    "in a part that cannot raise, its traces diverted": """
        from lob_jax.failures import divert_traces
        divert_traces(sys.argv, None)
        class Lost:
            def __del__(self): ready(); busy()
        Lost()
        busy()""",
    "in one long call": "ready(); in_one_call()",
    "in a call that waits": "ready(); threading.Lock().acquire() and time.sleep(1000)",
    "in a part that cannot raise": """
        class Lost:
            def __del__(self): ready(); busy()
        Lost()
        busy()""",
    "in a library that makes something else of it": """
        with signals.EndsInOrder():
            try: ready(); busy()
            except KeyboardInterrupt as error: raise RuntimeError("a callback failed") from error""",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 75, "SIGTERM")],
    ids=["SIGINT", "SIGTERM"],
)
def test_the_first_signal_is_acknowledged_and_ends_the_program(program, body, number, status, name):
    code, _, said = program(body).tell(number).end()
    assert code == status
    acknowledged, ended = said.splitlines()
    assert acknowledged == f"{name}: exiting; repeat it to exit at once"
    assert ended == f"stopped by {name}; to resume: python -m lob_jax.main --some=argument"


def test_what_the_main_thread_holds_is_given_back(program):
    body = """
    with signals.EndsInOrder():
        try: ready(); busy()
        finally: print("given back")"""
    assert program(body).tell(signal.SIGTERM).end()[:2] == (75, "given back\n")


IN_OTHER_THREADS = {
    "ends in it": "raise RuntimeError('Event loop is closed')",
    "is told by an extension module": "sys.excepthook(RuntimeError, RuntimeError('Event loop is closed'), None)",
    "is logged": "logging.getLogger('concurrent.futures').error('calling back', exc_info=RuntimeError('closed'))",
    "cannot be raised": """
        class Lost:
            def __del__(self): raise RuntimeError('Event loop is closed')
        Lost()""",
}


@pytest.mark.parametrize("error", IN_OTHER_THREADS.values(), ids=IN_OTHER_THREADS)
@pytest.mark.parametrize("told", [True, False], ids=["told", "undisturbed"])
def test_errors_of_other_threads_are_told_unless_the_program_is_ending(program, error, told):
    body = f"""
    import logging
    ending = threading.Event()
    def other():
        ending.wait()
        {textwrap.indent(textwrap.dedent(error), "        ").strip()}
    thread = threading.Thread(target=other)
    thread.start()
    with signals.EndsInOrder():
        try:
            ready()
            busy() if {told} else None
        finally: ending.set(), thread.join()
    """
    process = program(body)
    code, _, said = process.tell(signal.SIGTERM).end() if told else process.end(fails=True)
    assert code == (75 if told else 0)
    assert ("losed" in said) == (not told)


DEFERRED = """
with listener.deferred(None, grace_s=1000, meanwhile="saving"):
    ready()
    while listener.told is None: pass
    print("told", flush=True)
    in_one_call()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_ends_at_once_what_saves(program, number, status):
    saving = program(DEFERRED).tell(number)
    assert saving.process.stdout.readline() == "told\n"
    assert saving.process.stderr.readline().endswith(": saving; repeat it to exit at once\n")
    while saving.process.poll() is None:  # an immediate repetition counts as the same key press
        saving.tell(number)
    code, _, said = saving.end()
    assert code == status and "again: exited at once" in said


def test_one_press_that_arrives_twice_counts_once(program):
    body = DEFERRED.replace("in_one_call()", "time.sleep(0.2)")
    body = f"signals.ONE_PRESS_S = 1000\n{body}print('saved', flush=True)\nos._exit(75)"
    told = program(body).tell(signal.SIGTERM).tell(signal.SIGINT)
    code, printed, _ = told.end()
    assert (code, printed) == (75, "told\nsaved\n")


def test_a_part_that_does_not_end_in_time_is_saved_from_another_thread(program):
    body = """
    def late():
        print("saved", flush=True)
        listener.leave(75, "saved from memory")
    with listener.deferred(late, grace_s=0.1, meanwhile="saving"):
        ready()
        in_one_call()"""
    code, printed, said = program(body).tell(signal.SIGTERM).end()
    assert (code, printed) == (75, "saved\n") and said.endswith("saved from memory\n")


def test_what_is_due_is_saved_without_a_signal(program):
    body = """
    ready()  # before what is due at once, which may end the program at any time
    with listener.deferred(lambda: listener.leave(75, "late"), grace_s=0, meanwhile="saving", due=listener.started):
        in_one_call()"""
    assert program(body).end() == (75, "", "late\n")


def test_a_signal_that_a_launcher_has_switched_off_stays_so(program):
    body = """
    ready()
    time.sleep(0.2)
    print("went on")"""
    assert program(body, before="trap '' INT;").tell(signal.SIGINT).end() == (0, "went on\n", "")


def test_a_forked_process_leaves_ctrl_c_to_its_parent_and_does_not_speak_for_it(program):
    body = """
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1000)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    print("ready" if listener.told is None else "told", flush=True)
    os._exit(0)"""
    process = subprocess.run([sys.executable, "-c", BEGIN + textwrap.dedent(body)], cwd=ROOT, capture_output=True)
    assert process.stdout.decode() == f"{-signal.SIGTERM}\nready\n" and process.stderr == b""


WORKERS = """
import multiprocessing
from lob_jax.signals import leave_to_parent, listen, spared, EndsInOrder, NAMES
def work(queue):
    queue.put("begun")
    leave_to_parent()
    queue.put("works")
    multiprocessing.Event().wait()
if __name__ == "__main__":
    listener = listen()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with spared(*NAMES):
        worker = context.Process(target=work, args=(queue,))
        worker.start()
    print("ready", worker.pid, flush=True)
    if queue.get() == "begun" and queue.get() == "works":
        print("works", flush=True)
    with EndsInOrder():
        worker.join()
"""


@pytest.mark.parametrize("while_it_starts", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_are_spared_and_end_with_their_parent(tmp_path, number, while_it_starts):
    (tmp_path / "program.py").write_text(WORKERS)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, tmp_path / "program.py"], env=environment, start_new_session=True, **pipes
    )
    pid = int(process.stdout.readline().split()[1])
    if not while_it_starts:
        assert process.stdout.readline() == "works\n"
    if while_it_starts:
        os.kill(pid, number)
        assert process.stdout.readline() == "works\n"
        process.kill()
    else:
        os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert process.returncode == (-signal.SIGKILL if while_it_starts else {2: 130, 15: 75}[number])
    with pytest.raises(ProcessLookupError):
        for _ in range(10_000):
            os.kill(pid, 0)
            threading.Event().wait(0.01)


def test_a_library_call_gives_the_signals_back():
    before = [signal.getsignal(number) for number in signals.NAMES]
    with listening() as listener:
        with listening() as inner:
            assert inner is listener
        with pytest.raises(Stopped) as stopped:
            signal.raise_signal(signal.SIGINT)
        assert stopped.value.number == listener.told == signal.SIGINT
    assert [signal.getsignal(number) for number in signals.NAMES] == before
    with listening() as listener:
        assert listener.told is None


def test_another_thread_hears_nothing():
    told = []

    def call():
        with listening() as listener:
            told.append(listener.told)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert told == [None]
