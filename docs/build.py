"""Write what documentation is made of code, `python docs/build.py`: pages of `docs/` from docstrings, tables of the
README from the registries, each between two marks such as `<!-- feeds -->` and `<!-- /feeds -->`.

tests/test_docs.py says so when one of them is out of date.
"""

import ast
import functools
import pathlib
import re
import sys
from collections.abc import Iterable, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lob_jax"
sys.path.insert(0, str(ROOT))  # the tables are of this checkout, whatever is installed
GENERATED = "<!-- Written by docs/build.py: change the docstrings, not this page. -->"


def first_line(path: pathlib.Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]


def modules() -> str:
    """Return the page of all modules, folder by folder, each with the first line of its docstring."""
    lines = ["# Modules", "", GENERATED, ""]
    for folder in sorted({path.parent for path in PACKAGE.rglob("*.py")}):
        name = "/".join(folder.relative_to(ROOT).parts)
        files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
        lines += [f"## `{name}/`", "", first_line(folder / "__init__.py"), ""]
        if files:
            lines += ["| module | |", "|---|---|"]
            lines += [f"| [`{path.name}`](../{name}/{path.name}) | {_in_cell(first_line(path))} |" for path in files]
            lines.append("")
    return "\n".join(lines)


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    shown = [heads, *([_in_cell(cell) for cell in line] for line in lines)]
    first, *rest = ["".join(f"| {cell} " if cell else "| " for cell in line) + "|\n" for line in shown]
    return "".join([first, "|---" * len(heads) + "|\n", *rest])


def feeds() -> str:
    """Return the table of feeds."""
    from lob_jax.feeds.format import FEEDS

    lines = [(f"`{name}`", format.reads, format.gives) for name, format in FEEDS.items()]
    lines.append(("`synthetic`", "nothing: it simulates", "orders"))
    auto = "whichever of these the files at `--config.data.path` are; without a path, the simulator"
    return table(("`--config.data.feed=`", "reads", "as"), [*lines, ("`auto` (default)", auto, "")])


def kinds() -> str:
    """Return the table of the kinds of attention; one that has a configuration of its name is shown with it."""
    from lob_jax.models.attention.kind import KINDS

    lines = []
    for name, kind in KINDS.items():
        config = f"`{name}.py`" if (ROOT / "configs" / f"{name}.py").exists() else ""
        generates = "yes" if kind.pattern is not None else "no: it has no cache"
        lines.append((f"`{name}`", kind.sees, ", ".join(f"`{key}`" for key in kind.settings), config, generates))
    heads = ("`--config.model.attention.kind=`", "each token sees", "settings", "config", "generates")
    return table(heads, lines)


def objectives() -> str:
    """Return the table of objectives."""
    from lob_jax.training.step.objective import OBJECTIVES

    lines = [
        (f"`{name}`", objective.predicts, "the past" if objective.causal else "both sides (`model.causal=False`)")
        for name, objective in OBJECTIVES.items()
    ]
    return table(("`--config.train.objective=`", "predicts", "sees"), lines)


def metrics() -> str:
    """Return the table of the figures of next-token predictions; a part is indented, as `Row.label` is."""
    from lob_jax.evaluation.metric import rows

    labels = [(row.label.strip(), "&emsp;" * row.label.startswith(" "), row) for row in rows()]
    lines = [(indent + label, f"`{row.key}`", row.meaning) for label, indent, row in labels]
    return table(("figure", "in `evaluation.json`", "what it is"), lines)


TABLES = {"feeds": feeds, "kinds": kinds, "objectives": objectives, "metrics": metrics}
MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def with_tables(page: str) -> str:
    """Return a page, by its path from the root, with each marked table as it is now."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", (ROOT / page).read_text())


PAGES = {"modules.md": modules, "../README.md": functools.partial(with_tables, "README.md")}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())


if __name__ == "__main__":
    main()
