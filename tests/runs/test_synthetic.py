"""Synthetic flow beside a run's data: simulated once, or of another run, whose flow a model may have generated."""

import dataclasses
import itertools
import json
import shutil

import numpy as np
import pytest

import lob_jax
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import mids, read_record, record_instrument
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.runs.records import tokenizer_of
from lob_jax.runs.synthetic import FOLDER, LOWEST_PRICE, open_synthetic, prepare_synthetic, session_beside
from lob_jax.runs.training import open_training_data
from lob_jax.stages import generate as generating
from tests.runs.conftest import SMALL

SHARE = {"data.augment.synthetic": 0.5}


def config_of(**changes):
    return lob_jax.get_config("tiny", {**SMALL, **SHARE, **changes})


def key(name):
    return f"data.augment.{name}"


@pytest.fixture(name="beside", scope="module")
def beside_fixture(trained, tmp_path_factory):
    """Return the folder of a run that has records, and simulated ones beside them."""
    folder = tmp_path_factory.mktemp("beside") / "run"
    folder.mkdir()
    shutil.copytree(trained.workdir / "records", folder / "records")
    prepare_synthetic(config_of(), folder)
    return folder


@pytest.fixture(name="other", scope="module")
def other_fixture(tmp_path_factory):
    """Return the folder of a run with records of other symbols."""
    folder = tmp_path_factory.mktemp("other") / "run"
    lob_jax.prepare(lob_jax.get_config("tiny", {**SMALL, "data.symbols": "AAA"}), folder)
    return folder


def first_tokens(data, count=6):
    return [batch["tokens"].tolist() for batch in itertools.islice(data.batches(data.start), count)]


def test_a_session_is_simulated_beside_each_training_day(beside):
    real, simulated = (load_manifest(beside / name) for name in ("records", f"{FOLDER}/0"))
    train = real["days"][0]["parts"][0]
    (day,) = simulated["days"]
    assert [part["split"] for part in day["parts"]] == ["train"]
    assert day["instrument"] == {**real["days"][0]["instrument"], "venue": "SIM"}
    (session,) = simulated["fingerprint"]["inputs"]["sessions"]
    assert session["events"] == train["events"]
    ours, theirs = (open_records(beside / name, "train") for name in ("records", f"{FOLDER}/0"))
    ends = [(of[0]["clock_ns"][1], of[len(of) - 1]["clock_ns"][-1]) for of in (ours, theirs)]
    assert ends[0][0] - 10**9 <= ends[1][0] and ends[1][1] <= ends[0][1] + 10**9
    assert abs(mids(theirs[0])[0] - mids(ours[0])[0]) <= 100 * day["instrument"]["tick"]


def test_it_is_not_the_market_itself_though_that_is_simulated_with_the_same_seed(beside):
    ours, theirs = (open_records(beside / name, "train") for name in ("records", f"{FOLDER}/0"))
    count = min(len(ours[0]["tokens"]), len(theirs[0]["tokens"]), 200)
    assert np.mean(ours[0]["tokens"][:count] == theirs[0]["tokens"][:count]) < 0.5


def test_every_simulated_record_decodes_and_replays(beside):
    config = config_of()
    source = open_synthetic(config, beside)
    for index in range(len(source)):
        day = read_record(source[index], tokenizer_of(config, beside))
        assert len(day.events) and not check_events(day.events, start=day.start, tick=day.instrument.tick).faults


def test_it_is_simulated_once(beside, monkeypatch):
    before = (beside / FOLDER / "0" / "records.json").read_bytes()
    monkeypatch.setattr("lob_jax.feeds.synthetic.simulate_session", None)
    prepare_synthetic(config_of(), beside)
    assert (beside / FOLDER / "0" / "records.json").read_bytes() == before


def test_a_session_has_the_hours_and_the_price_of_its_day(make_record):
    first, last = make_record(start="10:00:00.5", mid=20_000.5), make_record(start="11:30:00.2", mid=1.0)
    session = session_beside(first, last, events=77)
    parameters = session.parameters
    assert (parameters.open_s, parameters.close_s) == (36_000, 41_401)
    assert (parameters.open_price, parameters.tick, session.events) == (20_000, 100, 77)
    assert session.instrument == dataclasses.replace(record_instrument(first), venue="SIM")
    assert session_beside(last, last, events=1).parameters.open_price == LOWEST_PRICE
    assert session_beside(make_record(start="10:00:00", mid=None), last, events=1).parameters.open_price == LOWEST_PRICE


