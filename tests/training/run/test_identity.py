"""The table of keys: each once, and each does what the table says it does."""

import collections
import dataclasses
import json

import jax
import numpy as np
import pytest

from lob_jax.config import sections
from lob_jax.configs import base
from lob_jax.errors import InputError, flat
from lob_jax.runs import records as run_records
from lob_jax.runs.training import window_settings
from lob_jax.training.run.checkpoint import Meta
from lob_jax.training.run.identity import (
    ROLES,
    Role,
    changeable,
    changes,
    keys_of,
    measure,
    model_identity,
    refuse_mismatch,
    rounding,
    run_identity,
)
from lob_jax.training.run.resumption import at_step, gone_on_with, resumption

SECTIONS = ("data", "tokens", "model", "train")
# What a key can be changed to where one more, or the opposite, is no value of it; and what must stand beside it.
OTHER = {
    "data.feed": "lobster",
    "data.path": __file__,  # any file that is there
    "data.columns": "price=px",
    "data.time_zone": "UTC",
    "data.order_book": "none",
    "data.symbols": "ABC",
    "data.tick": "0.01",
    "data.lot": "0.001",
    "data.on_error": "skip",
    "data.processes": 2,
    "data.workers": 2,
    "data.runner": "DirectRunner",
    "data.runner_options": "--project=p",
    "data.train_fraction": 0.6,
    "data.validation_fraction": 0.2,
    "data.augment.warp": 0.3,
    "data.augment.event_dropout": 0.1,
    "data.augment.token_dropout": 0.1,
    "data.augment.manipulation": 0.1,
    "data.augment.patterns": ("layering",),
    "data.augment.synthetic": 0.1,
    "data.augment.synthetic_run": "runs/other",
    "data.augment.own_flow": 0.1,
    "data.augment.own_prompts": 512,
    "tokens.kind": "compact",
    "tokens.time_digits": 5,
    "tokens.references": "rank",
    "model.vocab_size": 9_000,
    "model.d_model": 1536,
    "model.n_heads": 6,
    "model.dropout": 0.2,
    "model.norm": "post",
    "model.activation": "swiglu",
    "model.positions": "rotary",
    "model.regime": "added",
    "model.remat": "full",
    "model.dtype": "float32",
    "model.mask": "grammar",
    "model.counts": 16,
    "model.attention.kind": "performer",
    "model.attention.backend": "xla",
    "model.attention.horizons": ("all",),
    "model.heads.outlook_events": (10,),
    "train.micro_batch": 2,
    "train.parallel": "pmap",
    "train.loss_block": 256,
    "train.objective": "masked",
    "train.task_weights": "learned",
    "train.contrastive_views": "augmented",
    "train.adversarial": "pgd",
    "train.steps": 10,
    "train.max_hours": 1.0,
    "train.optimizer": "muon",
    "train.schedule": "wsd",
    "train.sparsity": 0.5,
    "train.mixup": 0.2,
    "train.ema_decay": 0.99,
    "train.profile_step": 3,
    "train.init": "runs/other",
    "train.init_allow": ("head/*",),
    "train.frozen": ("embeddings/*",),
    "train.lora_rank": 4,
    "train.lora_targets": ("*/ffn/*",),
    "train.lora_also": ("head/*",),
}
BESIDE = {
    "model.attention.horizons": {"model.attention.kind": "multi_scale"},
    "model.attention.block": {"model.attention.kind": "performer"},
    "model.attention.local_blocks": {"model.attention.kind": "block_sparse"},
    "model.attention.global_blocks": {"model.attention.kind": "block_sparse"},
    "model.attention.random_features": {"model.attention.kind": "performer"},
    "model.attention.summaries": {"model.attention.kind": "linformer"},
    "model.standardize_book": {"model.book_state": True},
    "model.counts": {"model.pointer": True},
    "data.path": {"data.feed": "lobster"},
    "data.augment.warp_events": {"data.augment.warp": 0.3},
    "data.augment.patterns": {"data.augment.manipulation": 0.1},
    "data.augment.synthetic_run": {"data.augment.synthetic": 0.1},
    "data.augment.own_events": {"data.augment.own_flow": 0.1},
    "data.augment.own_prompts": {"data.augment.own_flow": 0.1},
    "tokens.kind": {"data.embargo_events": 1_100},
    "train.mask_share": {"train.objective": "masked"},
    "train.mask_events": {"train.objective": "masked"},
    "train.ema_decay": {"train.ema_decay": 0.9},
    "train.init_allow": {"train.init": "runs/other"},
    "train.lora_rank": {"train.init": "runs/other"},
    "train.lora_also": {"train.init": "runs/other", "train.lora_rank": 4},
    "data.volatility_regimes": {"model.regime": "added"},
    "data.spread_regimes": {"model.regime": "added"},
}


