"""The study of live quality plants what it says into valid days, and scores the events of a run."""

import json

import numpy as np
import pytest

import lob_jax
from lob_jax.bench import live_quality
from lob_jax.bench.live_quality import BROKEN, PIECE, PLANTED, pieces_of, places_in, quantiles, table
from lob_jax.book.replay import count_states, replay
from lob_jax.errors import InputError
from lob_jax.export.reference.features import columns_of
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.runs.export import export_run
from lob_jax.runs.reference import Part
from lob_jax.serving.monitoring.monitor import Monitor
from lob_jax.serving.requests import Scored
from lob_jax.tokens.exact import ExactTokenizer
from tests.export.reference.references import reference_of_days
from tests.runs.conftest import EXPORT, SMALL

DAY = SyntheticFeed(events=1500).read("2024-01-02")


@pytest.mark.parametrize("name", PLANTED)
def test_defects_leave_a_book_that_its_events_fit(name):
    changed = PLANTED[name](DAY)
    assert count_states(changed) == count_states(DAY)
    assert len(ExactTokenizer(5).encode(changed)) > 0


def test_defects_are_what_they_say():
    made = {name: plant(DAY) for name, plant in PLANTED.items()}
    np.testing.assert_array_equal(made["sizes x 3"].events.size, 3 * DAY.events.size)
    np.testing.assert_array_equal(replay(made["sizes x 3"], 1).size, 3 * replay(DAY, 1).size)
    np.testing.assert_array_equal(replay(made["tick x 5"], 1).price, 5 * replay(DAY, 1).price)
    gaps = np.diff(DAY.events.time_ns)
    np.testing.assert_allclose(np.diff(made["gaps x 5"].events.time_ns), 5 * gaps, atol=64)
    np.testing.assert_allclose(np.diff(made["gaps / 5"].events.time_ns), gaps / 5, atol=64)


def test_broken_networks_are_what_they_say():
    given = {"tokens": np.ones((1, 3), np.int32), "features": np.full((1, 3), 2.0, np.float32)}

    def added(inputs):
        return inputs["tokens"].astype(np.float32) + inputs["features"]

    found = {name: broken(added)(given) for name, broken in BROKEN.items()}
    assert {name: float(one[0, 0]) for name, one in found.items()} == {
        "logits x 1.5": 4.5, "logits / 1.5": 2.0, "no book": 1.0,
    }  # fmt: skip
    assert found["logits x 1.5"].dtype == np.float32


def test_pieces_are_all_events_that_count_once():
    pieces = pieces_of([Part(DAY, 100)])
    assert [piece.first for piece in pieces] == list(range(100, len(DAY.events), PIECE))


def test_places_are_parts_of_the_day_with_their_books():
    for part in places_in(DAY, 3):
        at = int(np.flatnonzero(DAY.events.order_id == part.day.events.order_id[0])[0])
        assert part.first == live_quality.CONTEXT and len(part.day.events) == PIECE + part.first
        np.testing.assert_array_equal(replay(part.day, 1).price[0], replay(DAY, 1).price[at])


def reports():
    monitor, found = Monitor(reference_of_days([DAY])), []
    for nats in (-10.0, -20.0):
        monitor.scored(DAY.events[100:700], Scored((nats,) * 600, ("",) * 600, *(((0.2,) * 600,) * 5)))
        found.append(monitor.report())
    return found


def test_the_table_has_a_line_for_each_number():
    first, last = found = reports()
    least, median, most = quantiles(found, "nats")
    assert (least, median, most) == (-15.0, -12.5, -10.0) and first.quality.nats == -10.0
    normal = {column: quantiles(found, column) for column in ("nats_change", "nats")}
    planted = {"none": {"nats_change": last.nats_change, "nats": None}}
    lines = table({"validation": {"nats": -16.5}, "normal": normal, "planted": planted})
    assert len(lines) == 3 and "nan" in lines[2] and "-16.500" in lines[2]
    assert columns_of(DAY.events).size[0] > 0


@pytest.mark.slow
def test_a_run_is_studied_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(live_quality, "WINDOW", 100)
    lob_jax.train(lob_jax.get_config("tiny", SMALL), str(tmp_path))
    exported = export_run(lob_jax.load_run(tmp_path), tmp_path / "bundle", EXPORT)
    live_quality.main(["--run", str(tmp_path), "--threads", "1"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["validation"]["events"] == exported.bundle.contents.reference.quality.events
    assert list(result["planted"]) == [*PLANTED, *BROKEN]
    assert len({one["nats"] for one in result["planted"].values()}) == len(result["planted"])
    assert result["planted"]["sizes x 3"]["nats"] < result["planted"]["none"]["nats"]
    least, median, most = result["normal"]["nats"]
    assert least <= median <= most < 0


def test_a_run_without_anything_to_compare_is_refused(tmp_path):
    class Empty:
        class contents:  # noqa: N801
            reference = reference_of_days([DAY], quality=None)

    with pytest.raises(InputError, match="nothing to compare"):
        live_quality.reference_in(Empty, tmp_path, lambda inputs: inputs)