@pytest.fixture(name="make_record")
def make_record_fixture(trained):
    """Return a function: a record of two events at a time of the day, whose lead is an hour older."""
    record = open_records(trained.workdir / "records", "train")[0]
    midnight = record_instrument(record).midnight_ns()

    def make(*, start, mid):
        hours, minutes, seconds = start.split(":")
        begin = midnight + round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 10**9)
        two_sided, hour = mid is not None, 3600 * 10**9
        return {
            **record,
            "lead_events": 1,
            "clock_ns": np.array([begin - hour, begin - hour, begin, begin + 10**8]),
            "mid2": np.full(4, round(200 * (mid or 0))),
            "features": np.full_like(record["features"][:4], two_sided),
        }

    return make


def test_training_reads_it_and_everything_measured_is_real(trained, beside):
    plain, mixed = (open_training_data(config, beside) for config in (trained.config, config_of()))
    assert mixed.windows == plain.windows and mixed.start == plain.start
    records = np.concatenate([batch["record"] for batch in itertools.islice(mixed.batches(mixed.start), 30)])
    assert 0.35 < np.mean(records < 0) < 0.65
    assert first_tokens(mixed) == first_tokens(open_training_data(config_of(), beside)) != first_tokens(plain)
    for one, other in zip(plain.validation, mixed.validation, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    np.testing.assert_array_equal(mixed.measured.moments["book"], plain.measured.moments["book"])
    np.testing.assert_array_equal(mixed.measured.token_counts, plain.measured.token_counts)


def test_the_flow_is_a_part_of_a_runs_identity(trained, beside, other):
    plain, simulated, of_run = (
        open_training_data(config, beside).fingerprint
        for config in (trained.config, config_of(), config_of(**{key("synthetic_run"): str(other)}))
    )
    assert simulated["augment"] == {"synthetic": 0.5, "synthetic_run": ""} and "augment" not in plain
    assert "synthetic_records" not in plain and simulated["synthetic_records"] != of_run["synthetic_records"]


@pytest.mark.slow
def test_a_resumed_run_refuses_other_flow_in_the_same_place(beside, other, tmp_path):
    theirs = shutil.copytree(other, tmp_path / "theirs")
    config = config_of(**{key("synthetic_run"): str(theirs), "train.steps": 2})
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copytree(beside / "records", folder / "records")
    assert lob_jax.train(config, folder).steps == 2
    assert lob_jax.train(config, folder).steps == 2
    shutil.rmtree(theirs)
    lob_jax.prepare(lob_jax.get_config("tiny", {**SMALL, "data.symbols": "AAA", "seed": 9}), theirs)
    with pytest.raises(InputError, match="the checkpoint is of another run") as error:
        lob_jax.train(config, folder)
    assert "synthetic_records" in error.value.was


@pytest.mark.parametrize(
    ("theirs", "ours", "what"),
    [
        ({"tokens.time_digits": 2}, {}, "the tokens of the synthetic flow mean other things"),
        ({"data.book_levels": 4}, {}, "lack what the model reads"),
        ({"model.flow_state": False}, {}, "lack what the model reads"),
        ({}, {"model.n_instruments": 1}, "instruments that the model does not know"),
    ],
)
def test_flow_that_does_not_fit_is_refused_with_the_difference(beside, other, tmp_path, theirs, ours, what):
    if theirs:
        other = tmp_path / "other"
        lob_jax.prepare(lob_jax.get_config("tiny", {**SMALL, "data.symbols": "AAA", **theirs}), other)
    with pytest.raises(InputError, match=what) as error:
        open_synthetic(config_of(**{key("synthetic_run"): str(other)}, **ours), beside)
    assert error.value.expected and error.value.was and error.value.expected != error.value.was


def test_a_model_that_knows_the_instruments_takes_their_flow(beside):
    config = config_of(**{"model.n_instruments": 1})
    data = open_training_data(config, beside)
    batch = next(iter(data.batches(data.start)))
    assert (batch["record"] < 0).any() and not batch["instrument"].any()


def test_a_run_is_not_its_own_synthetic_flow(beside):
    with pytest.raises(InputError, match="no synthetic flow") as error:
        open_synthetic(config_of(**{key("synthetic_run"): str(beside)}), beside)
    assert error.value.expected == "the folder of another run"


def test_flow_that_is_not_there_is_refused(beside, tmp_path):
    with pytest.raises(InputError, match="no synthetic flow") as error:
        prepare_synthetic(config_of(**{key("synthetic_run"): str(tmp_path)}), beside)
    assert str(tmp_path / "records") in error.value.was


def test_windows_of_two_instruments_are_not_mixed():
    with pytest.raises(InputError, match="the configuration is invalid") as error:
        config_of(**{"model.attention.cross_asset": True})
    assert error.value.where == "config.data.augment.synthetic"


def test_runs_of_the_same_records_share_what_is_simulated_from_their_seed(beside, tmp_path):
    (tmp_path / "records").symlink_to(beside / "records", target_is_directory=True)
    other = config_of(seed=1)
    prepare_synthetic(other, tmp_path)
    first, second = open_synthetic(config_of(), tmp_path), open_synthetic(other, tmp_path)
    assert not np.array_equal(first[0]["tokens"][:200], second[0]["tokens"][:200])
    assert len(open_synthetic(config_of(), tmp_path)) == len(open_records(beside / FOLDER / "0", "train"))


@pytest.fixture(name="generated", scope="module")
def generated_fixture(trained, tmp_path_factory):
    """Return a function: the folder of a run whose data are flow that `--mode=generate` wrote in a format."""
    made = {}

    def folder_of(form):
        if form not in made:
            config = trained.config.copy_and_resolve_references()
            config.generate.paths, config.generate.events, config.generate.format = 1, 600, form
            config.generate.name = f"flow_{form}"
            generating.generate(config, trained.workdir)
            made[form] = tmp_path_factory.mktemp("generated") / form
            path = trained.workdir / "generated" / config.generate.name / "path_0"
            data = {"data.path": str(path), "data.train_fraction": 0.8, "data.validation_fraction": 0.1}
            lob_jax.prepare(lob_jax.get_config("tiny", {**SMALL, **data}), made[form])
        return made[form]

    return folder_of


@pytest.mark.slow
@pytest.mark.parametrize(("form", "faults"), [("lobster", {"out of view", "nothing at the price"}), ("parquet", set())])
def test_flow_that_a_model_has_generated_is_trained_on(generated, form, faults, tmp_path):
    """Of a run that tests where the new one still trains; LOBSTER's files show the best levels of the book only."""
    data = {"data.train_fraction": 0.9, "data.validation_fraction": 0.05, "train.steps": 2}
    config = config_of(**{key("synthetic_run"): str(generated(form))}, **data)
    folder = tmp_path / "run"
    assert lob_jax.train(config, folder).steps == 2
    source = open_synthetic(config, folder)
    assert len(source) and json.loads(source[0]["instrument"])["symbol"] == "SYN"
    opened = open_training_data(config, folder)
    records = np.concatenate([batch["record"] for batch in itertools.islice(opened.batches(opened.start), 10)])
    assert (records < 0).any() and (records >= 0).any()
    for index in range(len(source)):
        day = read_record(source[index], tokenizer_of(config, folder))
        known = {"start": day.start, "corrections": day.corrections, "tick": day.instrument.tick}
        assert len(day.events) and set(check_events(day.events, **known).faults) <= faults


@pytest.mark.slow
def test_flow_that_goes_on_from_test_events_is_refused(generated, beside):
    with pytest.raises(InputError, match="goes on from events on which the run is validated or tested"):
        open_synthetic(config_of(**{key("synthetic_run"): str(generated("lobster"))}), beside)


def test_the_simulated_market_is_another_one_by_seed(beside, tmp_path):
    config = config_of(seed=1)
    shutil.copytree(beside / "records", tmp_path / "records")
    prepare_synthetic(config, tmp_path)
    folders = (beside / FOLDER / "0", tmp_path / FOLDER / "1")
    one, other = (load_manifest(folder)["shards"] for folder in folders)
    assert [shard["sha256"] for shard in one.values()] != [shard["sha256"] for shard in other.values()]