def keys_in(config):
    return ["seed", *(f"{name}.{key}" for name in SECTIONS for key in flat(sections.plain(config)[name]))]


def test_every_key_of_a_run_is_in_the_table_once():
    """A new key of these sections: say in `ROLES` what a change of it does to a run that goes on."""
    assert collections.Counter(key for keys in ROLES.values() for key in keys) == collections.Counter(
        keys_in(base.get_config())
    )


def configured(**values):
    config = base.get_config()
    config.update_from_flattened_dict(values)
    return config


def changed(key):
    """Return a configuration that has a key, and one that differs in it alone."""
    beside = {"data.synthetic_days": 3, **BESIDE.get(key, {})}
    before = configured(**beside)
    value = flat(sections.plain(before))[key]
    other = OTHER.get(key, (not value) if isinstance(value, bool) else None)
    if other is None:
        other = value + 1 if isinstance(value, int) else value / 2
    return before, configured(**{**beside, key: other})


def told(config):
    """Return what a run of a configuration keeps of it: identity, what may change, how numbers are rounded."""
    model, train = sections.model_config(config), sections.train_config(config)
    common = {"seed": config.seed, "windows": 100, "vocabulary_hash": "", "fingerprint": window_settings(config)}
    identity = run_identity(model, train, **common)
    for kept in (identity, changeable(model, train), rounding(model, train, jax.devices()[:1])):
        assert json.loads(json.dumps(kept)) == kept
    return flat(identity), changeable(model, train), rounding(model, train, jax.devices()[:1])


@pytest.mark.parametrize("key", sorted(keys_of(Role.MODEL) | {"seed"}))
def test_what_identifies_a_model_is_in_its_identity(key):
    before, after = map(told, changed(key))
    assert changes(before[0], after[0]) != {}
    assert before[1:] == after[1:]


@pytest.mark.parametrize("key", sorted(keys_of(Role.RECORDED, Role.MEASURE)))
def test_what_is_recorded_is_in_no_identity(key):
    before, after = map(told, changed(key))
    assert before[0] == after[0] and before[2] == after[2]
    assert list(changes(before[1], after[1])) == [key]


@pytest.mark.parametrize("key", sorted(keys_of(Role.ROUNDING)))
def test_what_changes_rounding_is_noted_alone(key):
    before, after = map(told, changed(key))
    assert list(changes(before[2], after[2])) == [key]
    assert before[1] == after[1]
    product = {"train.batch_size", "train.accumulation"}  # which are free as long as their product stays
    assert (before[0] == after[0]) != (key in product)


@pytest.mark.parametrize("key", sorted(key for key in keys_of(Role.FREE) if not key.startswith("data.")))
def test_what_is_free_is_nowhere(key):
    before, after = map(told, changed(key))
    assert before == after


