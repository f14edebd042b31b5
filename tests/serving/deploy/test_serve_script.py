"""launch/serve.sh starts real processes, waits for them, ends them with itself, and leaves none behind."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.test_launch import Workplace, is_alive, wait_until

# A fake lob_jax.main: what the process on a port does is the word in the file `does.PORT`. It appends its process id
# and the signals that it gets to the file `seen.PORT`. Unless it is `deaf` it ends at the first SIGTERM, or if it is
# `slow` at the second.
SERVER = """
import http.server, os, pathlib, signal, sys, threading
port = int(next(word.split("=")[1] for word in sys.argv if word.startswith("--config.serve.port=")))
does = pathlib.Path(f"does.{port}").read_text()
seen = pathlib.Path(f"seen.{port}").open("a", buffering=1)
def told(number, _):
    seen.write(f"{signal.Signals(number).name}\\n")
    told.times += 1
    if does != "deaf" and (does != "slow" or told.times == 2):
        os._exit(7 if does == "fails late" else 0)
told.times = 0
signal.signal(signal.SIGTERM, told)
signal.signal(signal.SIGINT, told)
if does.startswith("exits"):
    sys.exit(int(does.split()[1]))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = does != "never ready" and self.path == "/health/ready"
        self.send_response(200 if ready else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
seen.write(f"{os.getpid()}\\n")
threading.Thread(target=server.serve_forever).start()
while True:
    signal.pause()
"""


class Served(Workplace):
    """A copy of launch/ whose servers are fakes, and what they have seen."""

    def __post_init__(self):
        super().__post_init__()
        (self.root / "server.py").write_text(SERVER)
        self.fake("python", f'exec {sys.executable} "$PWD/server.py" "$@"\n')
        self.port = free_ports(3)
        self.do(*["serves"] * 3)

    def do(self, *does: str):
        for k, word in enumerate(does):
            (self.root / f"does.{self.port + k}").write_text(word)

    def serve(self, *options: str, workers: int = 2) -> subprocess.Popen:
        given = [f"--workers={workers}", f"--port={self.port}", *options, "--", "--config.serve.bundle=here"]
        return self.start("serve", *given, stderr=subprocess.STDOUT)

    def until_ready(self, process: subprocess.Popen) -> str:
        assert process.stdout is not None
        return process.stdout.readline()

    def seen(self, k: int) -> list[str]:
        path = self.root / f"seen.{self.port + k}"
        return path.read_text().split() if path.exists() else []

    def pid(self, k: int) -> int:
        return int(self.seen(k)[0])

    def left(self) -> list[int]:
        """Return the processes that are still there, of all that were ever ready to answer."""
        pids = [int(word) for path in self.root.glob("seen.*") for word in path.read_text().split() if word.isdigit()]
        return [pid for pid in pids if is_alive(pid)]

    def end(self):
        super().end()
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def free_ports(count: int) -> int:
    """Return the first of several neighbouring ports that are free."""
    own = 20_000 + os.getpid() * 64 % 10_000  # apart from those of other workers, whose ids are neighbours
    for first in range(own, 32_000, count):
        with contextlib.ExitStack() as kept, contextlib.suppress(OSError):
            for port in range(first, first + count):
                one = kept.enter_context(socket.socket())
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(("127.0.0.1", port))
            return first
    raise OSError("no neighbouring ports are free")


@pytest.fixture
def here(tmp_path: pathlib.Path) -> Iterator[Served]:
    place = Served(tmp_path)
    yield place
    place.end()


def finish(process: subprocess.Popen) -> tuple[int, str]:
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_all_are_ready_and_ends_all_with_itself(here, how):
    process = here.serve(workers=3)
    assert here.until_ready(process) == f"3 processes are ready on ports {here.port} to {here.port + 2} of 127.0.0.1\n"
    assert process.poll() is None and len(here.left()) == 3
    process.send_signal(how)
    assert finish(process) == (0, "")
    assert here.left() == []
    assert [here.seen(k)[1:] for k in range(3)] == [["SIGTERM"]] * 3


def test_a_key_at_the_terminal_reaches_the_processes_once(here):
    """It is sent to the whole foreground process group: the script's."""
    process = here.serve()
    assert here.until_ready(process).startswith("2 processes are ready")
    os.killpg(process.pid, signal.SIGINT)
    assert finish(process) == (0, "")
    assert [here.seen(k)[1:] for k in range(2)] == [["SIGTERM"]] * 2


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, 137), (signal.SIGTERM, 1)], ids=["killed", "ended"])
def test_when_one_ends_by_itself_the_others_are_ended(here, how, code):
    process = here.serve(workers=3)
    here.until_ready(process)
    os.kill(here.pid(1), how)
    ended, out = finish(process)
    assert ended == code
    assert f"the process on port {here.port + 1} ended with exit code {code if code == 137 else 0}" in out
    assert here.left() == []
    assert here.seen(0)[1:] == here.seen(2)[1:] == ["SIGTERM"]


def test_one_that_does_not_start_ends_the_others(here):
    here.do("serves", "exits 2")
    process = here.serve()
    assert finish(process)[0] == 2
    assert here.left() == []


def test_one_that_is_not_ready_in_time_ends_all(here):
    here.do("serves", "never ready")
    process = here.serve("--startup=1")
    code, out = finish(process)
    assert code == 1
    # The other one has only a second, too, which a busy machine may take to start it.
    late = [f"the process on port {here.port + k} is not ready after 1 seconds\n" for k in range(2)]
    assert out in late
    assert here.left() == []


def test_a_signal_before_all_are_ready_ends_it(here):
    here.do("serves", "never ready")
    process = here.serve()
    wait_until(lambda: here.seen(1), "the second process")
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "")
    assert here.left() == []


def test_a_second_signal_is_passed_on(here):
    here.do("slow", "slow")
    process = here.serve()
    here.until_ready(process)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: all(here.seen(k)[1:] == ["SIGTERM"] for k in range(2)), "the first signal")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0
    assert [here.seen(k)[1:] for k in range(2)] == [["SIGTERM"] * 2] * 2
    assert here.left() == []


def test_what_does_not_end_is_killed(here):
    here.do("serves", "deaf")
    process = here.serve("--grace=1")
    here.until_ready(process)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 128 + signal.SIGKILL
    assert here.left() == []


def test_a_failure_while_it_ends_is_told(here):
    here.do("serves", "fails late")
    process = here.serve()
    here.until_ready(process)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 7


def test_a_process_of_somebody_else_on_a_port_is_left_alone(here):
    other = subprocess.Popen([sys.executable, "server.py", f"--config.serve.port={here.port + 1}"], cwd=here.root)
    wait_until(lambda: here.seen(1), "the process of somebody else")
    process = here.serve()
    assert finish(process)[0] == 1  # its own finds the port taken
    assert is_alive(other.pid)
    other.kill()
    other.wait()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv, of Linux")
def test_processes_end_when_the_script_is_killed(here):
    process = here.serve()
    here.until_ready(process)
    assert len(here.left()) == 2
    process.kill()
    wait_until(lambda: not here.left(), "the end of the processes")
    process.communicate(timeout=60)
