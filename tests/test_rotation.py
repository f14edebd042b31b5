"""Every slow test is run by some commit, and none is left out where all are asked for."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests import rotation

ROOT = pathlib.Path(__file__).resolve().parents[1]

VARIANTS = [f"tests/a.py::test_kinds[{number}]" for number in range(13)]
ALWAYS = {f"{rotation.ALWAYS[0]}::test_wheel", f"{rotation.ALWAYS[1]}test_load.py::test_many_clients"}
SLOW = [*VARIANTS, "tests/b.py::test_alone", *sorted(ALWAYS), "tests/c.py::test_other"]


def test_the_parts_together_are_all_tests():
    run = [set(SLOW) - rotation.left_out(SLOW, part) for part in range(rotation.PARTS)]
    assert set.union(*run) == set(SLOW)
    assert set.intersection(*run) == ALWAYS
    assert [len(part) for part in run] == [4, 4, 4, *[3] * 9]
    assert all(part & set(VARIANTS) for part in run)


def test_nothing_is_left_out_of_a_full_run(monkeypatch):
    monkeypatch.setenv("LOB_JAX_FULL", "1")
    assert rotation.left_out(SLOW, rotation.part_of("f" * 40)) == set()


@pytest.mark.parametrize(("name", "part"), [("0" * 40, 0), ("0" * 39 + "5", 5), ("0" * 39 + "e", 2)])
def test_the_commit_chooses(monkeypatch, name, part):
    monkeypatch.delenv("LOB_JAX_FULL", raising=False)
    assert rotation.part_of(name) == part


def test_a_commit_has_a_name():
    assert len(rotation.commit()) == 40 and int(rotation.commit(), 16) >= 0


@pytest.mark.parametrize("full", ["0", "1"])
def test_the_part_is_printed(full):
    environment = {**os.environ, "LOB_JAX_FULL": full}
    done = subprocess.run(
        [sys.executable, "-m", "tests.rotation"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ("all" if full == "1" else str(int(rotation.commit(), 16) % rotation.PARTS))