def records_of(config, tmp_path):
    """Return all that the fingerprint of records is made of, and of what is read of them."""
    days = run_records.find_days(config) if run_records.feed_name(config) == "synthetic" else {}
    inputs = days[0].inputs(days[1]) if days else {}
    tokenizer = config.tokens.kind if config.tokens.kind != "exact" else run_records.tokenizer_of(config, tmp_path)
    hash_of = tokenizer if isinstance(tokenizer, str) else tokenizer.vocabulary.hash
    plan = dataclasses.asdict(run_records.record_plan(config))
    return {**plan, **run_records.data_settings(config), "inputs": inputs, "tokens": hash_of, **window_settings(config)}


@pytest.mark.parametrize(
    "key", sorted(key for key in keys_of(Role.DATA, Role.FREE) if key.startswith(("data.", "tokens.", "seed")))
)
def test_what_identifies_the_data_is_in_the_fingerprint_of_records_and_the_rest_is_not(key, tmp_path):
    before, after = (records_of(config, tmp_path) for config in changed(key))
    assert (before != after) == (key in keys_of(Role.DATA))


def test_what_no_model_reads_identifies_none():
    plain = sections.model_config(base.get_config())
    attention = dataclasses.replace(plain.attention, block=32, summaries=9, random_features=5, horizons=("all",))
    assert model_identity(dataclasses.replace(plain, attention=attention, n_regimes=9)) == model_identity(plain)
    told_regimes = [dataclasses.replace(plain, regime="added", n_regimes=count) for count in (6, 9)]
    assert model_identity(told_regimes[0]) != model_identity(told_regimes[1])


def test_a_measure_is_of_the_windows_and_of_nothing_else(windows, train_config):
    whole = windows(8, seed=1)
    cut = [{name: leaf[part] for name, leaf in whole.items()} for part in (slice(3), slice(3, 8))]
    masked = train_config(objective="masked")
    one = measure([whole], train_config())
    assert one == measure(cut, train_config(learning_rate=1.0, mask_share=0.5))
    assert one != measure(cut[:1], train_config())
    assert one != measure([{**whole, "scored": np.logical_not(whole["scored"])}], train_config())
    assert measure([whole], masked) != measure([whole], dataclasses.replace(masked, mask_share=0.5))
    assert measure([whole], masked) != measure([whole], dataclasses.replace(masked, mask_events=True))


def refused(saved, wanted, values=None):
    with pytest.raises(InputError) as caught:
        refuse_mismatch(saved, wanted, where="step 4", whole=True, values=values)
    return caught.value


def test_an_augmentation_that_is_switched_off_is_refused():
    data = {"tokenizer": "exact"}
    error = refused({"data": {**data, "mirror": True, "augment": {"warp": 0.3}}}, {"data": data})
    assert "data.mirror = True" in str(error.expected) and "data.augment.warp = 0.3" in str(error.expected)
    assert "--config.data.mirror=True --config.data.augment.warp=0.3" in str(error.remedy)
    bins = {"volatility_regimes": 3}  # what a model that uses regimes asks of a checkpoint that it reads
    refuse_mismatch({"data": {**bins, "mirror": True, "book_levels": 5}}, {"data": bins}, where="here")


def test_a_refusal_has_a_line_for_what_differs_and_options_that_mend_it():
    refuse_mismatch({"model": {"b": 1}, "more": 2}, {"model": {"b": 1}}, where="here")
    before, after = configured(), configured(**{"model.n_layers": 6, "train.optimizer": "muon", "seed": 3})
    after.update_from_flattened_dict({"train.accumulation": 1, "train.ema_decay": 0.9, "model.dtype": "float16"})
    (saved, may, rounded), wanted = told(before), told(after)[0]
    error = refused(saved, wanted, {**may, **rounded})
    expected, was = ([line.strip() for line in str(text).splitlines()] for text in (error.expected, error.was))
    assert expected == [
        "model.n_layers = 12",
        "seed = 0",
        "train.optimizer = 'adamw'",
        "train.batch_size x train.accumulation = 128",
        "an average of the parameters (train.ema_decay) = False",
        "a loss scale (model.dtype=float16) = False",
    ]
    assert [line.split(" = ")[0] for line in was] == [line.split(" = ")[0] for line in expected]
    assert [line.split(" = ")[1] for line in was] == ["6", "3", "'muon'", "32", "True", "True"]
    assert error.remedy == (
        "resume as that run was started, with --config.model.n_layers=12 --config.seed=0 --config.train.optimizer=adamw"
        " --config.train.batch_size=32 --config.train.accumulation=4 --config.model.dtype=bfloat16 and without"
        " --config.train.ema_decay; or start another run in another --workdir"
    )


