"""Write the generated parts of the documentation, `python docs/build.py`: pages from docstrings, and tables from the
registries, each between two marks such as `<!-- feeds -->` and `<!-- /feeds -->`.

tests/test_docs.py says so when one of them is out of date.
"""

import ast
import functools
import inspect
import pathlib
import re
import runpy
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


def escapes() -> str:
    """Return the table of the reasons why an event escapes from its set."""
    from lob_jax.tokens.sets.escape import Escape

    lines = [(f"`{reason.name.lower()}`", reason.told()) for reason in Escape if reason]
    return table(("reason", "what it is"), lines)


TABLES = {"escapes": escapes, "feeds": feeds, "kinds": kinds, "objectives": objectives, "metrics": metrics}
MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def with_tables(page: str) -> str:
    """Return a page, by its path from the root, with each marked table as it is now."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", (ROOT / page).read_text())


def api() -> str:
    """Return the page of the public names, section by section, each with its signature and its docstring."""
    lines = ["# Python interface", "", GENERATED, "", "What `import lob_jax` offers; each name is imported when it is"]
    lines += ["first used. [quickstart.ipynb](quickstart.ipynb) shows most of them at work.", ""]
    for title, homes in runpy.run_path(str(PACKAGE / "__init__.py"))["_SECTIONS"].items():
        lines += [f"## {title}", ""]
        for name, home in homes.items():
            module, _, defined = home.partition(":")
            lines += [*_entry(name, pathlib.PurePosixPath(module.replace(".", "/") + ".py"), defined), ""]
    return "\n".join(lines)


def _entry(name: str, path: pathlib.PurePosixPath, defined: str) -> list[str]:
    """Return the lines of one public name: its signature, where it is defined, its docstring, its methods."""
    tree = ast.parse((PACKAGE / path).read_text())
    (node,) = (node for node in tree.body if getattr(node, "name", None) == defined)
    inside = node.body if isinstance(node, ast.ClassDef) else []
    methods = {one.name: one for one in inside if isinstance(one, ast.FunctionDef)}
    called = methods.get("__init__") if inside else node
    signature = f"({_arguments(called)})" if called else ""
    returns = f" -> {ast.unparse(node.returns)}" if isinstance(node, ast.FunctionDef) and node.returns else ""
    link = f"[`lob_jax.{'.'.join(path.with_suffix('').parts)}.{defined}`](../lob_jax/{path})"
    docs = [ast.get_docstring(one) for one in (node, called) if one and ast.get_docstring(one)]
    lines = [f"### `{name}{signature}{returns}`", "", link, "", *_text("\n\n".join(dict.fromkeys(docs)))]
    told = [one for key, one in methods.items() if not key.startswith("_") and ast.get_docstring(one)]
    return lines + [""] * bool(told) + [_method(one) for one in told]


def _method(method: ast.FunctionDef) -> str:
    """Return the line of a method: how it is called, and the first line of its docstring."""
    called = "" if _is_property(method) else f"({_arguments(method)})"
    return f"* `.{method.name}{called}`: {ast.get_docstring(method).splitlines()[0]}"


def _arguments(function: ast.FunctionDef) -> str:
    """Return the arguments of a function as they are called: without self or cls."""
    text = ast.unparse(function.args)
    first, _, rest = text.partition(", ")
    return rest if first in ("self", "cls") else text


def _is_property(method: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in method.decorator_list)


def _text(docstring: str) -> list[str]:
    """Return a docstring as Markdown: what is indented below a heading such as "Args:" as a list, the rest as prose."""
    lines: list[str] = []
    listed = True
    for line in inspect.cleandoc(docstring).splitlines():
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            listed = line not in ("Returns:", "Yields:")
            lines += [line, ""] if line.endswith(":") else [line]
        elif depth > 2:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(_item(line.strip()) if listed else line.strip())
    return lines


def _item(line: str) -> str:
    """Return an argument and what it means as an item of a list."""
    name, colon, meaning = line.partition(": ")
    return f"* `{name}`: {meaning}" if colon else f"* {line}"


PAGES = {
    "modules.md": modules,
    "api.md": api,
    "data.md": functools.partial(with_tables, "docs/data.md"),
    "training.md": functools.partial(with_tables, "docs/training.md"),
    "models.md": functools.partial(with_tables, "docs/models.md"),
    "evaluation.md": functools.partial(with_tables, "docs/evaluation.md"),
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())


if __name__ == "__main__":
    main()
