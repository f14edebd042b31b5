"""Golden configurations: base in full, of every other one what it changes.

UPDATE_GOLDEN=1 python -m pytest tests/config/test_golden.py
writes both files anew.
"""

import importlib
import json
import os
import pathlib

import pytest

from lob_jax.config import sections
from lob_jax.errors import flat

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
OTHERS = sorted({path.stem for path in (ROOT / "configs").glob("*.py")} - {"base"})
HOW = "UPDATE_GOLDEN=1 python -m pytest tests/config/test_golden.py"
ABSENT = "absent"


def resolved(name):
    return flat(sections.plain(importlib.import_module(f"lob_jax.configs.{name}").get_config()))


def changes(before, after):
    """Return what the values of flat keys are after, where they differ from those before."""
    keys = sorted({*before, *after})
    return {key: after.get(key, ABSENT) for key in keys if after.get(key, ABSENT) != before.get(key, ABSENT)}


def fault(what, golden, now):
    """Return what differs, a line a key, and how to write it down; None if nothing does."""
    differing = changes(golden, now)
    lines = [f"  {key}: golden {golden.get(key, ABSENT)!r}, now {value!r}" for key, value in differing.items()]
    told = "\n".join([what, *lines, f"if this is meant: {HOW}"])
    return told if differing else None


def read(name):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def write(name, content):
    (GOLDEN / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def golden():
    """Write the golden files first, where that is asked for."""
    if os.environ.get("UPDATE_GOLDEN"):
        base = resolved("base")
        write("base.json", sections.plain(importlib.import_module("lob_jax.configs.base").get_config()))
        write("changes.json", {name: changes(base, resolved(name)) for name in OTHERS})


def test_base_is_the_golden_one():
    """A changed default changes a run: change the golden file with it, on purpose."""
    found = fault("configs/base.py is not tests/golden/base.json", flat(read("base.json")), resolved("base"))
    if found:
        pytest.fail(found, pytrace=False)


@pytest.mark.parametrize("name", OTHERS)
def test_a_configuration_changes_what_it_did(name):
    golden = read("changes.json").get(name, {})
    now = changes(resolved("base"), resolved(name))
    found = fault(f"what configs/{name}.py changes of base is not what tests/golden/changes.json says", golden, now)
    if found:
        pytest.fail(found, pytrace=False)


def test_there_is_a_golden_entry_for_each_configuration_and_for_no_other():
    assert sorted(read("changes.json")) == OTHERS, HOW


def test_a_failure_shows_what_differs_and_how_to_write_it():
    found = fault("one is not the other", {"a": 1, "b": [1, 2], "c": None}, {"a": 1, "b": [1], "d": 0.5})
    assert found.splitlines() == [
        "one is not the other",
        "  b: golden [1, 2], now [1]",
        "  c: golden None, now 'absent'",
        "  d: golden 'absent', now 0.5",
        f"if this is meant: {HOW}",
    ]
    assert fault("", {"a": 1}, {"a": 1}) is None


def test_a_new_key_of_base_changes_one_golden_file():
    base, other = resolved("base"), resolved("modern")
    new = {"model.new": 0}
    assert changes(base | new, other | new) == changes(base, other) == read("changes.json")["modern"]