def test_a_refusal_is_short_whatever_differs():
    saved = {"data": {f"file{number}.csv": "0" * 64 for number in range(40)}, "vocabulary_hash": "x" * 200}
    wanted = {"data": {name: "1" * 64 for name in saved["data"]}, "vocabulary_hash": "y" * 200}
    error = refused(saved, wanted)
    assert len(error.expected.splitlines()) == 13 and error.expected.endswith("and 29 more")
    assert max(map(len, str(error).splitlines())) < 400
    assert "restore the data and settings" in error.remedy
    assert "data.a = 'absent'" in refused({"data": {}}, {"data": {"a": 1}}).expected
    horizons = {"model": {"attention": {"kind": "multi_scale", "horizons": ["16 events", "all"]}}}
    error = refused(horizons, {"model": {"attention": {"kind": "multi_scale", "horizons": ["all"]}}})
    assert "--config.model.attention.horizons='('\"'\"'16 events'" in error.remedy


ABOUT = Meta(
    step=0,
    validation_loss=float("inf"),
    identity={"train.batch_size x train.accumulation": 16},
    changeable={"train.clip": 1.0, "train.steps": 12},
    rounding={"model.remat": "none", "devices": "1 x cpu"},
    history=[],
    measure="windows",
    position={"windows_read": 0, "windows_a_pass": 40},
    unsound=None,
    settings={"a": 1},
    versions={"lob_jax": "0.1.0", "jax": "1"},
    early_stopping={"best": None, "best_step": None, "strikes": 0},
    micro_batch=8,
    averaged=False,
)


def test_a_run_that_goes_on_keeps_its_place_and_its_history():
    stopping = {"best": 1.0, "best_step": 3, "strikes": 2}
    latest = at_step(ABOUT, 3, validation_loss=1.0, early_stopping=stopping)
    latest = at_step(latest, 5)
    assert latest.position == {"windows_read": 80, "windows_a_pass": 40}
    assert gone_on_with(latest, ABOUT) == latest and resumption(latest, latest) == ["resuming from step 5"]
    fresh = dataclasses.replace(
        ABOUT,
        changeable={"train.clip": 0.5, "train.steps": 12},
        rounding={"model.remat": "full", "devices": "1 x cpu"},
        versions={"lob_jax": "0.1.0", "jax": "2"},
        settings={"a": 2},
        position={"windows_read": 0, "windows_a_pass": 32},
    )
    about = gone_on_with(latest, fresh)
    changed = {"train.clip": [1.0, 0.5], "model.remat": ["none", "full"]}
    assert about.history == [{"step": 5, "changed": changed}]
    assert (about.position, about.early_stopping, about.settings) == (latest.position, stopping, {"a": 2})
    assert resumption(latest, dataclasses.replace(about, micro_batch=4)) == [
        "resuming from step 5; equal up to rounding only, since jax 1 is now 2, model.remat none is now full,"
        " micro-batches of 8 windows now have 4",
        "from step 5: train.clip 1.0 -> 0.5",
    ]
    again = gone_on_with(at_step(about, 7), dataclasses.replace(fresh, measure="others"))
    assert [entry["step"] for entry in again.history] == [5, 7]
    assert again.early_stopping == ABOUT.early_stopping
    assert "start over" in resumption(about, again)[-1]
