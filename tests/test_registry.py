"""A registry finds what lies in its folder and says what does not; what belongs into one lies nowhere else."""

import ast
import pathlib
import subprocess
import sys

import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.metric import METRICS
from lob_jax.feeds.format import FEEDS
from lob_jax.models.attention.kind import KINDS
from lob_jax.registry import PACKAGE, Registry
from lob_jax.training.step.objective import OBJECTIVES

REGISTRIES = [FEEDS, KINDS, OBJECTIVES, METRICS]
every_registry = pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.attribute)


@every_registry
def test_every_module_of_the_folder_defines_its_entry(registry):
    assert len(registry) == len(registry.items()) > 1


@every_registry
def test_every_name_can_be_typed(registry):
    assert all(name.isidentifier() and name == name.lower() for name in registry)


@every_registry
def test_what_stands_first_is_there(registry):
    assert registry.names()[: len(registry.first)] == registry.first
    rest = registry.names()[len(registry.first) :]
    assert list(rest) == sorted(rest)


@every_registry
def test_a_slip_is_told_what_was_meant(registry):
    name = registry.first[0]
    with pytest.raises(InputError, match=f"did you mean {name}") as caught:
        registry[name + "x"]
    assert caught.value.where == registry.where and name + "x" not in registry


def test_names_are_found_without_importing_what_they_name():
    code = """
import sys
from lob_jax.feeds.format import FEEDS
from lob_jax.models.attention.kind import KINDS
from lob_jax.training.step.objective import OBJECTIVES
names = [list(registry) for registry in (FEEDS, KINDS, OBJECTIVES)]
assert all(names), names
assert KINDS.unknown("ful") and "full" in KINDS
print([name for name in sys.modules if name.split(".")[0] in ("jax", "flax", "polars")])
"""
    root = pathlib.Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a registry over a package in a temporary folder, and where its modules lie."""
    package = tmp_path / "lob_jax" / "toys"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr("lob_jax.registry.PACKAGE", tmp_path / "lob_jax")
    monkeypatch.setattr("lob_jax.__path__", [str(tmp_path / "lob_jax")])
    registry = Registry("toy", files="toys/*.py", attribute="TOY", of=int, where="config.toy", first=("train",))
    yield registry, package
    for name in [name for name in sys.modules if name.startswith("lob_jax.toys")]:
        del sys.modules[name]


def test_a_new_module_is_found_and_a_private_one_is_not(folder):
    registry, package = folder
    for name in ("whistle", "train", "ball", "doll", "_shared"):
        (package / f"{name}.py").write_text("TOY = 3\n")
    assert registry.names() == ("train", "ball", "doll", "whistle") and registry["ball"] == 3


@pytest.mark.parametrize("source", ["", "TOY = 'a doll'\n"])
def test_a_module_without_its_entry_says_what_is_missing(folder, source):
    registry, package = folder
    (package / "doll.py").write_text(source)
    with pytest.raises(TypeError, match=r"lob_jax\.toys\.doll defines no TOY of type int[\s\S]*lob_jax/toys/\*\.py"):
        registry["doll"]


def test_entries_lie_in_their_folder_alone():
    """An entry elsewhere would be imported by whoever knows of it, and found by nobody else."""
    types = {registry.of.__name__: registry for registry in REGISTRIES}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            made = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if made in types:
                assert path.relative_to(PACKAGE).match(types[made].files), f"{path}, line {node.lineno}: {made}"


def public_methods(source):
    """Return the names of the methods of each class of a module."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return [{part.name for part in one.body if isinstance(part, ast.FunctionDef)} for one in classes]


@pytest.mark.parametrize(
    ("folder", "files", "registry", "methods", "others"),
    [
        ("feeds", FEEDS.files, FEEDS, {"days", "inputs", "read"}, {"feeds/feed.py", "feeds/synthetic.py"}),
        ("models/attention", "models/attention/mixers/*.py", KINDS, {"__call__", "weights"}, set()),
    ],
    ids=["feeds", "kinds"],
)
def test_what_looks_like_an_entry_is_one(folder, files, registry, methods, others):
    looks_like = {
        path.relative_to(PACKAGE).as_posix()
        for path in (PACKAGE / folder).rglob("*.py")
        if any(methods <= found for found in public_methods(path.read_text()))
    }
    entries = {files.replace("*", name) for name in registry}
    assert looks_like == entries | others
