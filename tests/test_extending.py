"""The worked examples of docs/extending.md, applied to a copy of the repository: their suites pass, no list is edited.

All of them are applied together, which is enough to see what any one of them changes.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest

from lob_jax.evaluation.metric import METRICS
from lob_jax.feeds.format import FEEDS
from lob_jax.feeds.load import load_incremental_data
from lob_jax.models.attention.kind import KINDS
from lob_jax.training.step.objective import OBJECTIVES
from tests.feeds.checks import assert_round_trip, final_levels, sample_of
from tests.mutate import ROOT, copy_of_project

PAGE = (ROOT / "docs" / "extending.md").read_text()
GENERATED = {
    f"docs/{page}.md" for page in ("modules", "data", "training", "models", "evaluation")
}  # by `python docs/build.py`
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`(\S+\.py)`\n\n```python\n(.*?)```", re.MULTILINE | re.DOTALL)
EXAMPLES = {title: dict(files) for title, text in SECTION.findall(PAGE) if (files := FILE.findall(text))}
NAMES = ("confidence", "event_heads", "sliding", "toy")
SUITES = (
    *("tests/test_registry.py", "tests/test_docs.py", "tests/feeds/test_conformance.py"),
    *("tests/models/attention/test_kind.py", "tests/training/step/test_objective.py"),
    "tests/evaluation/test_metric.py",
)


def files_of(root):
    """Return the content of every file of a copy, by its path, what Python makes of them left out."""
    paths = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def run(root, *command):
    """Run Python in a copy; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return a copy of the repository."""
    folder = tmp_path_factory.mktemp("extended")
    (folder / "day").mkdir()
    day = load_incremental_data(sample_of("tardis").write(folder / "day"))  # compiles what a feed of levels needs
    assert_round_trip(day)
    assert final_levels(day)
    root = copy_of_project(folder)
    return root


@pytest.fixture(scope="module")
def extended(original):
    """Return the copy with every example applied, the files before, and those after."""
    before = files_of(original)
    for example in EXAMPLES.values():
        for name, code in example.items():
            (original / name).parent.mkdir(exist_ok=True)
            (original / name).write_text(code)
    run(original, "docs/build.py")
    return original, before, files_of(original)


def test_every_registry_has_its_example():
    for registry in (METRICS, OBJECTIVES, KINDS, FEEDS):
        folder, _, rest = f"lob_jax/{registry.files}".partition("*")
        assert any(name.startswith(folder) and name.endswith(rest) for files in EXAMPLES.values() for name in files)
        assert f"`{registry.attribute}`" in PAGE and f"{folder}NAME{rest}" in PAGE


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_one_file_and_at_most_two_more(title):
    assert 1 <= len(EXAMPLES[title]) <= 3
    assert not any((ROOT / name).exists() for name in EXAMPLES[title])


@pytest.mark.slow
def test_nothing_is_edited_by_hand(extended):
    _, before, after = extended
    assert after.keys() - before.keys() == {name for files in EXAMPLES.values() for name in files}
    assert {name for name in before if after[name] != before[name]} == GENERATED


@pytest.mark.slow
def test_the_tables_have_them(extended):
    pages = "".join(extended[2][name].decode() for name in GENERATED)
    for cell in ("| `toy` |", "| `sliding` |", "| `event_heads` |", "| confident | `confident_share` |"):
        assert cell in pages


@pytest.mark.slow
def test_their_suites_pass(extended):
    chosen = " or ".join([*NAMES, "test_registry", "test_docs"])
    printed = run(extended[0], "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-k", chosen, *SUITES)
    passed = int(re.search(r"(\d+) passed", printed)[1])
    assert passed > 60, printed


@pytest.mark.slow
def test_what_is_removed_leaves_nothing(extended):
    root, before, _ = extended
    for example in EXAMPLES.values():
        for name in example:
            (root / name).unlink()
    shutil.rmtree(root / "lob_jax" / "feeds" / "toy")
    run(root, "docs/build.py")
    assert files_of(root) == before
