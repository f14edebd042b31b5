"""The stages that show configurations: list the bundled ones, or print one with the meaning of each key."""

import ast
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
from rich.table import Table

import lob_jax
from lob_jax.configs import FOLDER, bundled
from lob_jax.console import console, show
from lob_jax.settings import defaults, kinds_of, value_of

HEADING = """The complete configuration, as `--mode=show_config` of lob_jax {} printed it: a file for --config.

Where a value differs from configs/base.py, the end of the line gives the value there.
"""
FUNCTION = "Return the configuration."


def configs(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Print the bundled configurations, one per line; write nothing."""
    del config, workdir
    shown = Table(show_header=False, box=None)
    for name, file in bundled().items():
        line, sized = described(file.read_text(encoding="utf-8"))
        shown.add_row(f"{name}[:SIZE]" if sized else name, line)
    show(shown)
    console.print(f"\n--config=NAME uses one of them, from {FOLDER}; SIZE is tiny, small, base or large")


def described(source: str) -> tuple[str, bool]:
    """Return the first line of a configuration's docstring, and whether the configuration takes a size."""
    tree = ast.parse(source)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "get_config"]
    return (ast.get_docstring(tree) or "").split("\n")[0], any(function.args.args for function in functions)


def show_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Print a configuration as a Python file that returns it; write nothing."""
    del workdir
    base = defaults()
    now = {key: value_of(config, key) for key in kinds_of(base)}
    before = {key: value_of(base, key) for key in now}
    source = bundled()["base"].read_text(encoding="utf-8")
    console.out(config_source(source, now, before), highlight=False, end="")


@dataclasses.dataclass(frozen=True)
class _Edit:
    """A span of a source to replace, in bytes from its beginning, and a remark for the end of its line."""

    start: int
    end: int
    text: str
    mark: str = ""


def config_source(base: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the source of a configuration: that of base.py, with its comments and with other values.

    Args:
      base: the source of configs/base.py.
      values: the value of every key, `section.key`.
      defaults: the values in base.py; lines that differ are marked with them.
    """
    tree, starts = ast.parse(base), _line_starts(base)
    edits = [_edit(node, starts, _docstring(text)) for node, text in _docstrings(tree)]
    for key, node in _assigned(tree).items():
        if values[key] != defaults[key]:
            mark = f"[base.py: {_written(defaults[key])}]"
            edits.append(_edit(node, starts, _written(values[key]), mark))
    source = base.encode()  # ast counts columns in UTF-8 bytes
    # From the end to the beginning, so that the offsets of the remaining edits stay valid.
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        line_end = source.index(b"\n", edit.end)
        rest = _marked(source[edit.end : line_end].decode(), edit.mark)
        source = source[: edit.start] + (edit.text + rest).encode() + source[line_end:]
    return source.decode()


def _docstrings(tree: ast.Module) -> list[tuple[ast.expr, str]]:
    """Return the docstrings of the file and of its function, each with its replacement."""
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    found = ((tree.body[0], HEADING.format(lob_jax.__version__)), (function.body[0], FUNCTION))
    return [(node.value, text) for node, text in found if isinstance(node, ast.Expr)]


def _docstring(text: str) -> str:
    return f'"""{text}"""'


def _assigned(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the expression of each key's value.

    A section is `config.data = data = ...`, and a key of it `data.path = ...`.
    """
    prefixes, found = {"config": ""}, {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign([ast.Attribute(ast.Name(owner), name), ast.Name(section)]):
                prefixes[section] = f"{prefixes[owner]}{name}."
            case ast.Assign([ast.Attribute(ast.Name(owner), name)], value):
                found[prefixes[owner] + name] = value
    return found


def _line_starts(source: str) -> list[int]:
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _edit(node: ast.expr, starts: list[int], text: str, mark: str = "") -> _Edit:
    start = starts[node.lineno - 1] + node.col_offset
    end = starts[node.end_lineno - 1] + node.end_col_offset  # ty: ignore[unsupported-operator]  # ast.parse sets both
    return _Edit(start, end, text, mark)


def _marked(rest: str, mark: str) -> str:
    """Return the rest of a line after a value, with a mark at the end of its comment, or as its comment."""
    if not mark:
        return rest
    return f"{rest} {mark}" if "#" in rest else f"{rest}  # {mark}"


def _written(value: object) -> str:
    """Return a value as Python source, with strings in double quotes."""
    if isinstance(value, tuple):
        parts = [_written(part) for part in value]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    return json.dumps(value) if isinstance(value, str) else repr(value)
