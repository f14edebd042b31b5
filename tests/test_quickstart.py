"""docs/quickstart.ipynb runs from an empty folder, and what it shows is what is stored.

`UPDATE_GOLDEN=1 pytest tests/test_quickstart.py` stores what it shows now.
"""

import os
import pathlib

import pytest

nbclient = pytest.importorskip("nbclient", reason="the extra [test] brings nbclient")
nbformat = pytest.importorskip("nbformat", reason="the extra [test] brings nbformat")
pytest.importorskip("ipykernel", reason="the extra [test] brings ipykernel")

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
PATH = os.environ.get("PYTHONPATH", "")


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def shown(stored, tmp_path_factory):
    """Run the notebook as a user's would be: in a folder of its own, on the devices that there are."""
    folder, notebook = tmp_path_factory.mktemp("quickstart"), nbformat.from_dict(stored)
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{PATH}", "XLA_FLAGS": "", "IPYTHONDIR": str(folder / "ipython")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment, "JUPYTER_RUNTIME_DIR": str(folder / "jupyter")}.items():
            patch.setenv(name, value)
        where = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(notebook, timeout=600, coalesce_streams=True, resources=where).execute()
    if os.environ.get("UPDATE_GOLDEN"):
        store(notebook)
    return notebook


def store(notebook):
    """Write the notebook without what differs from run to run: times, counts and the version of Python."""
    notebook.metadata.language_info = {"name": "python"}
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, NOTEBOOK)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell):
    return "".join(out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout")


def kinds_of(cell):
    return [(out.output_type, sorted(out.get("data", {}))) for out in cell.outputs]


@pytest.mark.slow
def test_it_shows_what_is_stored(stored, shown):
    for before, after in zip(code_cells(stored), code_cells(shown), strict=True):
        assert kinds_of(before) == kinds_of(after), after.source
        if "exact" in after.metadata.get("tags", ()):  # the others depend on how a CPU rounds
            assert text_of(before) == text_of(after)
        assert all(out.get("name") != "stderr" for out in after.outputs), after.outputs


@pytest.mark.slow
def test_every_generated_event_can_happen(shown):
    assert any("cannot have happened: 0\n" in text_of(cell) for cell in code_cells(shown))


def test_what_is_stored_has_its_figures_and_names_no_place_of_a_machine(stored):
    images = [out for cell in code_cells(stored) for out in cell.outputs if "image/png" in out.get("data", {})]
    assert len(images) == 2
    assert all(cell.outputs for cell in code_cells(stored))
    assert "/home/" not in NOTEBOOK.read_text() and "/tmp/" not in NOTEBOOK.read_text()
