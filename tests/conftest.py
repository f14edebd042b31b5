"""Set before JAX is imported: eight virtual CPU devices, quick compilation, and a cache of what is compiled.

Tests compile more than they run.

Real data is found once, or skipped by name.
"""

import os
import pathlib
import shutil
import signal

QUICKLY = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")
FLAGS = (os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8", *QUICKLY)
os.environ["XLA_FLAGS"] = " ".join(FLAGS).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests import compile_cache, rotation

STORE = compile_cache.kept()
OWN = STORE.parent / f"session-{os.getpid()}"  # of this process, see compile_cache
COMMANDS = STORE.parent / f"session-{os.getpid()}-commands"  # of those that it starts, and may kill
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(OWN)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# XLA's own caches for GPUs lie in this folder too, and its path would be part of the key of every program.
os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"

import hypothesis
import pytest

# A machine that is busy with something else is no fault of what is tested.
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs behind it so, and programs under test
    signal.signal(signal.SIGINT, signal.default_int_handler)  # would inherit it


TOGETHER = ("tests/counts/", "tests/evaluation/likelihood/", "tests/generation/", "tests/runs/")
COMMIT = rotation.commit()
PART = rotation.part_of(COMMIT)


def pytest_report_header(config):
    """Say which of the slow tests run."""
    if PART is None:
        return "slow tests: all"
    return f"slow tests: part {PART + 1} of {rotation.PARTS}, by commit {COMMIT[:12]}; LOB_JAX_FULL=1 runs all"


def pytest_collection_modifyitems(config, items):
    """Leave out the slow tests that other commits run, unless a test is asked for by its name."""
    if any("::" in argument for argument in config.args):
        return
    left_out = rotation.left_out((item.nodeid for item in items if item.get_closest_marker("slow")), PART)
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give all tests of a file to one worker, and of some folders, whose files share what is trained or compiled."""
    from xdist.scheduler import LoadScopeScheduling

    class TogetherScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return next((folder for folder in TOGETHER if file.startswith(folder)), file)

    return TogetherScheduling(config, log)


def pytest_sessionstart(session):
    """Begin with what earlier sessions have compiled."""
    if not hasattr(session.config, "workerinput"):  # once for all of xdist's workers, before they start
        compile_cache.prune(STORE)
    compile_cache.fill(OWN, STORE)


def pytest_sessionfinish(session):
    """Leave what was compiled to later sessions."""
    for folder in (OWN, COMMANDS):
        compile_cache.add(folder, STORE)
        shutil.rmtree(folder, ignore_errors=True)


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
def compiled_folder():
    """Return the compilation cache of commands that tests start."""
    compile_cache.fill(COMMANDS, STORE)
    return COMMANDS


@pytest.fixture(scope="session")
def one_device():
    """Return a function: the environment of a command with one device, which compiles quickly, given a cache."""

    def environment(cache: pathlib.Path) -> dict[str, str]:
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
        return {**os.environ, "XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str(cache)}

    return environment
