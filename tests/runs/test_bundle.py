"""A run gives all that its bundle is made of, as `generate` would use it."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.data.records.builder import open_records
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import record_instrument
from lob_jax.errors import InputError
from lob_jax.export.bundle import open_bundle, write_bundle
from lob_jax.generation.device.out_of_view import NO_REVEALS, RevealDistribution
from lob_jax.runs.bundle import bundle_parts
from lob_jax.runs.reveals import largest_in_training
from lob_jax.training.run.weights import flat, load_weights


@pytest.fixture(scope="module")
def parts(run):
    return bundle_parts(run)


def written(folder, parts):
    return write_bundle(folder, parts.contents, weights=parts.weights, card=parts.card, about=parts.about)


def test_a_bundle_of_a_run_has_what_generate_takes_from_it(run, parts, tmp_path):
    written(tmp_path / "bundle", parts)
    opened, record = open_bundle(tmp_path / "bundle"), open_records(run.workdir / "records", "test")[0]
    assert opened.model == run.model and opened.vocabulary == run.tokenizer.vocabulary
    assert opened.instrument == record_instrument(record)
    expected = largest_in_training(run.workdir / "records", opened.instrument.symbol)
    np.testing.assert_array_equal(opened.contents.largest, expected)
    for found, wanted in zip(RevealDistribution(*opened.contents.reveals), NO_REVEALS, strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
    settings = opened.settings
    assert (settings.book_levels, settings.window, settings.pooled) == (3, 0, False)
    assert settings.symbols == run.beside.symbols and settings.regimes is None
    assert {name: run.config.generate[name] for name in dataclasses.asdict(settings.sampling)} == dataclasses.asdict(
        settings.sampling
    )


def test_its_weights_are_those_of_the_run(run, parts, tmp_path):
    folder = written(tmp_path / "bundle", parts).folder
    stored, about = load_weights(folder / "weights.safetensors")
    for name, array in flat(run.params).items():
        np.testing.assert_array_equal(flat(stored)[name], array, strict=True)
    assert about["step"] == run.step and parts.card["parameters"] == sum(a.size for a in flat(run.params).values())


def test_its_card_says_where_the_data_are_from_and_names_no_folder(run, parts, tmp_path):
    manifest = load_manifest(run.workdir / "records")
    card = parts.card
    assert card["data"]["feed"] == "synthetic" and card["data"]["simulated"]
    assert card["data"]["fingerprint"] == manifest["fingerprint"] and card["data"]["splits"] == manifest["splits"]
    assert card["training"]["step"] == run.step and card["versions"] == run.checkpoint.versions
    assert card["evaluation"] is None
    folder = written(tmp_path / "bundle", parts).folder
    for path in folder.iterdir():
        assert str(run.workdir).encode() not in path.read_bytes(), path.name


def test_an_evaluation_comes_into_the_card(run, tmp_path):
    (tmp_path / "records").symlink_to(run.workdir / "records")
    moved = dataclasses.replace(run, workdir=tmp_path)
    result = {"split": "test", "likelihood": {"model": {"events": 9, "bits_per_event": 3.5}}}
    (tmp_path / "evaluation.json").write_text(json.dumps(result))
    validity = {"events": 12, "faults": 0, "paths": 3}
    card = bundle_parts(moved, title="a small one", validity=validity).card
    assert card["evaluation"]["bits_per_event"] == {"model": [3.5, None, None]}
    assert (card["title"], card["validity"]) == ("a small one", validity)
    for content in ("{", "3"):
        (tmp_path / "evaluation.json").write_text(content)
        with pytest.raises(InputError, match="the evaluation of the run cannot be read") as caught:
            bundle_parts(moved)
        assert caught.value.where == tmp_path / "evaluation.json"
