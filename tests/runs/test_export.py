"""A run's bundle has graphs that agree with its model, in several precisions, measured as an evaluation measures."""

import json
import math

import numpy as np
import onnx
import pytest

from lob_jax.data.records.escapes import training_escapes
from lob_jax.data.records.manifest import load_manifest
from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.scores import Rules, model_network, score_windows
from lob_jax.export.bundle import VOCABULARY_KEY, open_bundle
from lob_jax.export.config import ExportConfig
from lob_jax.export.parity import TOLERANCE, compared, forward_logits, model_logits, random_inputs
from lob_jax.export.stablehlo import load_program
from lob_jax.models.masking import make_masks
from lob_jax.runs.export import FINGERPRINT_KEY, Measured, export_run, smallest_close, validation_windows
from tests.runs.conftest import EXPORT


def test_the_bundle_has_both_graphs_in_every_precision(run, exported):
    opened = open_bundle(exported.bundle.folder)
    names = {f"{kind}{suffix}" for kind in ("forward", "step") for suffix in ("", "_int8", "_int4")}
    assert set(opened.graphs) == names
    for path in opened.graphs.values():
        told = {each.key: each.value for each in onnx.load(path).metadata_props}
        assert told[VOCABULARY_KEY] == run.tokenizer.vocabulary.hash
        assert told[FINGERPRINT_KEY] == opened.card["data"]["sha256"] and told["lob_jax.step"] == str(run.step)


def test_graphs_agree_with_the_model_on_random_and_real_tokens(run, exported):
    assert set(exported.graphs.parity) == {
        f"{kind}, {what} tokens" for kind in ("forward", "step") for what in ("random", "real")
    }
    assert all(one.difference <= TOLERANCE and one.agreement == 1 for one in exported.graphs.parity.values())
    batch = validation_windows(run, 2)
    inputs = {name: array[:, :-1] for name, array in batch.items() if array.ndim > 1}
    found = forward_logits(onnx.load(exported.bundle.graphs["forward"]), inputs)
    assert compared(found, model_logits(run.params, run.model, inputs)).difference <= TOLERANCE


def test_bits_are_those_that_the_model_has_on_the_same_windows(run, exported):
    batch = validation_windows(run, EXPORT.windows)
    masks = make_masks(run.tokenizer.grammar, training_escapes(load_manifest(run.workdir / "records")))
    rules = Rules(run.tokenizer.grammar, masks, run.model.mask)
    scores = score_windows(model_network(run.model), run.params, [batch], rules=rules)
    heads = sum(
        len(np.unique(event[1:][scored[1:] & (event[1:] != event[:-1])]))
        for event, scored in zip(batch["event"], batch["scored"], strict=True)
    )
    bits = scores.nll.sum() / math.log(2) / heads
    assert exported.graphs.measured["float32"].bits_per_event == pytest.approx(bits, rel=1e-5)
    assert exported.graphs.measured["int8"].bits_per_event == pytest.approx(bits, rel=0.01)
    assert exported.graphs.measured["int8"].bits_per_event != exported.graphs.measured["float32"].bits_per_event


def test_programs_are_loaded_again_and_compared(run, exported):
    assert exported.programs["forward"].difference <= 1e-5
    opened = open_bundle(exported.bundle.folder)
    assert set(opened.roles["stablehlo"]) == {"forward", "step"}
    inputs = random_inputs(run.model, 3, 20, seed=9)
    found = load_program(opened.roles["stablehlo"]["forward"])(inputs)["logits"]
    assert compared(np.asarray(found), model_logits(run.params, run.model, inputs)).difference <= 1e-5


def test_the_card_says_what_each_precision_costs(exported):
    card = json.loads((exported.bundle.folder / "card.json").read_text())["graphs"]
    assert card["opset"] == 18 and card["chosen"] == exported.graphs.chosen
    sizes = {name: one["weight_megabytes"] for name, one in card["precisions"].items()}
    assert max(sizes["int4"], sizes["int8"]) < sizes["float32"]
    assert card["precisions"]["float32"]["integer_share"] == 0 < card["precisions"]["int8"]["integer_share"]


def test_the_smallest_precision_is_chosen_that_predicts_as_well():
    def measured(weight_megabytes, bits):
        return Measured(1.0, weight_megabytes, 0.0, bits, 1.0)

    found = {"float32": measured(4, 20.0), "int8": measured(1, 20.1), "int4": measured(0.5, 20.3)}
    assert smallest_close(found) == "int8"
    assert smallest_close({"float32": found["float32"], "int4": found["int4"]}) == "float32"


def test_a_taken_folder_is_refused_before_any_work(run, tmp_path, monkeypatch):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="taken"):
        export_run(run, tmp_path / "bundle", EXPORT)
    assert (tmp_path / "bundle" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("formats", ("torch",)),
        ("precisions", ("int7",)),
        ("opset", 17),
        ("windows", 0),
        ("name", "../elsewhere"),
        ("name", ""),
    ],
)
def test_settings_out_of_range_are_refused(key, value):
    settings = {"formats": ("onnx",), "precisions": ("int8",), "opset": 18, "windows": 4, "name": "bundle", key: value}
    with pytest.raises(InputError) as refused:
        ExportConfig(**settings)
    assert refused.value.where == f"config.export.{key}"
