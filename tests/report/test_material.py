"""What a run's folder holds is read, and what it does not hold has a reason."""

import json
import os

from lob_jax.report.material import FILES, newest_generated, read_material


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_files_are_read_and_the_others_have_a_reason(tmp_path):
    run = tmp_path / "run"
    write(run / "evaluation.json", {"split": "test"})
    write(run / "metrics.jsonl", '{"step": 1}\n\n{"step": 2}\n')
    write(run / "config.json", "{not json")
    material = read_material(run)
    assert material.name == "run" and material.get("evaluation.json") == {"split": "test"}
    assert material.get("metrics.jsonl") == [{"step": 1}, {"step": 2}]
    assert set(material.missing) == set(FILES) - {"evaluation.json", "metrics.jsonl"}
    assert "cannot be read" in material.missing["config.json"]
    assert material.missing["forecast.json"] == "forecast.json does not exist; --mode=forecast writes it"
    assert material.get("forecast.json") is None and material.generated == {}


def test_the_newest_generated_result_counts_and_partial_ones_do_not(tmp_path):
    for when, name in enumerate(("002", "001", ".partial-7")):
        write(tmp_path / "generated" / name / "settings.json", {"seed": when})
        os.utime(tmp_path / "generated" / name, (when, when))
    assert newest_generated(tmp_path) == {"name": "001", "settings.json": {"seed": 1}}


def test_the_fidelity_of_the_newest_result_that_has_one_stands_in(tmp_path):
    for when, name in enumerate(("001", "002")):
        write(tmp_path / "generated" / name / "fidelity.json", {"seed": when})
        os.utime(tmp_path / "generated" / name / "fidelity.json", (when, when))
    material = read_material(tmp_path)
    assert material.get("fidelity.json") == {"seed": 1} and "fidelity.json" not in material.missing
    write(tmp_path / "fidelity.json", {"seed": 9})
    assert read_material(tmp_path).get("fidelity.json") == {"seed": 9}
