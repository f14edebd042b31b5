"""The cache of compiled loops depends on the sources."""

import ast
import pathlib

import numba
import numpy as np

from lob_jax import jit

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_a_changed_source_names_another_cache(tmp_path):
    source = tmp_path / "book" / "kernel.py"
    source.parent.mkdir()
    source.write_text("a = 1\n")
    before = jit.source_hash(tmp_path)
    assert jit.source_hash(tmp_path) == before
    source.write_text("a = 2\n")
    changed = jit.source_hash(tmp_path)
    source.rename(tmp_path / "book" / "other.py")
    assert len({before, changed, jit.source_hash(tmp_path)}) == 3


def test_a_folder_that_cannot_be_written_turns_the_cache_off(tmp_path):
    (tmp_path / "file").write_text("")
    assert not jit.use_cache(tmp_path / "file" / "cache")


def test_a_cache_is_known_to_be_empty_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(jit.numba.config, "CACHE_DIR", str(tmp_path))
    assert not jit.compiled_before()
    (tmp_path / "book_1").mkdir()
    (tmp_path / "book_1" / "loops.replay-1.py311.nbi").touch()
    assert jit.compiled_before()


@jit.in_place
def _moved(values: np.ndarray, by: int, back: bool) -> int:
    values[0] += -by if back else by
    return values[0]


@jit.njit
def _moved_by_constants(values: np.ndarray) -> int:
    return _moved(values, 3, False) + _moved(values, by=5, back=True) + _moved(values, values[0], False)


def test_constants_are_no_types_of_their_own():
    assert _moved_by_constants(np.array([10])) == 13 + 8 + 16
    assert [args[1:] for args in _moved.signatures] == [(numba.int64, numba.boolean)]


def test_every_module_with_compiled_loops_counts():
    """All compiled code is in the parts that the hash covers, and uses lob_jax.jit."""
    for path in (ROOT / "lob_jax").rglob("*.py"):
        names = {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
            if [alias.name for alias in node.names] != ["compiled_before"]  # only queries the cache, compiles nothing
        }
        part = path.relative_to(ROOT / "lob_jax").parts[0]
        assert "numba" not in names or path.name == "jit.py", path
        assert "lob_jax.jit" not in names or part in jit.COMPILED_PARTS, path
