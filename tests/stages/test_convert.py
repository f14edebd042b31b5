"""Converting a crypto day that runs past midnight, and what the settings of a LOBSTER day refuse."""

import pytest
from lob_jax.configs.base import get_config
from rich.console import Console

from lob_jax.config.validation import validate
from lob_jax.errors import InputError
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.runs.records import find_days
from lob_jax.stages.data import convert
from lob_jax.statistics.inspection import inspect_day, tables
from tests.feeds import sample_lobster, sample_tardis
from tests.feeds.lobster.test_times import with_times

HEADER = "exchange,symbol,timestamp,local_timestamp,"


def with_data(path, **data):
    """Return a configuration that reads what lies at a path."""
    config = get_config()
    config.data.update({"feed": "auto", "path": str(path), **data})
    return config


@pytest.fixture
def past_midnight(tmp_path):
    """Write a day of which the last rows come after midnight; return it, its events and those of the day."""
    depth = sample_tardis.write(tmp_path)
    midnight = 1_704_240_000_000_000  # µs, the end of 2024-01-02
    for file in tmp_path.iterdir():
        moved = []
        for line in file.read_text().splitlines():
            fields = line.split(",")
            if not line.startswith(HEADER):
                fields[2:4] = (str(int(time) - sample_tardis.CLOCK - 2_600 + midnight) for time in fields[2:4])
            moved.append(",".join(fields))
        file.write_text("\n".join(moved) + "\n")
    return depth


def test_a_crypto_day_past_midnight_converts_by_what_is_chosen(past_midnight, tmp_path, capsys):
    config = with_data(past_midnight, tick="0.01", lot="0.001")
    config.convert.format = "lobster"
    with pytest.raises(InputError, match=r"after midnight[\s\S]*config.convert.past_midnight"):
        convert(config, tmp_path)
    assert not list((tmp_path / "converted").iterdir())
    rows = {}
    for choice, told in (("cut", "after midnight were cut"), ("continue", "have times of 86,400 s and more")):
        config.convert.past_midnight = choice
        validate(config)
        (tmp_path / choice).mkdir()
        convert(config, tmp_path / choice)
        assert told in " ".join(capsys.readouterr().out.split())
        (day,) = LobsterFeed(tick=100).days(tmp_path / choice / "converted")
        rows[choice] = LobsterFeed(tick=100).read(day).report["rows_read"]
    assert 0 < rows["cut"] < rows["continue"]


def test_only_lobster_files_are_read_without_an_order_book(tmp_path):
    path = sample_lobster.write(tmp_path)
    feed, _ = find_days(with_data(path, order_book="none"))
    assert feed == LobsterFeed(order_book="none")
    assert find_days(with_data(path))[0] == LobsterFeed()
    depth = sample_tardis.write(tmp_path)
    with pytest.raises(InputError, match=r"a setting that the tardis feed does not have[\s\S]*order_book"):
        find_days(with_data(depth, order_book="none"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"order_book": "maybe"}, "required"),
        ({"order_book": "none", "feed": "tardis"}, "LOBSTER files"),
        ({"order_book": "none", "path": "", "feed": "synthetic"}, "LOBSTER files"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(data, told):
    with pytest.raises(InputError) as caught:
        validate(with_data(**{"path": "somewhere", "feed": "lobster", **data}))
    assert caught.value.where == "config.data.order_book" and told in str(caught.value.expected) + caught.value.remedy


def test_only_known_ways_past_midnight_are_configured():
    config = get_config()
    config.convert.past_midnight = "wait"
    with pytest.raises(InputError, match=r"config.convert.past_midnight"):
        validate(config)


@pytest.mark.slow
def test_an_inspection_says_what_was_not_read_to_the_letter(tmp_path, capsys):
    path = with_times(tmp_path, {7: "34201.500000000997"})
    path.write_text("".join(line + ",GSCO\n" for line in path.read_text().splitlines()))
    day = LobsterFeed(order_book="none").read(path)
    Console(width=80).print(tables(inspect_day(day, levels=3))[0])
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("1 times that a double printed", "in 22 rows, GSCO", "removals of unknown orders"):
        assert text in shown
