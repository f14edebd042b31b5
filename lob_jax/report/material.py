"""Read what a run's folder holds, and say what it does not."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from lob_jax.report.section import Picture

FILES = {  # what a report is made of, and what writes it
    "config.json": "--mode=train",
    "records/records.json": "--mode=prepare",
    "metrics.jsonl": "--mode=train",
    "evaluation.json": "--mode=evaluate",
    "audit.json": "--mode=audit",
    "fidelity.json": "--mode=generate with --config.generate.prompts",
    "score.json": "--mode=score",
    "faults.json": "python -m lob_jax.bench.faults",
    "forecast.json": "--mode=forecast",
}
GENERATED = "generated"


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """The results in a run's folder.

    Attributes:
      name: the name of the folder.
      found: the content of each file that exists, parsed, by its name in the folder.
      missing: for each other file, why it is not there.
      generated: the newest folder of generated paths: its "name", and the content of its JSON files by name; empty if
        there is none.
      pictures: pictures that need the model or the market data, by name.
      no_picture: why others could not be made, by name.
    """

    name: str
    found: Mapping[str, Any]
    missing: Mapping[str, str]
    generated: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pictures: Mapping[str, Picture] = dataclasses.field(default_factory=dict)
    no_picture: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def get(self, name: str) -> Any:
        """Return the content of a file, or None."""
        return self.found.get(name)


def read_material(folder: pathlib.Path) -> Material:
    """Read the results in a run's folder; a file that cannot be read counts as missing, with the reason."""
    found, missing = {}, {}
    for name, source in FILES.items():
        content, reason = _read(folder / name)
        if reason is None:
            found[name] = content
        else:
            missing[name] = f"{name} {reason}; {source} writes it"
    if "fidelity.json" not in found:
        found |= _newest_fidelity(folder, missing)
    return Material(folder.resolve().name, found, missing, generated=newest_generated(folder))


def newest_generated(folder: pathlib.Path) -> dict[str, Any]:
    """Return the newest result in `generated/`: its name and its JSON files; empty if there is none."""
    results = [path for path in (folder / GENERATED).glob("*") if path.is_dir() and not path.name.startswith(".")]
    if not results:
        return {}
    newest = max(results, key=lambda path: (path.stat().st_mtime, path.name))
    contents = {file.name: _read(file)[0] for file in sorted(newest.glob("*.json"))}
    return {"name": newest.name, **{name: content for name, content in contents.items() if content is not None}}


def _newest_fidelity(folder: pathlib.Path, missing: dict[str, str]) -> dict[str, Any]:
    """Return the fidelity of the newest generated result that has one, in the place of the folder's own."""
    files = sorted((folder / GENERATED).glob("*/fidelity.json"), key=lambda path: path.stat().st_mtime)
    for file in reversed(files):
        content, reason = _read(file)
        if reason is None:
            missing.pop("fidelity.json", None)
            return {"fidelity.json": content}
    return {}


def _read(path: pathlib.Path) -> tuple[Any, str | None]:
    """Return the content of a JSON or JSONL file, and None; or None, and why it cannot be read."""
    if not path.exists():
        return None, "does not exist"
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()], None
        return json.loads(text), None
    except (OSError, ValueError) as error:
        return None, f"cannot be read ({error})"
