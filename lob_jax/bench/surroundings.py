"""Describe the conditions of a measurement: command, commit, machine and versions."""

import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

PACKAGES = ("numpy", "numba", "llvmlite", "polars")


def surroundings(benchmark: str, *, packages: Sequence[str] = PACKAGES, used: str = "one used") -> dict[str, Any]:
    """Return command, commit, machine and versions, to be printed with the results of `lob_jax.bench.<benchmark>`.

    Args:
      benchmark: name of the benchmark's module.
      packages: installed packages whose versions affect the results.
      used: how many of the machine's cores were used, in words.
    """
    git = ["git", "-C", str(pathlib.Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "none"
    return {
        "command": shlex.join(["python", "-m", f"lob_jax.bench.{benchmark}", *sys.argv[1:]]),
        "commit": commit,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {used}",
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def user_path(text: str) -> pathlib.Path:
    """Return the path of a command-line option, with ~ expanded; a shell does not expand it inside `--path=~/...`."""
    return pathlib.Path(text).expanduser()
