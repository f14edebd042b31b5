"""The order of the folders is the order of the data: imports only point up the list, and light parts stay light."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
ORDER = [
    "errors",
    "later_keys",
    "registry",
    "configs",
    "signals",
    "settings",
    "config_sources",
    "failures",
    "console",
    "command_line",
    "jit",
    "lock",
    "events",
    "book",
    "simulation",
    "feeds",
    "writers",
    "statistics",
    "tokens",
    "data",
    "counts",
    "models",
    "training",
    "generation",
    "evaluation",
    "export",
    "forecasting",
    "config",
    "figures",
    "report",
    "runs",
    "serving",
    "stages",
    "bench",
    "main",
    "program",
]
SOURCES = sorted((ROOT / "lob_jax").rglob("*.py"))


def imported_parts(source: str) -> set[str]:
    """Return the parts of lob_jax that a module imports, at any depth of its code."""
    parts = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lob_jax":
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            parts.update(names)
        elif isinstance(node, ast.Import):
            parts.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lob_jax."))
    return parts


def downward(part: str, imports: set[str]) -> set[str]:
    """Return the imports that point down the list."""
    return {name for name in imports if ORDER.index(name) > ORDER.index(part)}


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT / "lob_jax").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_up_the_list(path):
    part = part_of(path)
    if part == "__init__":
        assert imported_parts(path.read_text()) == set()
        return
    assert downward(part, imported_parts(path.read_text())) == set()


def test_a_downward_import_is_seen():
    source = "def f():\n    from lob_jax.training.run.loop import train\n    import lob_jax.models.config\n"
    assert downward("tokens", imported_parts(source)) == {"training", "models"}


INITS = [p for p in SOURCES if p.name == "__init__.py" and p.parent.name != "lob_jax"]


@pytest.mark.parametrize("path", INITS, ids=lambda p: p.parent.name)
def test_init_files_hold_a_docstring_only(path):
    body = ast.parse(path.read_text()).body
    assert len(body) == 1 and isinstance(body[0], ast.Expr)


LIGHT = {
    "lob_jax.models.transformer": "jax jaxlib flax optax numpy",
    "lob_jax.forecasting.forecasters": "jax jaxlib flax optax numpy",
    "lob_jax.training.step.step": "jax jaxlib flax optax numpy",
    "lob_jax.forecasting.fit": "jax jaxlib flax optax numpy",
    "lob_jax.generation.loop": "jax jaxlib flax optax numpy",
    "lob_jax.generation.host.loop": "numpy numba",
    "lob_jax.serving.market.market": "numpy numba",
    "lob_jax.tokens.vocabulary": "numpy",
    "lob_jax.export.bundle": "numpy",
    "lob_jax.tokens.grammar": "numpy",
}
HEAVY = (
    "numba polars grain orbax tensorflow tensorflow_datasets ml_collections tensorboardX rich psutil absl array_record"
).split()


@pytest.mark.slow
@pytest.mark.parametrize("module", LIGHT)
def test_light_parts_import_without_the_rest(module):
    """On a bare GPU image only JAX, Flax, Optax and NumPy are there; what those bring along does not count.

    Modules that are blocked raise on import, so that an optional import inside a dependency stays harmless.
    """
    allowed = LIGHT[module].split()
    blocked = [name for name in [*HEAVY, "jax", "flax", "optax"] if name not in allowed]
    code = f"""
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            import traceback
            files = [frame.filename for frame in traceback.extract_stack()]
            asking = [f for f in files if "importlib" not in f and f != "<string>"]
            if asking and "lob_jax" in asking[-1]:
                raise SystemExit(f"{{asking[-1]}} imports {{name}}")
blocked = set({blocked!r})
sys.meta_path.insert(0, Block())
import {module}
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
