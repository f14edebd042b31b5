"""A wheel of lob_jax runs in an empty folder: it has every module, its configurations and its command."""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import lob_jax
from lob_jax.configs import bundled

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETUPTOOLS = 77  # pyproject.toml asks for it; the first that takes its licence as it is written


def done(*words: object, cwd: pathlib.Path, **variables: str) -> subprocess.CompletedProcess:
    result = subprocess.run(
        list(map(str, words)), cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> pathlib.Path:
    """Return a folder in which a wheel, made of a copy of the sources, is installed."""
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    if int(version.split(".")[0]) < SETUPTOOLS:
        pytest.skip(f"needs setuptools {SETUPTOOLS} or later, to build a wheel; there is {version}")
    folder = tmp_path_factory.mktemp("install")
    source, target = folder / "source", folder / "site"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("lob_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    done(*pip, "wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name.startswith(f"lob_jax-{lob_jax.__version__}-")
    done(*pip, "install", "--no-deps", "--no-index", f"--target={target}", wheel, cwd=folder)
    return target


@pytest.mark.slow
def test_a_wheel_holds_every_module_and_no_package_of_another_name(installed):
    there = {str(path.relative_to(installed)) for path in installed.rglob("*.py")}
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "lob_jax").rglob("*.py")}
    assert there == wanted | {f"lob_jax/configs/{file.name}" for file in bundled().values()}


@pytest.mark.slow
def test_a_wheel_holds_the_rules_of_alerts_and_the_dashboard(installed):
    folder = pathlib.Path("lob_jax/serving/monitoring")
    wanted = {
        path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.suffix in (".yml", ".json")
    }
    there = {path.relative_to(installed / folder) for path in (installed / folder).rglob("*.[yj]*")}
    assert there == wanted and len(wanted) >= 5


@pytest.mark.slow
def test_the_command_runs_in_an_empty_folder(installed, tmp_path):
    """By its own modules and configurations, not those of the checkout."""

    def told(*arguments: str) -> str:
        script = installed / "bin" / "lob-jax"
        return done(sys.executable, script, *arguments, cwd=tmp_path, PYTHONPATH=str(installed)).stdout

    assert told("--version") == f"lob_jax {lob_jax.__version__}\n"
    assert f"--config=NAME uses one of them, from {installed / 'lob_jax' / 'configs'};" in told("--mode=configs")
    for named in ("tiny", "configs/tiny.py", "multi_scale:tiny"):
        assert "3 layers x 64 wide x 4 heads" in told(f"--config={named}", "--mode=summary")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.py").write_text(told("--config=tiny", "--mode=show_config"))
    assert told("--config=mine.py", "--mode=show_config") == (tmp_path / "mine.py").read_text()
