"""The benches of variants: what is paired with what, what differs, and two of them from end to end."""

import json

import pytest

from lob_jax.bench import finetune
from lob_jax.bench.ablation import __main__ as ablation
from lob_jax.bench.ablation.variants import REFERENCES, VARIANTS, with_references
from lob_jax.bench.cell import (
    MANIPULATED,
    MEASURING,
    MOST_PARAMETERS,
    TESTED,
    manipulated,
    small_enough,
    trained_by,
)
from lob_jax.config.sections import model_config
from lob_jax.errors import InputError
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.models.accounting import parameter_count
from lob_jax.runs.load import Run
from lob_jax.writers.lobster import write_lobster


@pytest.fixture
def day(tmp_path):
    """Return a simulated day as a LOBSTER pair."""
    one = SyntheticFeed(1, 6_000, 0).read("2024-01-02")
    return write_lobster(tmp_path, one, levels=10).message


def chosen(tmp_path, *arguments):
    path = tmp_path / "AAPL_2012-06-21_34200000_57600000_message_10.csv"
    path.touch()
    return ablation.parsed(["--path", str(path), "--folder", str(tmp_path), *arguments])


def test_variants_are_small_and_differ_from_their_reference_in_their_changes_alone(tmp_path):
    found = {cell.variant: cell for cell in ablation.cells(chosen(tmp_path, "--seeds", "1"))}
    assert list(found) == list(VARIANTS)
    for name, cell in found.items():
        config = cell.config()
        assert parameter_count(model_config(config)) <= MOST_PARAMETERS
        reference = found[REFERENCES.get(name, name)]
        differ = {key for key in cell.changes if cell.changes[key] != reference.changes.get(key)}
        expected = VARIANTS[name].changes.items() - VARIANTS[reference.variant].changes.items()
        assert differ == {key for key, _ in expected} and bool(differ) == (name in REFERENCES)
        assert cell.changes["train.steps"] == (300 if cell.start is None else 150)
        assert cell.start == reference.start


def test_what_goes_on_starts_from_the_run_of_its_seed_and_after_it(tmp_path):
    found = ablation.cells(chosen(tmp_path, "--rows", "own_flow", "--seeds", "2", "--steps", "3"))
    assert [cell.variant for cell in found[::2]] == ["plain", "gone_on", "own_flow"]
    starts = {(cell.variant, cell.seed): cell.start for cell in found}
    for seed, plain in enumerate(found[:2]):
        assert starts["gone_on", seed] == starts["own_flow", seed] == plain.folder and plain.start is None
    assert [cell.changes["train.steps"] for cell in found[1::2]] == [3, 2, 2]


def test_seeds_are_those_of_the_reference(tmp_path):
    found = ablation.cells(chosen(tmp_path, "--rows", "warp,mirror", "--seeds", "2"))
    names = [(cell.variant, cell.seed, cell.config().seed) for cell in found]
    assert names == [(name, seed, seed) for name in ("plain", "mirror", "warp") for seed in (0, 1)]
    assert len({cell.folder for cell in found}) == 6 and len({cell.records for cell in found}) == 1


def test_references_are_added_in_order():
    assert with_references(["next_tokens"]) == ["no_pointer", "next_tokens"]
    assert with_references(["own_flow"]) == ["plain", "gone_on", "own_flow"]
    assert with_references(["warp", "mirror"]) == ["plain", "mirror", "warp"]


def test_what_is_measured_decides_nothing_that_is_trained():
    changes = {"train.steps": 3, "generate.prompts": 2, "score.splits": 4, "evaluate.direction_events": 1}
    assert trained_by(changes) == {"train.steps": 3} and set(MEASURING) >= {TESTED}


