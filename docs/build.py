"""Write the pages of `docs/` that are made from docstrings: `python docs/build.py`.

tests/test_docs.py says so when one of them is out of date.
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lob_jax"
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


PAGES = {"modules.md": modules}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())


if __name__ == "__main__":
    main()
