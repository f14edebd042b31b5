"""Change the source, one line at a time, and see that the tests notice: `python -m tests.mutate [name ...]`.

Each entry of mutants.toml names a file, a piece of its text, what to put in its place, and the tests that must fail
then. The changes are made in a copy; without names all of them are tried. It takes about an hour on two cores, so no
other test runs it: tests/test_mutants.py only sees that every entry still fits the source.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

from rich.console import Console
from rich.table import Table

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "mutants.toml"
FAILED = 1  # pytest's exit status where tests failed; any other but 0 says that they could not be run
TIMEOUT_S = 1_200


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change of the source.

    Attributes:
      name: what is wrong then, in a few words.
      file: the source, from the root.
      find: a piece of its text that occurs once.
      replace: what to put in its place.
      tests: what must fail, as pytest names it.
      survives: why no test can see it; empty of all others.
    """

    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]
    survives: str = ""

    def source(self, root: pathlib.Path) -> str:
        """Return the changed source."""
        text = (root / self.file).read_text()
        if text.count(self.find) != 1:
            raise SystemExit(f"{self.name}: {self.find!r} occurs {text.count(self.find)} times in {self.file}")
        return text.replace(self.find, self.replace)


def mutants() -> list[Mutant]:
    """Return all entries of the list."""
    entries = tomllib.loads(LIST.read_text())["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def copy_of_project(folder: pathlib.Path) -> pathlib.Path:
    """Copy what Git knows, with its times, which compiled code is kept by; market data stays where it is."""
    root = folder / "project"
    for name in subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    if (ROOT.parent / "shared").exists():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return root


def run_tests(root: pathlib.Path, tests: tuple[str, ...]) -> int:
    """Run tests in a copy; return pytest's exit status, FAILED also for a crash or no end.

    Of a file that is named without a test, the fast ones run.
    """
    chosen = () if all("::" in test for test in tests) else ("-m", "not slow")
    command = [sys.executable, "-m", "pytest", "-q", "-x", *chosen, "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["XDG_CACHE_HOME"] = str(root.with_name("cache"))  # compiled code of changed sources goes with the copy
    try:
        status = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=TIMEOUT_S).returncode
    except subprocess.TimeoutExpired:
        return FAILED
    return status if status >= 0 else FAILED


def verdict(root: pathlib.Path, mutant: Mutant) -> str:
    """Return "killed", "survived" or, where the tests could not be run, "broken"."""
    path = root / mutant.file
    before = path.stat()
    original, changed = path.read_text(), mutant.source(root)
    try:
        path.write_text(changed)
        status = run_tests(root, mutant.tests)
    finally:
        path.write_text(original)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return {FAILED: "killed", 0: "survived"}.get(status, "broken")


def main(names: list[str]) -> int:
    """Try the mutants of these names, or all; return the exit status."""
    console = Console(soft_wrap=True)
    chosen = [mutant for mutant in mutants() if not names or mutant.name in names]
    if names and len(chosen) < len(set(names)):
        console.print("no such mutant:", *sorted(set(names) - {mutant.name for mutant in chosen}), sep="\n  ")
        return 2
    shown, verdicts = Table("mutant", "file", "verdict", "seconds"), {}
    with tempfile.TemporaryDirectory() as folder:
        root = copy_of_project(pathlib.Path(folder))
        tests = tuple(sorted({test for mutant in chosen for test in mutant.tests}))
        if run_tests(root, tests) != 0:
            console.print("the tests of the list do not pass as they are")
            return 2
        for mutant in chosen:
            start = time.monotonic()
            verdicts[mutant.name] = verdict(root, mutant)
            console.print(f"{verdicts[mutant.name]:<9} {mutant.name}")
            shown.add_row(mutant.name, mutant.file, verdicts[mutant.name], f"{time.monotonic() - start:.0f}")
    console.print(shown)
    alive = [mutant for mutant in chosen if verdicts[mutant.name] != "killed" and not mutant.survives]
    console.print(json.dumps({"mutants": len(chosen), "killed": list(verdicts.values()).count("killed")}))
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
