"""The list of mutants fits the source: each one changes one place, and names tests that are there and run."""

import ast
import collections

import pytest

from tests.mutate import ROOT, mutants

MUTANTS = mutants()


def is_slow(function: ast.FunctionDef) -> bool:
    return any(
        "slow" in ast.unparse(decorator) and "param" not in ast.unparse(decorator)
        for decorator in function.decorator_list
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_changes_one_place_into_python_and_names_tests_that_run(mutant):
    changed = mutant.source(ROOT)
    ast.parse(changed)
    assert changed != (ROOT / mutant.file).read_text()
    assert mutant.tests
    all_run = all("::" in name for name in mutant.tests)  # otherwise the slow ones are left out, see `run_tests`
    for name in mutant.tests:
        path, _, function = name.partition("::")
        found = {
            node.name: node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)
        }
        assert not function or all_run or not is_slow(found[function.partition("[")[0]])


def test_sixty_mutants_over_all_parts():
    assert len(MUTANTS) >= 60 and len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    parts = collections.Counter(mutant.file.split("/")[1] for mutant in MUTANTS)
    packages = {path.parent.name for path in (ROOT / "lob_jax").glob("*/__init__.py")} - {"bench", "stages"}
    assert packages <= set(parts)
