"""A run that is trained on the flow of its own: the model that it starts from has continued its windows before."""

import json

import jax
import numpy as np
import pytest

import lob_jax
from lob_jax.data.records.builder import open_records
from lob_jax.data.windows.augment.altered import ADDED
from lob_jax.data.windows.augment.own_flow import Continuation
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.runs.beside import beside_of
from lob_jax.runs.own_flow import FILE, _arrays, _read, _write, own_flow_digest, places_in
from lob_jax.runs.training import windows_of
from tests.runs.conftest import SMALL

OWN = {"data.augment.own_flow": 1.0, "data.augment.own_events": 3, "data.augment.own_prompts": 40}


class Stop(Exception):
    """Ends a run from outside."""


def config_of(trained, **changes):
    named = {key.replace("__", "."): value for key, value in changes.items()}
    return lob_jax.get_config("tiny", {**SMALL, "train.init": str(trained.workdir), **OWN, **named})


@pytest.fixture(scope="module")
def tuned(trained, tmp_path_factory):
    """Return the folder of a run from end to end, and its parameters at each validation."""
    folder, seen = tmp_path_factory.mktemp("own") / "run", {}

    def keep(step, loss, params):
        seen[step] = jax.tree.map(np.array, params)

    lob_jax.train(config_of(trained), folder, on_validation=keep)
    return folder, seen


@pytest.fixture(scope="module")
def windows(trained, tuned):
    config = config_of(trained)
    found = windows_of(config, tuned[0], "train", beside_of(config, tuned[0]))
    assert isinstance(found, AlteredWindows)
    return found


