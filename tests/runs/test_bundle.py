"""A run gives all that its bundle is made of, as `generate` would use it."""

import dataclasses
import json

import numpy as np
import pytest

import lob_jax
from lob_jax.config.sections import model_config
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.escapes import training_escapes
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import record_instrument
from lob_jax.errors import InputError
from lob_jax.export.bundle import open_bundle, write_bundle
from lob_jax.generation.prompt import NO_REVEALS, RevealDistribution
from lob_jax.runs.bundle import bundle_parts
from lob_jax.runs.prompt import make_prompt
from lob_jax.runs.records import tokenizer_of
from lob_jax.runs.reveals import largest_in_training, reveals_of
from lob_jax.training.run.weights import flat, load_weights
from lob_jax.writers.lobster import write_lobster
from tests.runs.conftest import SMALL


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
    shares = training_escapes(load_manifest(run.workdir / "records"))
    np.testing.assert_array_equal(opened.contents.escapes, shares, strict=True)
    assert len(np.unique(shares)) > 10
    for found, wanted in zip(RevealDistribution(*opened.contents.reveals), NO_REVEALS, strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
    settings = opened.settings
    assert (settings.book_levels, settings.window, settings.pooled) == (3, 0, False)
    assert settings.symbols == run.beside.symbols and settings.regimes is None
    assert {name: run.config.generate[name] for name in dataclasses.asdict(settings.sampling)} == dataclasses.asdict(
        settings.sampling
    )


def test_a_model_without_a_mask_has_no_escape_shares(run):
    plain = dataclasses.replace(run, model=dataclasses.replace(run.model, mask="none"))
    assert not bundle_parts(plain).contents.escapes.any()


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


@pytest.fixture(scope="module")
def windowed(run, tmp_path_factory):
    """A run on a simulated day as LOBSTER shows it, whose model reads regimes; it is prepared, and not trained."""
    day = lob_jax.load_incremental_data(events=3_000, seed=5)
    path = write_lobster(tmp_path_factory.mktemp("lobster"), day, levels=3, monotone_time=True).message
    named = {"data.path": str(path), "data.feed": "lobster", "data.record_events": 128, "model.regime": "added"}
    config, workdir = lob_jax.get_config("tiny", SMALL | named), tmp_path_factory.mktemp("windowed")
    lob_jax.prepare(config, workdir)
    tokenizer = tokenizer_of(config, workdir)
    return dataclasses.replace(run, workdir=workdir, config=config, model=model_config(config), tokenizer=tokenizer)


def test_a_book_with_a_window_has_what_comes_into_view_and_regimes_their_thresholds(windowed, tmp_path):
    written(tmp_path / "bundle", bundle_parts(windowed))
    opened, folder = open_bundle(tmp_path / "bundle"), windowed.workdir / "records"
    reads = {"tokenizer": windowed.tokenizer, "time_buckets": windowed.model.time_buckets, "beside": windowed.beside}
    prompt = make_prompt(open_records(folder, "test"), events=20, **reads)
    expected = reveals_of(prompt, folder, windowed.tokenizer, symbol=opened.instrument.symbol)
    assert expected.count_2.min() > 20
    for found, wanted in zip(opened.contents.reveals, expected, strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
    settings, regimes = opened.settings, windowed.beside.regimes
    assert (settings.window, settings.pooled) == (prompt.book.window, prompt.book.pooled) == (3, settings.pooled)
    assert settings.regimes is not None and settings.regimes.count == windowed.model.n_regimes
    assert dataclasses.asdict(settings.regimes) == dataclasses.asdict(regimes)
    assert opened.card["data"]["feed"] == "lobster" and not opened.card["data"]["simulated"]
