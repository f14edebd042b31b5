"""Which data a configuration means: told, never guessed in silence, and never other than the run's own records."""

import pytest

from lob_jax.config import validation
from lob_jax.configs import tiny
from lob_jax.errors import InputError
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.stages import data, model
from lob_jax.stages.export import export
from lob_jax.stages.generate import generate
from lob_jax.writers.lobster import write_lobster

SMALL = {
    "synthetic_days": 1,
    "synthetic_events": 3000,
    "record_events": 256,
    "embargo_events": 40,
    "book_levels": 3,
    "processes": 1,
}


def settings(**changes):
    config = tiny.get_config()
    config.data.update(**{**SMALL, **changes})
    config.model.update(d_model=16, n_layers=1, n_heads=2, d_ff=32, max_seq_length=64)
    config.train.update(batch_size=8, micro_batch=1, steps=2, validate_every=2, validation_windows=16)
    validation.validate(config)
    return config


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """Return the message file of a LOBSTER day."""
    made = SyntheticFeed(1, 2500, 3).read("2024-01-02")
    folder = tmp_path_factory.mktemp("days")
    return write_lobster(folder, made, levels=5, monotone_time=True).message


@pytest.mark.parametrize("key", [{}, {"feed": "auto"}, {"feed": "synthetic"}])
def test_without_a_path_the_simulator_is_read_and_said_to_be(key, tmp_path, capsys):
    config = settings(**key)
    assert data.feed_name(config) == "synthetic"
    data.tell_feed(config)
    told = capsys.readouterr().out
    assert told == ("" if key == {"feed": "synthetic"} else "feed: synthetic, since no --config.data.path is given\n")


def test_a_path_is_read_by_its_format_and_said_to_be(day, capsys):
    config = settings(path=str(day))
    feed, days = data.find_days(config)
    assert type(feed).__name__ == "LobsterFeed" and [one.trading_day for one in days] == ["2024-01-02"]
    data.tell_feed(config)
    assert capsys.readouterr().out == f"feed: lobster, the format of {day}\n"


def test_the_simulator_with_a_path_is_refused():
    with pytest.raises(InputError, match="data.feed") as caught:
        settings(feed="synthetic", path="days/x.csv")
    assert "leave out --config.data.feed=synthetic" in caught.value.remedy


@pytest.mark.parametrize("feed", ["auto", "lobster", "tardis"])
def test_a_path_where_nothing_lies_is_refused_before_anything_is_made(feed, tmp_path):
    for stage in (data.prepare, data.inspect, data.convert):
        with pytest.raises(InputError, match="nothing at the path of the data"):
            stage(settings(feed=feed, path=str(tmp_path / "nowhere.csv")), tmp_path / "run")
    assert not (tmp_path / "run" / "records").exists()


def test_a_path_may_begin_with_the_home_folder(day, monkeypatch):
    monkeypatch.setenv("HOME", str(day.parent))
    assert data.feed_name(settings(path=f"~/{day.name}")) == "lobster"
    assert len(data.find_days(settings(path=f"~/{day.name}", feed="lobster"))[1]) == 1


@pytest.fixture(scope="module")
def runs(day, tmp_path_factory):
    """Return two runs' folders with records: of the simulator, and of the LOBSTER day."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("simulated", "lobster")}
    data.prepare(settings(), folders["simulated"])
    data.prepare(settings(path=str(day)), folders["lobster"])
    return folders


def test_records_of_a_named_feed_and_of_one_that_was_told_by_the_files_are_the_same(runs, day, capsys):
    data.prepare(settings(path=str(day), feed="lobster"), runs["lobster"])
    data.prepare(settings(feed="synthetic"), runs["simulated"])
    assert capsys.readouterr().out.count(", found in ") == 2


def test_the_records_of_a_run_are_those_of_its_configuration_or_refused(runs, day, tmp_path, capsys):
    data.check_records(settings(), runs["simulated"])
    data.check_records(settings(path=str(day)), runs["lobster"])
    assert capsys.readouterr().out == ""
    data.check_records(settings(), runs["lobster"])
    assert "records: those of the run, from the lobster feed" in capsys.readouterr().out
    other = tmp_path / day.name
    other.write_text(day.read_text().replace(",100,", ",200,", 1))
    for book in day.parent.glob("*orderbook*"):
        (tmp_path / book.name).write_bytes(book.read_bytes())
    for config, run, told in [
        (settings(path=str(day)), "simulated", "inputs.feed = 'lobster'"),
        (settings(feed="synthetic"), "lobster", "inputs.feed = 'synthetic'"),
        (settings(path=str(other)), "lobster", "inputs."),
        (settings(synthetic_events=3001), "simulated", "inputs.events = 3001"),
        (settings(record_events=128), "simulated", "record_events = 128"),
    ]:
        with pytest.raises(InputError, match="belong to other data") as caught:
            data.check_records(config, runs[run])
        assert told in caught.value.was, config.data
    with pytest.raises(InputError, match="nothing at the path"):
        data.check_records(settings(path=str(tmp_path / "nowhere.csv")), runs["lobster"])


@pytest.mark.parametrize("stage", [model.evaluate, export, generate])
def test_every_stage_that_needs_a_trained_run_names_one_command(stage, tmp_path, runs):
    for workdir in (tmp_path / "new", runs["simulated"]):
        with pytest.raises(InputError, match="no trained model yet") as caught:
            stage(settings(), workdir)
        assert f"--mode=train --workdir={workdir}" in caught.value.remedy
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("stage", [model.evaluate, export, generate])
def test_every_stage_that_needs_records_refuses_those_of_other_data(stage, runs, day):
    (runs["simulated"] / "checkpoints" / "2").mkdir(parents=True, exist_ok=True)
    try:
        with pytest.raises(InputError, match="belong to other data"):
            stage(settings(path=str(day)), runs["simulated"])
    finally:
        (runs["simulated"] / "checkpoints" / "2").rmdir()
