"""The bundled configurations are found in a checkout and in an installation, by the same import."""

import ast
import pathlib
import shutil
import subprocess
import sys
import tomllib

import pytest

from lob_jax.configs import FOLDER, bundled

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "configs").glob("*.py"))


def test_a_checkout_has_them_in_its_own_folder():
    assert ROOT / "configs" == FOLDER
    assert list(bundled().values()) == FILES and list(bundled()) == [file.stem for file in FILES]


def test_a_wheel_gets_every_one_of_them():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-dir"] == {"lob_jax.configs": "configs"}
    assert settings["py-modules"] == [f"lob_jax.configs.{name}" for name in bundled()], "list them in pyproject.toml"


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "lob_jax").rglob("*.py"))], ids=lambda path: path.stem)
def test_nothing_imports_them_by_the_name_of_the_folder(path):
    """An installation has no top-level package configs."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            named.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            named |= {alias.name.split(".")[0] for alias in node.names}
    assert "configs" not in named


def test_an_installation_has_them_inside_the_package(tmp_path):
    """Beside a stranger's top-level package configs, which is not taken."""
    package, strange = tmp_path / "lob_jax", tmp_path / "configs"
    shutil.copytree(FOLDER, package / "configs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__", "configs", "errors", "settings"):
        shutil.copy(ROOT / "lob_jax" / f"{name}.py", package)
    strange.mkdir()
    (strange / "base.py").write_text("raise AssertionError('taken from another package')\n")
    code = """
import lob_jax.configs
from lob_jax.configs import multi_scale
config = multi_scale.get_config("tiny")
print(lob_jax.configs.FOLDER, len(lob_jax.configs.bundled()), config.model.attention.kind, config.model.d_model)
"""
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(package / "configs"), str(len(FILES)), "multi_scale", "64"]
