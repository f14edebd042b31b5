"""A server of a bundle, as a command in a process of its own, for measurements."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Generator, Sequence

from lob_jax.bench.http_load import Target
from lob_jax.errors import InputError
from lob_jax.serving.http.keys import add

LISTENING = "listening at "
# One key asks for everything.
UNLIMITED = ("--config.serve.rate_per_s=1e6", "--config.serve.burst=1000000", "--config.serve.streams=1000")
ENDS_S = 60.0  # a server that has not ended after so long is killed


def target_of(url: str, key: str) -> Target:
    """Return where requests go, from a URL."""
    parts = urllib.parse.urlsplit(url)
    return Target(parts.hostname or "127.0.0.1", parts.port or 80, key)


@contextlib.contextmanager
def served_bundle(bundle: pathlib.Path | str, options: Sequence[str] = ()) -> Generator[Target]:
    """Serve a bundle on a free port of this machine, and end the server afterwards.

    Args:
      bundle: its folder, or its name and its folder as name=folder.
      options: further arguments of `lob_jax.main`.

    Raises:
      InputError: the server has ended instead; it has said why on standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        keys = pathlib.Path(folder) / "keys.json"
        own = (f"--config.serve.bundle={bundle}", f"--config.serve.keys_file={keys}", "--config.serve.port=0")
        command = [sys.executable, "-m", "lob_jax.main", "--mode=serve", "--config.serve.access_log=False"]
        key = add(keys, "bench")
        process = subprocess.Popen([*command, *own, *UNLIMITED, *options], stdout=subprocess.PIPE, text=True)
        try:
            yield target_of(_url(process, bundle), key)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _url(process: subprocess.Popen[str], bundle: pathlib.Path | str) -> str:
    """Return the URL that a server prints when it listens."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(LISTENING):
            return line.removeprefix(LISTENING).strip()
    raise InputError(
        "the server has not started",
        where=bundle,
        expected="a bundle that can be served",
        was=f"exit code {process.wait()}",
        remedy="read what it has written above",
    )
