"""Compiled loops are cached by what their sources contain."""

import ast
import importlib
import pathlib
import sys

import numba
import numpy as np
import pytest

from lob_jax import jit

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOB_JAX = {"lob_jax": ROOT}
MODULES = {
    "steps": "SIZE = 3\n",
    "walk": """from lob_jax.jit import njit
from toy.steps import (
    SIZE,
)


@njit
def walk(x):
    return x + SIZE
""",
    "way": """from lob_jax.jit import njit
from toy import walk as one


@njit
def twice(x):
    return one.walk(one.walk(x))
""",
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Return a function: load a package from a copy of it, in which one module may be changed."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setattr(jit, "_CACHED", True)

    def load(name, **changed):
        folder = tmp_path / name / "toy"
        folder.mkdir(parents=True)
        for module, text in {**MODULES, **changed}.items():
            (folder / f"{module}.py").write_text(text)
        for module in [module for module in sys.modules if module.partition(".")[0] == "toy"]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.syspath_prepend(str(folder.parent))
        return importlib.import_module("toy.way").twice

    yield load
    for module in [module for module in sys.modules if module.partition(".")[0] == "toy"]:
        del sys.modules[module]


def test_a_copy_finds_what_was_compiled_and_a_change_in_what_is_called_compiles_again(toy):
    first = toy("first")
    assert first(1) == 7 and not first.stats.cache_hits
    copied = toy("copy")
    assert copied(1) == 7 and copied.stats.cache_hits
    changed = toy("changed", steps="SIZE = 4\n")
    assert changed(1) == 9 and not changed.stats.cache_hits
    unrelated = toy("unrelated", other="SIZE = 9\n")
    assert unrelated(1) == 7 and unrelated.stats.cache_hits


def test_the_hash_is_of_a_file_and_of_all_that_it_imports(tmp_path):
    def hashes(folder, **changed):
        (tmp_path / folder / "toy").mkdir(parents=True)
        for module, text in {**MODULES, **changed}.items():
            (tmp_path / folder / "toy" / f"{module}.py").write_text(text)
        roots = {"toy": tmp_path / folder}
        return [
            jit.source_hash(tmp_path / folder / "toy" / f"{module}.py", roots) for module in ("steps", "walk", "way")
        ]

    def same(**changed):
        return [one == other for one, other in zip(hashes("_".join(changed), **changed), before, strict=True)]

    before = hashes("before")
    assert len(set(before)) == 3 and same(other="SIZE = 9\n") == [True] * 3
    assert same(steps="SIZE = 4\n") == [False] * 3
    assert same(way=MODULES["way"] + "\n") == [True, True, False]
    assert same(way=MODULES["walk"], walk=MODULES["way"])[1:] == [False] * 2


def test_every_import_of_the_package_is_seen():
    package = frozenset(LOB_JAX.items())
    for path in (ROOT / "lob_jax").rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        bases = [ROOT.joinpath(*name.split(".")) for name in names if name.partition(".")[0] == "lob_jax"]
        files = {path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()}
        assert set(jit.imported(path, package)) == files, path


def test_numba_is_imported_in_one_place():
    for path in (ROOT / "lob_jax").rglob("*.py"):
        if path.name != "jit.py":
            assert "import numba" not in path.read_text(), path


def test_a_folder_that_cannot_be_written_turns_the_cache_off(tmp_path):
    (tmp_path / "file").write_text("")
    assert not jit.is_writable(tmp_path / "file" / "cache")
    assert jit.is_writable(tmp_path / "cache")


def test_a_cache_is_known_to_be_empty_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert not jit.compiled_before()
    folder = tmp_path / f"loops_{jit.source_hash(ROOT / 'lob_jax' / 'book' / 'loops.py', LOB_JAX)}"
    folder.mkdir()
    (folder / "loops.replay-1.py311.nbi").touch()
    assert jit.compiled_before()


def test_constants_are_no_types_of_their_own(monkeypatch):
    monkeypatch.setattr(jit, "_CACHED", False)  # what comes from a cache has not compiled what it calls

    @jit.in_place
    def moved(values: np.ndarray, by: int, back: bool) -> int:
        values[0] += -by if back else by
        return values[0]

    @jit.njit
    def moved_by_constants(values: np.ndarray) -> int:
        return moved(values, 3, False) + moved(values, by=5, back=True) + moved(values, values[0], False)

    assert moved_by_constants(np.array([10])) == 13 + 8 + 16
    assert [args[1:] for args in moved.signatures] == [(numba.int64, numba.boolean)]
