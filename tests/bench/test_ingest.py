"""The ingestion benchmark on short files: every case is measured, and files are repeated correctly."""

import json

import numpy as np
import pytest

from lob_jax.bench import ingest, tiling
from lob_jax.events.schema import Code, Kind
from lob_jax.feeds.load import load_incremental_data
from tests.feeds.checks import assert_round_trip, assert_sound, sample_of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tile"),
    [
        ("lobster", lambda path, folder: tiling.tile_lobster(path, folder, events=150)),
        ("tardis", lambda path, folder: tiling.tile_tardis(path, folder, events=150)),
        ("binance", lambda path, folder: tiling.tile_binance(path, folder, rows=150)),
    ],
)
def test_a_repeated_file_is_a_day_with_the_events_of_the_first_again_and_again(name, tile, tmp_path):
    sample = sample_of(name)
    for part in ("raw", "long"):
        (tmp_path / part).mkdir()
    path = sample.write(tmp_path / "raw")
    once, many = sample.FEED.read(path), sample.FEED.read(tile(path, tmp_path / "long"))
    times = -(-many.report["rows_read"] // once.report["rows_read"])
    assert times >= 3 and many.report["rows_read"] == times * once.report["rows_read"]
    more = {"trades before the first snapshot", "a snapshot of a book in step"}
    assert many.report["rows_dropped"].keys() <= once.report["rows_dropped"].keys() | more
    assert_sound(many)
    assert_round_trip(many)
    np.testing.assert_array_equal(many.events.kind[: len(once.events)], once.events.kind)


@pytest.mark.slow
def test_a_repeated_dbn_file_clears_its_book_between(market_data, tmp_path):
    path = market_data("databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst")
    day = load_incremental_data(tiling.tile_databento(path, tmp_path, records=70_000))
    assert (day.events.code[day.events.kind == Kind.CONTROL] == Code.CLEAR).sum() == 1
    assert day.report["rows_read"] == 2 * 68_793


@pytest.mark.slow
def test_the_last_line_is_one_json_object(tmp_path, capsys):
    path = sample_of("tardis").write(tmp_path)
    ingest.main(["--tardis", str(path), "--events", "300", "--repeat", "1"])
    *table, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    cases = figures["cases"]
    assert set(cases) == {f"tardis, {path.name}", "itch, simulated"}
    assert len(table) == 1 + len(cases) + 1 and table[2].startswith(ingest.THEIRS)
    assert cases[f"tardis, {path.name}"]["hftbacktest"] is None  # not installed
    assert {"command", "commit", "machine", "versions"} <= set(figures)
    for case in cases.values():
        assert case["rows_to_quotes_per_cpu_s"] > 0 and case["rows_per_cpu_s"] > 0
        assert case["rows_per_s_all_cores"] > 0 and case["rows_per_cpu_s_all_cores"] > 0 and case["cores"] > 0
        assert case["rows_per_s"] > 0 and case["tokens"] > 3 * case["events"] and case["peak_anonymous_mib"] > 10


def test_each_file_has_the_figures_of_another_converter_below_it():
    case = {"rows_per_s": 2e6, "rows_per_cpu_s": 2e6, "rows_per_s_all_cores": 3e6, "rows_to_quotes_per_cpu_s": 4e6}
    case |= {"events_per_s": 1e6, "read_rows_per_s": 1e6, "encode_events_per_s": 1e6, "replay_events_per_s": {}}
    case |= {"peak_anonymous_mib": 10.0, "cpu_s": 2.0}
    its = {"its_rows_per_s": 1.5e6, "its_rows_per_cpu_s": 1.25e6, "its_cpu_s": 2.5}
    lines = ingest.table({"tardis, a": case | {"hftbacktest": its}, "tardis, b": case | {"hftbacktest": None}})
    assert [line.startswith(ingest.THEIRS) for line in lines] == [False, False, True, False, True]
    assert lines[2].endswith("    1.50    1.25   of its own; 1.25 times our CPU time")
    assert lines[4].endswith("not installed")