def test_robustness_is_the_mean_over_the_patterns(monkeypatch, tmp_path):
    one = {"difference": 0.5, "macro_f1_manipulated": 0.4, "bits_clean": 20.0}
    both = {"spoofing": one, "stuffing": {**one, "difference": 1.5, "macro_f1_manipulated": 0.2}}
    monkeypatch.setattr("lob_jax.bench.cell.robustness", lambda *_, **how: both)
    (cell,) = ablation.cells(chosen(tmp_path, "--rows=plain", "--seeds=1", "--manipulated=spoofing,stuffing"))
    run = Run(tmp_path, cell.config(), None, None, None, None)
    monkeypatch.setattr(Run, "beside", None)
    found = manipulated(run)
    assert found == {
        "figures": {"bits_lost": 1.0, "macro_f1_manipulated": pytest.approx(0.3)},
        "robustness": both,
    }
    both["stuffing"]["macro_f1_manipulated"] = None  # a model that does not predict the direction
    assert manipulated(run)["figures"] == {"bits_lost": 1.0}


def test_patterns_of_manipulation_are_tested_if_they_are_named(tmp_path):
    (one,) = ablation.cells(chosen(tmp_path, "--rows=plain", "--seeds=1"))
    assert MANIPULATED not in one.measures and "evaluate.manipulated" not in one.changes
    (one,) = ablation.cells(chosen(tmp_path, "--rows=plain", "--seeds=1", "--manipulated=spoofing,stuffing"))
    assert MANIPULATED in one.measures and one.changes["evaluate.manipulated"] == ("spoofing", "stuffing")


@pytest.mark.parametrize("arguments", [["--rows=mirror,wrap"], ["--seeds=0"], ["--jobs=0"], ["--prompts=0"]])
def test_options_that_make_no_sense_are_refused(arguments, tmp_path):
    with pytest.raises(SystemExit):
        chosen(tmp_path, *arguments)


def test_large_models_are_refused(monkeypatch, tmp_path):
    class Large:
        model = model_config(ablation.cells(chosen(tmp_path, "--rows=plain", "--seeds=1"))[0].config())
        workdir = tmp_path

    assert small_enough(Large) == parameter_count(Large.model)
    monkeypatch.setattr("lob_jax.bench.cell.MOST_PARAMETERS", 900_000)
    with pytest.raises(InputError, match="too large"):
        small_enough(Large)


def test_fine_tuning_starts_from_the_source_of_the_same_seed(tmp_path):
    arguments = ["--source=a.csv", "--target=b.csv", "--folder", str(tmp_path), "--seeds=2", "--steps=10"]
    found = {(cell.variant, cell.seed): cell for cell in finetune.cells(finetune.parsed(arguments))}
    assert len(found) == 10
    for (name, seed), cell in found.items():
        source = found["source", seed]
        assert cell.start == (source.folder if name in ("finetuned", "lora") else None)
        assert (cell.records == source.records) == (name == "source") and cell.measures == (TESTED,)
        assert cell.changes["train.steps"] == {"source": 300, "scratch_longer": 310}.get(name, 10)
        assert cell.changes["data.path"].endswith("a.csv" if name == "source" else "b.csv")


@pytest.mark.slow
def test_two_variants_from_end_to_end_are_not_run_twice(day, tmp_path, capsys):
    folder = tmp_path / "ablation"
    arguments = ["--path", str(day), "--folder", str(folder), "--rows=mirror", "--seeds=2", "--steps=2"]
    arguments += ["--prompts=2", "--events=20", "--direction-events=20"]
    assert ablation.main(arguments) == 0
    first = capsys.readouterr().out
    assert "0 of 4 cells have a result" in first and "| plain (reference) | 2 |" in first
    results = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/result.json")}
    assert len(results) == 4
    assert ablation.main(arguments) == 0
    assert "4 of 4 cells have a result, 0 to run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in results} == results
    figures = json.loads((folder / "ablation.json").read_text())
    assert set(figures["compared"]["bits"]["differences"]) == {"mirror"}
    assert all(one["measured"]["generated"]["invalid_events"] == 0 for one in figures["cells"])
    assert {"command", "commit", "machine", "versions"} <= set(figures)


@pytest.mark.slow
def test_fine_tuning_from_end_to_end(day, tmp_path, capsys):
    arguments = ["--source", str(day), "--target", str(day), "--folder", str(tmp_path / "finetune"), "--seeds=1"]
    assert finetune.main([*arguments, "--source-steps=2", "--steps=1"]) == 0
    assert "| lora | 1 |" in capsys.readouterr().out
    assert (tmp_path / "finetune" / "lora" / "0" / "init.json").exists()
