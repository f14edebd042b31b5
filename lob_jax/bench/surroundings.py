"""What a figure belongs to: command, commit, machine and versions."""

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
    """Return the command, commit, machine and versions that the figures of `lob_jax.bench.<benchmark>` belong to.

    Args:
      benchmark: its module.
      packages: whose versions matter to it; all of them are installed.
      used: which of the machine's cores worked.
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
    """Return the path that a benchmark is given; ~ is the home folder, as a shell does not always have it."""
    return pathlib.Path(text).expanduser()
