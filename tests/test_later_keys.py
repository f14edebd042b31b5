"""Keys that came after version 0.1.0: each has an entry in the table, and what lacks it is read by that entry."""

import dataclasses
import pathlib

import jax
import pytest

from lob_jax import later_keys
from lob_jax.config import sections
from lob_jax.configs import base
from lob_jax.data.records.manifest import fingerprint
from lob_jax.data.windows.pipeline import Position
from lob_jax.errors import InputError, flat
from lob_jax.later_keys import FIRST, LaterKey, Source, completed, lacked, refuse_newer, remarks, version, whole
from lob_jax.runs import records
from lob_jax.training.run.checkpoint import Meta
from lob_jax.training.run.identity import FROM_DATA, changeable, rounding, run_identity
from lob_jax.training.run.stopping import EarlyStopping

FIRST_KEYS = pathlib.Path(__file__).parent / "golden" / "keys_of_0_1_0.txt"
TABLE = (
    LaterKey("model.gain", 1.0, "0.2.0"),
    LaterKey("data.fold", "none", "0.10.0", also=("data.inputs.fold",)),
)
WHAT_TO_WRITE = """
{key} came after version 0.1.0: what was stored before has no value for it. Decide what it is taken as, which is what
the program did before the key existed, and write it at the end of LATER in lob_jax/later_keys.py:
    LaterKey("{key}", <that value>, since="<the version to come, to which lob_jax's own is raised>"),
A place that holds a value which another key's entry gives already, such as "data.inputs." and the key of the data
section, belongs into the `also` of that entry. The golden list of 0.1.0's keys stays as it is."""


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(later_keys, "LATER", TABLE)
    monkeypatch.setattr(later_keys, "version", lambda: "0.10.0")


def source(written_by=FIRST):
    return Source("the checkpoint", of="a run", where="here", written_by=written_by)


def fields(of, inside):
    return {f"{inside}{field.name}" for field in dataclasses.fields(of)}


def configured():
    """Return every key of the configuration."""
    return {*flat(sections.plain(base.get_config()))}


def stored_keys(tmp_path):
    """Return every key that is stored and read back: of configurations, of checkpoints and of records."""
    config = base.get_config()
    model, train = sections.model_config(config), sections.train_config(config)
    feed, days = records.find_days(config)
    tokenizer = records.tokenizer_of(config, tmp_path)
    inputs = {**records.data_settings(config), **feed.inputs(days)}
    of_records = fingerprint(days, records.record_plan(config), tokenizer=tokenizer, inputs=inputs)
    of_records |= {"tokenizer": dataclasses.asdict(tokenizer.vocabulary)}
    identity = run_identity(model, train, seed=0, windows=1, vocabulary_hash="", fingerprint=of_records)
    kept = {**flat(identity), **changeable(model, train), **rounding(model, train, jax.devices()[:1])}
    parts = fields(Position, "checkpoint.position.") | fields(EarlyStopping, "checkpoint.early_stopping.")
    return {*configured(), *kept, *FROM_DATA, *fields(Meta, "checkpoint."), *parts}


def test_every_stored_key_is_of_the_first_version_or_in_the_table(tmp_path):
    known = {*FIRST_KEYS.read_text().splitlines()}
    known |= {place for later in later_keys.LATER for place in (later.key, *later.also)}
    for key in sorted(configured() - known) or sorted(stored_keys(tmp_path) - known):
        pytest.fail(WHAT_TO_WRITE.format(key=key), pytrace=False)


def test_no_key_of_the_first_version_is_gone_and_no_entry_is_stale(tmp_path):
    """A key that is dropped or renamed: what was stored with it could not be read any more."""
    keys = stored_keys(tmp_path)
    gone = {*FIRST_KEYS.read_text().splitlines()} - keys
    assert not gone, (
        "these keys are in checkpoints and in config.json of version 0.1.0: keep them, or say how to read those"
    )
    assert {place for later in later_keys.LATER for place in (later.key, *later.also)} <= keys


def test_entries_are_of_versions_after_the_first_and_up_to_this_one():
    numbers = [later_keys._numbers(later.since) for later in later_keys.LATER]
    assert numbers == sorted(numbers)
    for later in later_keys.LATER:
        own = later_keys._numbers(version())
        assert later_keys._numbers(FIRST) < later_keys._numbers(later.since) <= own, (
            f"raise the version for {later.key}"
        )


def test_what_is_lacking_is_taken_as_what_the_program_did_before(table):
    assert completed({"model.width": 3}, ["model.width", "model.gain"]) == {"model.width": 3, "model.gain": 1.0}
    assert completed({"model.gain": 2.0}, ["model.gain"]) == {"model.gain": 2.0}
    assert completed({"other": 1}, ["other"]) == {"other": 1}  # nothing that is not wanted
    assert completed({}, ["inputs.fold", "inputs.else"], inside="data.") == {"inputs.fold": "none"}
    assert lacked([], ["gain", "width"], inside="model.") == {"gain": TABLE[0]}


def test_a_lacking_key_without_an_entry_and_an_unknown_one_are_refused_by_name(table):
    assert whole({"model.width": 3}, ["model.width", "model.gain"], source()) == {"model.width": 3, "model.gain": 1.0}
    with pytest.raises(InputError, match="another version") as caught:
        whole({"model.odd": 1}, ["model.width", "model.gain"], source("0.9.1"))
    assert caught.value.expected == "everything that this version stores of a run, model.width"
    assert caught.value.was == "without it, and with model.odd"
    assert "(0.9.1)" in caught.value.remedy


def test_an_unknown_key_of_a_newer_version_names_both_versions(table):
    refuse_newer(["model.odd"], source("0.9.9"))  # an older one: 9 is less than 10
    refuse_newer([], source("1.0"))
    for check in (
        lambda: refuse_newer(["model.odd"], source("1.0")),
        lambda: whole({"model.odd": 1}, [], source("1.0")),
    ):
        with pytest.raises(InputError) as caught:
            check()
        assert caught.value.what == "the checkpoint was written by a newer version of lob_jax, 1.0; this is 0.10.0"
        assert (caught.value.was, caught.value.remedy) == ("model.odd", "update lob_jax to version 1.0")


def test_what_is_taken_as_neutral_is_told_once_a_key(table):
    assert remarks([*TABLE, TABLE[1], LaterKey("serve.port", 80, "0.2.0")], source()) == [
        "the checkpoint was written by lob_jax 0.1.0, without keys that came later: "
        "model.gain = 1.0 (since 0.2.0), data.fold = 'none' (since 0.10.0)",
    ]
    assert remarks([LaterKey("serve.port", 80, "0.2.0")], source()) == []


def test_versions_are_compared_by_their_numbers():
    assert later_keys._numbers("0.10.0") > later_keys._numbers("0.9.12") > later_keys._numbers("0.9")
    assert later_keys._numbers("0.2.0.dev1+local") == (0, 2, 0)
