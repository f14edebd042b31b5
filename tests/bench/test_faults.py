"""The benchmark of faults: a table, a figure and one JSON object, of a simulated day or of files."""

import json

import pytest

from lob_jax.bench import faults
from lob_jax.evaluation.fidelity.faults.planted import FAULTS


@pytest.mark.slow
def test_a_table_a_figure_and_one_json_object(tmp_path, capsys):
    arguments = ["--simulated", "3000", "--events", "50", "--counts", "4,8", "--draws", "20"]
    faults.main([*arguments, "--write", str(tmp_path / "new")])
    *lines, last = capsys.readouterr().out.splitlines()
    about, matrix = json.loads(last), json.loads((tmp_path / "new" / "faults.json").read_text())
    assert about["counts"] == [4, 8] and len(about["faults"]) == 12 and about["seconds"] > 0
    assert len(matrix["rows"]) > 50 and (tmp_path / "new" / "faults.png").stat().st_size > 50_000
    for fault in FAULTS:
        assert any(line.endswith(f"{fault.label}, in the {fault.changes}") for line in lines)
        assert sum(line.startswith(f"{fault.label}: ") for line in lines) == 1
    assert sum(line.startswith("  ") for line in lines) >= len(matrix["rows"])
    assert any(line.startswith("detect no fault: ") for line in lines)


def test_the_best_scores_of_a_fault_are_named():
    def row(label, smallest):
        return {"label": label, "statistics": {"l1": {"f": {"smallest": smallest}}}}

    rows = [row("a", None), row("b", 8), row("c", 4), row("d", 4)]
    assert faults.best_of(rows, {"name": "f", "label": "fault"}, "l1") == "fault: by 3 of 4, from 4 sequences by c; d"
    assert faults.best_of(rows[:1], {"name": "f", "label": "fault"}, "l1") == "fault: detected by none"
