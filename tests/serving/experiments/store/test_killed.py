"""A writer is killed at any moment, and the database as well: what was acknowledged is kept, once."""

import contextlib
import os
import random
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from lob_jax.serving.experiments.store.store import Store
from tests.serving.experiments.postgres import Postgres
from tests.serving.experiments.store.made import EXPERIMENT, same
from tests.serving.experiments.store.writer import begin, sent

WRITER = [sys.executable, "-m", "tests.serving.experiments.store.writer"]
FURTHER = 10_000  # numbers that no round reaches
TIMES = 100 if os.environ.get("LOB_JAX_FULL") == "1" else 10
AGAIN = 3  # acknowledged outcomes that are sent once more after each kill


def written(url, acknowledged, *, until):
    """Run the writer from what was acknowledged last until something; kill it, and note what it told."""
    first = max(0, max(acknowledged, default=-1) + 1 - AGAIN)
    writer = subprocess.Popen([*WRITER, url, str(first), str(FURTHER)], stdout=subprocess.PIPE, text=True)
    try:
        until(writer.stdout, acknowledged)
    finally:
        writer.kill()
        rest, _ = writer.communicate()
    acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]


def some(lines, acknowledged, *, chance):
    """Wait for a few outcomes and a moment more."""
    for _ in range(chance.randrange(12)):
        acknowledged.append(int(lines.readline()))
    time.sleep(chance.uniform(0.0, 0.02))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_acknowledged_is_kept_once(kind, tmp_path):
    chance, acknowledged = random.Random(TIMES), []
    with contextlib.ExitStack() as stack:
        server = Postgres() if kind == "postgresql" else None
        if server is not None:
            stack.callback(server.remove)
        url = f"sqlite:///{tmp_path / 'a.db'}" if server is None else server.database()
        Store(url).close()

        def until(lines, acknowledged):
            some(lines, acknowledged, chance=chance)
            if server is not None and chance.random() < 0.5:
                server.kill()
                server.start()
                some(lines, acknowledged, chance=chance)

        for _ in range(TIMES):
            written(url, acknowledged, until=until)
        assert sorted(set(acknowledged)) == list(range(max(acknowledged) + 1))
        assert len(acknowledged) > max(acknowledged) + 1  # some were sent again
        check(url, last=max(acknowledged), other=f"sqlite:///{tmp_path / 'never_killed.db'}")


def check(url, *, last, other):
    """Assert that all outcomes up to one are kept once, and as in a store that was never killed."""
    with contextlib.closing(Store(url)) as store, contextlib.closing(Store(other)) as whole:
        query = sa.text("SELECT outcome, count(*) FROM outcomes GROUP BY outcome")
        with store._database.reading() as connection:
            found = {int(name): count for name, count in connection.execute(query)}
        # One more may have been kept whose writer was killed before it could tell.
        assert found == dict.fromkeys(range(len(found)), 1) and len(found) in (last + 1, last + 2)
        begin(whole)
        for number in range(len(found)):
            new = whole.record(EXPERIMENT, sent(number), at_s=float(number))
            again = store.recorded(EXPERIMENT, new.unit, new.outcome, f"sha256:{number}")
            assert (again.first, again.events, again.nats, again.brier) == (new.first, new.events, new.nats, new.brier)
        assert same(store.kept(EXPERIMENT), whole.kept(EXPERIMENT))
        assert len(whole.kept(EXPERIMENT).unit_B) > 10
