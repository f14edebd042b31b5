"""The quantiles of many paths, against hand-computed ones."""

import json

import numpy as np
import pytest

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events, Kind
from lob_jax.figures.fan import fan_figure, moves_figure
from lob_jax.generation.fan import Fan, fan
from tests.market_day import market_day

INSTRUMENT = Instrument("SYN", "SIM", "2024-01-02", "America/New_York")
START = BookSnapshot(
    time_ns=INSTRUMENT.midnight_ns(),
    side=np.array([1, -1], np.int8),
    price=np.array([9_900, 10_100]),
    size=np.array([5, 5]),
    order_id=np.zeros(2, np.uint64),
    anonymous=np.zeros(2, bool),
    last_best=np.zeros(2, np.int64),
)


def path(*rows):
    """Return events from (kind, side, price, size, seconds)."""
    names = ("kind", "side", "price", "size", "time_ns")
    columns = dict(zip(names, (np.array(column) for column in zip(*rows, strict=True)), strict=True))
    columns["time_ns"] = START.time_ns + (columns["time_ns"] * 1e9).astype(np.int64)
    return market_day(Events.from_columns(**columns), start=START, instrument=INSTRUMENT)


PATHS = [
    path((Kind.ADD, 1, 10_000, 3, 1.0), (Kind.EXECUTE, 1, 10_000, 3, 2.0)),
    path((Kind.EXECUTE, -1, 10_100, 2, 0.5), (Kind.ADD, -1, 10_000, 1, 4.0)),
    path((Kind.DELETE, -1, 10_100, 5, 1.5), (Kind.ADD, -1, 10_300, 1, 3.0)),
]
WHOLE = {"quantiles": (0.0, 0.5, 1.0)}


def test_event_by_event():
    found = fan(PATHS, **WHOLE)
    assert found.moment_H.tolist() == [0, 1, 2]
    assert found.paths_H.tolist() == [3, 2, 3]  # the third path has no ask after its first event
    np.testing.assert_allclose(found.mid_HQ, [[1, 1, 1], [1, 1.0025, 1.005], [0.995, 1, 1.01]])
    np.testing.assert_allclose(found.spread_HQ, [[0.02] * 3, [0.01, 0.015, 0.02], [0.01, 0.02, 0.04]])
    np.testing.assert_allclose(found.volume_HQ, [[0, 0, 0], [0, 1, 2], [0, 2, 3]])
    np.testing.assert_allclose(found.volatility_HQ[2], [0.005, 50**0.5 / 1000, 0.01])


def test_json_gives_the_summary_back():
    found = fan(PATHS, **WHOLE)
    read = Fan.from_json(json.loads(json.dumps(found.to_json())))
    for name in ("moment_H", "quantile_Q", "paths_H"):
        np.testing.assert_array_equal(getattr(read, name), getattr(found, name))
    np.testing.assert_array_equal(read.paths_PH["mid"], found.paths_PH["mid"])
    assert np.isnan(read.mid_HQ).all()  # three paths are too few for quantiles
    many = Fan.from_json(json.loads(json.dumps(fan(PATHS[:1] * 20, **WHOLE).to_json())))
    np.testing.assert_allclose(many.mid_HQ, fan(PATHS[:1] * 20, **WHOLE).mid_HQ)


def test_what_really_happened_is_a_line_beside_the_paths():
    found = fan(PATHS, **WHOLE)
    figure = fan_figure(found, title="t", real=fan(PATHS[:1], **WHOLE))
    lines = [line for line in figure.axes[0].lines if line.get_label() == "real"]
    np.testing.assert_array_equal(lines[0].get_ydata(), found.paths_PH["mid"][0])
    assert lines[0].get_linestyle() == "--"


def test_in_time_and_only_as_far_as_every_path_goes():
    found = fan(PATHS, by="seconds", **WHOLE)
    assert found.moment_H[[0, -1]].tolist() == [0, 2]
    at_one = np.flatnonzero(np.isclose(found.moment_H, 1.0))[0]
    np.testing.assert_allclose(found.mid_HQ[at_one], [1, 1, 1.005])
    assert found.paths_H[-1] == 2


def test_paths_that_end_earlier_are_left_out():
    found = fan(PATHS, by="seconds", until=4.0, **WHOLE)
    assert found.paths_H[[0, -1]].tolist() == [3, 1]
    np.testing.assert_allclose(found.mid_HQ[-1], [0.995] * 3)
    beyond = fan(PATHS * 7, by="seconds", until=9.0, **WHOLE).to_json()
    assert beyond["mid"][-1] == [None, None, None] and beyond["paths"][-1] == 0
    assert beyond["mid"][0] == [1, 1, 1]


def test_quantiles_of_few_paths_are_not_shown_but_the_paths_are():
    few, many = fan(PATHS * 6, **WHOLE), fan(PATHS * 7, **WHOLE)
    assert few.paths_H.tolist() == [18, 12, 18] and many.paths_H.tolist() == [21, 14, 21]
    assert few.to_json()["spread"] == [[None] * 3] * 3
    assert few.to_json()["each_path"]["mid"][:3] == [[1, 1.005, 1], [1, 1, 0.995], [1, None, 1.01]]
    assert many.to_json()["mid"] == [[1, 1, 1], [None] * 3, [0.995, 1, 1.01]]
    figure = fan_figure(few, title="SYN")
    assert "18 paths at the end, too few for quantiles" in figure.get_suptitle()
    assert all(len(axes.lines) == 18 and not axes.collections for axes in figure.axes)


def test_the_figure_shows_every_measure():
    figure = fan_figure(fan(PATHS * 7), title="SYN")
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "mid price",
        "spread, price",
        "traded, lots",
        "realised volatility, price",
    ]
    assert len(figure.axes[0].collections) == 2


@pytest.mark.parametrize(
    ("paths", "by", "fault"), [([], "events", "nothing to summarise"), (PATHS, "minutes", "unit of time")]
)
def test_what_cannot_be_forecast_is_refused(paths, by, fault):
    with pytest.raises(InputError, match=fault):
        fan(paths, by=by, **WHOLE)


def test_moves_of_real_and_generated_sequences_stand_side_by_side():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(40, 3)), rng.normal(size=(20, 3))
    real[:, 2] = np.nan
    figure = moves_figure(real, generated, horizons=np.arange(3), title="t")
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata()[:2], np.median(real[:, :2], axis=0))
    np.testing.assert_allclose(right.lines[0].get_ydata(), np.median(generated, axis=0))
    assert "n = 40" in left.get_title() and np.isnan(left.lines[0].get_ydata()[2])