@pytest.mark.slow
def test_a_place_is_in_the_first_half_of_its_window_behind_enough_of_its_record(windows):
    plain, found = windows.windows, drawn_in(windows)
    assert [(one.window, one.at) for one in found] == [
        (place.window, place.at) for place in places_in(plain, 40, history=32, seed=0)
    ]
    chosen = [one.window for one in found]
    assert chosen == sorted(chosen) and len(set(chosen)) == 40 and np.ptp(np.diff(chosen)) <= 2
    for one in found:
        span = plain.spans[one.window]
        event = plain.prepared(span.record).event
        assert event[span.start] < one.at <= event[span.start + plain.context // 2]
        assert np.count_nonzero(event < one.at) >= 32


def drawn_in(windows):
    return [one for (flow,) in windows.of_span.values() for one in flow.continuations]


@pytest.mark.slow
def test_the_book_takes_what_the_model_has_drawn(windows):
    """It was drawn from the very book at its place."""
    found = drawn_in(windows)
    left_out = real = 0
    for index, one in enumerate(found):
        span = windows.windows.spans[one.window]
        for draw in range(3):
            _, day = windows.cut(span, np.random.default_rng((index, draw)))
            added = np.flatnonzero(day.origin == ADDED)
            assert day.refused == 0 and 1 <= len(added) <= 3 and added[0] == one.at
            assert np.all(np.diff(day.day.events.time_ns) >= 0)
            left_out, real = left_out + day.left_out, real + len(day.origin) - one.at
    assert left_out < 0.2 * real


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit_with_the_flow_that_it_has_drawn(trained, tuned, tmp_path):
    folder, seen = tuned

    def stop(step, loss, params):
        raise Stop

    with pytest.raises(Stop):
        lob_jax.train(config_of(trained), tmp_path / "run", on_validation=stop)
    assert own_flow_digest(config_of(trained), tmp_path / "run") == own_flow_digest(config_of(trained), folder)
    last = {}
    lob_jax.train(
        config_of(trained),
        tmp_path / "run",
        on_validation=lambda step, loss, params: last.update({step: jax.tree.map(np.array, params)}),
    )
    assert list(last) == [4] and jax.tree.all(jax.tree.map(np.array_equal, last[4], seen[4]))
    with pytest.raises(InputError, match="the checkpoint is of another run") as error:
        lob_jax.train(config_of(trained, data__augment__own_flow=0.0), tmp_path / "run")
    assert "data.augment.own_flow = 1.0" in str(error.value)
    path = tmp_path / "run" / FILE
    about, found = _read(path)
    _write(path, about, found[:-1])
    with pytest.raises(InputError, match="the checkpoint is of another run") as error:
        lob_jax.train(config_of(trained), tmp_path / "run")
    assert "own_flow" in str(error.value)


@pytest.mark.slow
def test_it_is_read_again_only_if_nothing_that_determines_it_has_changed(trained, tmp_path, monkeypatch):
    config, drawn = config_of(trained, train__validate_every=4), []

    def continued(run, windows, *, prompts, events, seed, folder):
        drawn.append((prompts, events, seed))
        yield Continuation(3, 5, Events.from_columns(time_ns=np.array([1])))

    monkeypatch.setattr("lob_jax.runs.own_flow.continued", continued)
    lob_jax.prepare(config, tmp_path)
    beside = beside_of(config, tmp_path)
    for _ in range(2):
        windows_of(config, tmp_path, "train", beside)
    assert drawn == [(40, 3, 0)]
    windows_of(config_of(trained, data__augment__own_events=2), tmp_path, "train", beside)
    assert drawn[1:] == [(40, 2, 0)]
    about, found = _read(tmp_path / FILE)
    _write(tmp_path / FILE, {**about, "parameters": "others"}, found)
    windows_of(config_of(trained, data__augment__own_events=2), tmp_path, "train", beside)
    assert len(drawn) == 3


@pytest.mark.slow
def test_as_many_places_are_drawn_as_the_share_asks_for(trained, tmp_path, monkeypatch):
    drawn = []

    def continued(run, windows, *, prompts, **_):
        drawn.append((prompts, len(windows.spans)))
        yield Continuation(3, 5, Events.from_columns(time_ns=np.array([1])))

    monkeypatch.setattr("lob_jax.runs.own_flow.continued", continued)
    config = config_of(trained, data__augment__own_prompts=None, data__augment__own_flow=0.3)
    lob_jax.prepare(config, tmp_path)
    windows_of(config, tmp_path, "train", beside_of(config, tmp_path))
    ((prompts, windows),) = drawn
    assert prompts - 1 < 0.3 * windows <= prompts and windows > 10


def test_what_is_written_is_read(tmp_path):
    events = Events.from_columns(time_ns=np.arange(5), order_id=np.array([2**63, 1, 2, 3, 4], np.uint64))
    written = [Continuation(1, 7, events[:2]), Continuation(4, 9, events[2:])]
    _write(tmp_path / FILE, {"seed": 3}, written)
    about, found = _read(tmp_path / FILE)
    assert about == {"seed": 3} and [(one.window, one.at, len(one.events)) for one in found] == [(1, 7, 2), (4, 9, 3)]
    for name, array in _arrays(written).items():
        np.testing.assert_array_equal(_arrays(found)[name], array)
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="cannot be read"):
        _read(tmp_path / FILE)


@pytest.mark.slow
def test_windows_without_enough_before_them_are_no_places(trained):
    windows = TokenBookDataset(
        open_records(trained.workdir / "records", "train"), context=64, time_buckets=288, evaluation=False
    )
    with pytest.raises(InputError, match="no place at which the model can continue"):
        places_in(windows, 4, history=100_000, seed=0)


def test_without_a_run_to_start_from_it_is_refused():
    with pytest.raises(InputError, match="own_flow") as error:
        lob_jax.get_config("tiny", {**SMALL, **OWN})
    assert "--config.train.init=" in str(error.value)


@pytest.mark.slow
def test_without_it_a_run_is_as_before(trained):
    config = lob_jax.get_config("tiny", {**SMALL, "train.init": str(trained.workdir)})
    windows = windows_of(config, trained.workdir, "train", beside_of(config, trained.workdir))
    assert isinstance(windows, TokenBookDataset)
    assert own_flow_digest(config, trained.workdir) == {}
    assert json.loads((trained.workdir / "config.json").read_text())["data"]["augment"]["own_flow"] == 0
    assert not (trained.workdir / FILE).exists()
