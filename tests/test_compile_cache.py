"""What is compiled in one run of the tests is there in the next, and nothing that is not whole."""

import os
import subprocess
import sys
import zlib

import pytest

from tests import compile_cache

ENTRY = zlib.compress(bytes(range(256)) * 40)


def entry(folder, name, content=ENTRY, age_s=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-cache").write_bytes(content)
    if age_s:
        then = os.stat(folder / f"{name}-cache").st_mtime - age_s
        os.utime(folder / f"{name}-cache", (then, then))


def names(folder):
    return [name.removesuffix("-cache") for name in compile_cache.entries(folder)]


def test_whole_entries_are_kept_and_found_by_the_next(tmp_path):
    store, first, second = tmp_path / "store", tmp_path / "first", tmp_path / "second"
    entry(first, "whole")
    entry(first, "cut", ENTRY[:-1])
    entry(first, "other", b"\x28\xb5\x2f\xfd")
    compile_cache.add(first, store)
    compile_cache.add(first, store)
    compile_cache.fill(second, store)
    assert names(store) == names(second) == ["whole"]


def test_what_one_process_writes_no_other_sees_before_it_is_kept(tmp_path):
    store, first, second = tmp_path / "store", tmp_path / "first", tmp_path / "second"
    entry(store, "kept")
    compile_cache.fill(first, store)
    compile_cache.fill(second, store)
    entry(first, "new")
    assert names(first) == ["kept", "new"] and names(second) == names(store) == ["kept"]


def test_the_oldest_go_first(tmp_path):
    store = tmp_path / "store"
    for age, name in enumerate(("new", "middle", "old")):
        entry(store, name, age_s=100 * age)
    compile_cache.prune(store, most_bytes=2 * len(ENTRY))
    assert names(store) == ["middle", "new"]
    assert (store / "new-cache").read_bytes() == ENTRY


def test_folders_of_processes_that_were_killed_go_after_a_day(tmp_path):
    for name, age in (("session-1", 2), ("session-2", 0)):
        entry(tmp_path / name, "a")
        then = os.stat(tmp_path / name).st_mtime - age * compile_cache.DAY_S
        os.utime(tmp_path / name, (then, then))
    compile_cache.prune(tmp_path / "store")
    assert [path.name for path in tmp_path.glob("session-*")] == ["session-2"]


def test_an_entry_that_another_session_removes_meanwhile_is_left_out(tmp_path, monkeypatch):
    store = tmp_path / "store"
    entry(store, "kept")
    monkeypatch.setattr(compile_cache, "entries", lambda folder: ["gone-cache", "kept-cache"])
    compile_cache.fill(tmp_path / "own", store)
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["kept-cache"]


@pytest.mark.slow
def test_a_program_has_the_same_entry_in_every_folder(tmp_path):
    found = []
    for name in ("one", "another"):
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / name)}
        command = [sys.executable, "-c", "import jax; jax.jit(lambda x: x + 1)(1.0)"]
        subprocess.run(command, env=environment, check=True)
        found.append(names(tmp_path / name))
    assert found[0] == found[1] != []
