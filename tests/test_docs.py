"""The pages of docs/ that are made from docstrings say what the docstrings say now."""

import pathlib
import runpy

import pytest

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
PAGES = runpy.run_path(str(DOCS / "build.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name):
    assert (DOCS / name).read_text() == PAGES[name](), "run `python docs/build.py`"


def test_every_module_has_a_first_line():
    empty = [line for line in (DOCS / "modules.md").read_text().splitlines() if line.endswith(") |  |")]
    assert empty == []
