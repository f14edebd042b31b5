"""Eight virtual CPU devices, set before JAX is imported; real data found once, or skipped by name."""

import os
import pathlib

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest

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
