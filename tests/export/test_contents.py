"""What a bundle says about its model is read strictly, and its parts fit each other."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lob_jax.errors import InputError
from lob_jax.export.bundle import open_bundle
from lob_jax.export.contents import RegimeEdges, Reveals
from lob_jax.export.manifest import MANIFEST
from lob_jax.export.plain import DEEPEST, parse_object
from lob_jax.tokens.exact import ExactTokenizer
from tests.export import sample
from tests.export.sample import edit, refused, reseal

# --- JSON


@pytest.mark.parametrize("name", [MANIFEST, "model.json", "vocabulary.json", "card.json"])
def test_a_key_that_occurs_twice_is_refused(folder, name):
    path = folder / name
    first = next(iter(json.loads(path.read_text())))
    path.write_text(path.read_text().replace("{", f'{{"{first}": 0, ', 1))
    if name != MANIFEST:
        reseal(folder)
    error = refused(folder)
    assert error.what == "a file of the bundle cannot be read" and error.where == path
    assert f"the key {first!r} occurs twice" in str(error.was)


@pytest.mark.parametrize("name", [MANIFEST, "model.json", "vocabulary.json", "card.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 40 + "1" + "}" * 40, "[]", "{", "nul", '{"a": NaN}', "\xff"])
def test_json_that_is_too_deep_or_none_is_refused(folder, name, text):
    (folder / name).write_bytes(text.encode("latin-1"))
    if name != MANIFEST:
        reseal(folder)
    error = refused(folder)
    assert error.what == "a file of the bundle cannot be read" and error.where == folder / name


def test_depth_counts_what_is_outside_of_texts():
    deep = json.loads("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
    text = json.dumps({"a": deep, "b": "[{" * 50 + '\\"' + "[" * 50})
    assert parse_object(text.encode(), where="here") == json.loads(text)
    with pytest.raises(InputError, match="cannot be read") as caught:
        parse_object(json.dumps({"a": [deep]}).encode(), where="here")
    assert (caught.value.was, caught.value.where) == (DEEPEST + 1, "here")
    parse = ('"' + '\\"' * 200_000).encode()  # of which no part may be looked at again and again
    with pytest.raises(InputError):
        parse_object(parse, where="here")


def test_json_that_is_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr("lob_jax.export.plain.LARGEST", 100)
    error = refused(folder)
    assert error.expected == "at most 100 bytes of JSON" and error.where == folder / MANIFEST


# --- what does not fit


def test_another_vocabulary_is_refused(folder):
    other = ExactTokenizer.from_settings(time_digits=8).vocabulary
    other.save(folder / "vocabulary.json")
    reseal(folder)
    error = refused(folder)
    assert error.what == "the bundle is of two vocabularies" and "SHA-256 in the manifest" in error.where
    assert (error.expected, error.was) == (f"hash {other.hash}", sample.VOCABULARY.hash)
    reseal(folder, vocabulary=other.hash)
    error = refused(folder)  # now the graphs are of the other one
    assert "of forward.onnx" in error.where and error.was == sample.VOCABULARY.hash


def test_a_changed_vocabulary_is_refused(folder):
    edit(folder, "vocabulary.json", lambda content: content["specials"].update(PAD=7))
    assert refused(folder).what == "the vocabulary does not match this version's tokens"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (lambda content: content["model"].update(vocab_size=5_000, mask="none", latest_tokens=False), "vocab_size"),
        (lambda content: content["model"].update(book_features=8), "book_features"),
        (lambda content: content["settings"].update(book_levels=3), "book_features"),
        (lambda content: content["model"].update(regime="added"), "n_regimes"),
        (lambda content: content["model"].update(n_instruments=1) or content["settings"].update(symbols=["A"]), "n_in"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(folder, changes, where):
    plain = {"token_parts": False, "digits_rank": 0, "pointer": False}
    edit(folder, "model.json", lambda content: content["model"].update(plain) or changes(content))
    error = refused(folder)
    assert error.what == "the model of the bundle does not fit its vocabulary or its settings"
    assert where in error.where and error.was != error.expected


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (lambda content: content["model"].update(d_model="64"), "model.d_model"),
        (lambda content: content["model"].update(causal=1), "model.causal"),
        (lambda content: content["model"].update(n_layers=2.0), "model.n_layers"),
        (lambda content: content["model"].update(of_tomorrow=1), "model"),
        (lambda content: content["model"].pop("d_ff"), "model"),
        (lambda content: content["model"]["attention"].pop("kind"), "model.attention"),
        (lambda content: content["model"]["attention"].update(horizons="all"), "model.attention.horizons"),
        (lambda content: content["model"]["heads"].update(outlook_events=[True]), "model.heads.outlook_events[0]"),
        (lambda content: content["model"].update(heads=None), "model.heads"),
        (lambda content: content.pop("instrument"), "model.json"),
        (lambda content: content["settings"].update(regimes={}), "settings.regimes"),
        (lambda content: content["settings"]["sampling"].update(top_k=None), "settings.sampling.top_k"),
    ],
)
def test_a_description_of_another_form_is_refused(folder, changes, where):
    edit(folder, "model.json", changes)
    error = refused(folder)
    assert error.what == "the description of the model does not describe a model"
    assert str(error.where).endswith(where)


def test_a_value_that_makes_no_model_is_refused(folder):
    edit(folder, "model.json", lambda content: content["model"].update(n_heads=3))
    with pytest.raises(InputError) as caught:
        open_bundle(folder)
    assert caught.value.where == "model.n_heads" and caught.value.was == 3


def test_a_key_that_came_later_has_its_neutral_value(folder, written):
    edit(folder, "model.json", lambda content: content["model"].pop("queue_state"))
    assert open_bundle(folder).model == dataclasses.replace(written.model, queue_state=False)


@pytest.mark.parametrize(
    "named",
    [{"trading_day": "yesterday"}, {"time_zone": "../../etc/passwd"}, {"time_zone": "Mars/Olympus"}, {"tick": 0}],
)
def test_an_instrument_that_is_none_is_refused(folder, named):
    edit(folder, "model.json", lambda content: content["instrument"].update(named))
    error = refused(folder)
    assert error.what == "the instrument of the bundle is none" and str(next(iter(named.values()))) in error.was


def test_thresholds_of_regimes_come_back(tmp_path):
    made = sample.contents()
    model = dataclasses.replace(made.model, regime="prefix", n_regimes=6)
    regimes = RegimeEdges((0.25, 0.5), (1.0,))
    settings = dataclasses.replace(made.settings, regimes=regimes)
    assert sample.write(tmp_path / "regimes", model=model, settings=settings).settings.regimes == regimes
    with pytest.raises(InputError, match="does not fit") as caught:
        sample.write(tmp_path / "few", model=dataclasses.replace(model, n_regimes=4), settings=settings)
    assert (caught.value.was, caught.value.expected) == (4, 6)


PAIRS, SIZES = sample.PAIRS, np.ones(8, np.int32)


@pytest.mark.parametrize(
    "changes",
    [
        {"largest": np.ones(7, np.int32)},
        {"largest": np.zeros(8, np.int32)},
        {"reveals": Reveals(PAIRS, PAIRS, np.array([4, 1], np.int32))},
        {"reveals": Reveals(PAIRS, PAIRS, np.array([3, 2], np.int32))},
        {"reveals": Reveals(PAIRS, PAIRS, np.array([3, -1], np.int32))},
        {"reveals": Reveals(PAIRS, PAIRS[:, :2], np.array([2, 1], np.int32))},
        {"reveals": Reveals(PAIRS[0], PAIRS[0], np.array([1, 1], np.int32))},
        {"escapes": sample.ESCAPES[:8]},
        {"escapes": sample.ESCAPES * 1_000},
        {"escapes": -sample.ESCAPES},
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path, changes):
    with pytest.raises(InputError, match="the arrays of generation cannot be read"):
        sample.write(tmp_path / "arrays", **changes)


def test_escape_shares_come_back_and_arrays_without_them_are_refused(folder, written):
    np.testing.assert_array_equal(written.contents.escapes, sample.ESCAPES, strict=True)
    arrays = load_file(folder / "generation.safetensors")
    del arrays["escapes"]
    save_file(arrays, folder / "generation.safetensors")
    reseal(folder)
    error = refused(folder)
    assert error.what == "the arrays of generation cannot be read" and "escape shares" in str(error.expected)


@pytest.mark.parametrize("name", ["generation.safetensors", "weights.safetensors"])
def test_arrays_that_are_no_safetensors_are_refused(folder, name):
    (folder / name).write_bytes(b"\x80\x04pickle" + bytes(100))
    reseal(folder)
    assert "cannot be read" in refused(folder).what and name in str(refused(folder).where)
