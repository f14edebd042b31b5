"""Numbers that compiled loops and device loops use: each has a name in one enumeration, and each fault its words."""

import ast
import enum
import importlib
import pathlib
import pkgutil

import pytest

import lob_jax.feeds
from lob_jax.feeds.reading.faults import FaultCode

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEVICE = ROOT / "lob_jax" / "generation" / "device"


def compiled_modules() -> list[pathlib.Path]:
    """Return the modules with loops: those that Numba compiles, and those of the device."""
    sources = sorted((ROOT / "lob_jax").rglob("*.py"))
    return [path for path in sources if "from lob_jax.jit import" in path.read_text() or path.parent == DEVICE]


def assigned(path: pathlib.Path) -> list[tuple[list[str], ast.expr]]:
    """Return what a module assigns: the names, and the value."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign):
            targets = [part for target in node.targets for part in getattr(target, "elts", [target])]
            found.append(([part.id for part in targets if isinstance(part, ast.Name)], node.value))
    return found


def fault_codes() -> list[type[FaultCode]]:
    """Return the faults of every feed."""
    for found in pkgutil.walk_packages(lob_jax.feeds.__path__, "lob_jax.feeds."):
        importlib.import_module(found.name)
    return FaultCode.__subclasses__()


def test_every_fault_code_has_its_own_words():
    codes = fault_codes()
    assert len(codes) >= 5
    for kind in codes:
        told = [code.what for code in kind if code.what]
        assert len(set(told)) == len(told), kind
        assert len(kind.__members__) == len(list(kind)), f"{kind} has two names for a number"
        numbers = sorted(code for code in kind)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), kind
        assert all(kind(int(code)).what == code.what for code in kind)  # which is how a loop's number is read


def test_codes_without_words_are_no_faults():
    """What a loop returns beside its faults: that all is well, and what a caller must see to."""
    wordless = {f"{kind.__module__}.{code.name}" for kind in fault_codes() for code in kind if not code.what}
    assert wordless == {
        "lob_jax.feeds.databento.checks.SOUND",
        "lob_jax.feeds.databento.records.WHOLE",
        "lob_jax.feeds.lobster.rows.FINE",
        "lob_jax.feeds.table.book.FINE",
        *(f"lob_jax.feeds.itch.codes.{name}" for name in "FINE DIRECTORY END_MARK TABLE_FULL ROWS_FULL".split()),
    }


@pytest.mark.parametrize("path", compiled_modules(), ids=lambda path: str(path.relative_to(ROOT / "lob_jax")))
def test_numbers_of_loops_are_named_by_an_enumeration(path):
    for names, value in assigned(path):
        counted = isinstance(value, ast.Call) and getattr(value.func, "id", "") == "range"
        assert not (counted and len(names) > 1), f"{names} are numbered by range(): make them an IntEnum"
        number = isinstance(value, ast.Constant) and type(value.value) is int
        assert not (number and names == ["fault"]), f"fault = {ast.unparse(value)}: name it in an IntEnum"


@pytest.mark.parametrize("path", compiled_modules(), ids=lambda path: str(path.relative_to(ROOT / "lob_jax")))
def test_plain_numbers_bear_the_names_of_their_members_in_order(path):
    """`A, B = (int(one) for one in Letters)` goes by places: a name out of place would be another number."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for names, value in assigned(path):
        source = value.generators[0].iter if isinstance(value, ast.GeneratorExp) else None
        kind = getattr(module, source.id, None) if isinstance(source, ast.Name) else None
        if not (isinstance(kind, type) and issubclass(kind, enum.IntEnum)):
            continue
        assert len(names) == len(kind)
        for name, member in zip(names, kind, strict=True):
            bare = name.lstrip("_")
            tail = bare.partition("_")[2]
            same = bare in ("", member.name) or member.name.endswith(f"_{bare}")
            assert same or (tail and tail in member.name), f"{name} for {member!r}"
            assert name == "_" or getattr(module, name) == member
