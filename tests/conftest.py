"""Set before JAX is imported: eight virtual CPU devices, and quick compilation, since tests compile more than they run.

Real data is found once, or skipped by name.
"""

import os
import pathlib
import signal

QUICKLY = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")
FLAGS = (os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8", *QUICKLY)
os.environ["XLA_FLAGS"] = " ".join(FLAGS).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs behind it so, and programs under test
    signal.signal(signal.SIGINT, signal.default_int_handler)  # would inherit it

MARKET_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def market_data():
    """Return a function that gives the path of a real data file, or skips the test, naming the file."""

    def find(name: str) -> pathlib.Path:
        path = MARKET_DATA / name
        if not path.exists():
            pytest.skip(f"needs the market-data file {name}")
        return path

    return find


@pytest.fixture(scope="session")
def one_device():
    """Return a function: the environment of a command with one device, which compiles quickly, given a cache."""

    def environment(cache: pathlib.Path) -> dict[str, str]:
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
        return {**os.environ, "XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str(cache)}

    return environment
