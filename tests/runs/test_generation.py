"""Paths from Python: behind a run's test split, or behind a day of the user's."""

import dataclasses
import json

import numpy as np
import pytest

import lob_jax
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import read_record
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.runs.reveals import largest_in_training
from lob_jax.stages.generate import generate
from lob_jax.tokens.bins import MOST_LOTS


@pytest.fixture(scope="module")
def paths(run, day):
    sampling = lob_jax.SamplingConfig(paths=3, events=20, seed=1)
    return lob_jax.generate(run, day, prompt_events=20, sampling=sampling)


@pytest.mark.slow
def test_without_a_day_test_events_are_continued_as_the_configuration_says(run):
    told: list[int] = []
    paths = lob_jax.generate(run, on_progress=told.append)
    assert len(paths) == 3 and {len(day.events) for day in paths} == {12} and told[-1] == 12
    assert len(np.unique(paths.prompt.known_T["event"])) == 20
    assert len({tuple(tokens.tolist()) for tokens in paths.drawn.tokens}) == 3


@pytest.mark.slow
def test_a_days_end_is_continued_and_every_event_can_happen(day, paths):
    for path, found, clock, levels in zip(
        paths, lob_jax.check_paths(paths), paths.drawn.clock_ns, paths.drawn.levels, strict=True
    ):
        assert (found.events, found.faults) == (20, {}) and found.levels == levels
        assert path.instrument == day.instrument and path.start.time_ns == day.events.time_ns[-1]
        assert path.events.time_ns[-1] == clock
    states, after = lob_jax.reconstruct_book_states(day, 3), lob_jax.reconstruct_book_states(paths[0], 3)
    np.testing.assert_array_equal(after.size[0], states.size[-1])
    assert len(np.unique(paths.prompt.known_T["event"])) == 20


@pytest.mark.slow
def test_sizes_are_limited_to_those_of_the_training_records(run, paths):
    largest, kinds = np.zeros(8, int), range(1, 7)
    for record in open_records(run.workdir / "records", "train"):
        events = read_record(record, run.tokenizer).events[int(record["lead_events"]) :]
        np.maximum.at(largest, events.kind, events.size)
    assert largest[Kind.ADD] > 0 and largest[Kind.CANCEL] == 0  # a kind without events has the largest of all
    limits = [largest[kind] or largest.max() for kind in kinds]
    assert paths.prompt.largest[1:7].tolist() == limits
    for path in paths:
        whole = path.events.kind == Kind.DELETE
        assert (whole | (path.events.size <= paths.prompt.largest[path.events.kind])).all()
    assert (largest_in_training(run.workdir / "records", "another") == MOST_LOTS).all()


@pytest.mark.slow
def test_orders_of_the_configuration_are_sent_and_their_fills_written(trained):
    config = trained.config.copy_and_resolve_references()
    config.generate.orders, config.generate.name = ("buy 7 @ market after 3", "sell 1 @ 9000 after 5"), "orders"
    generate(config, trained.workdir)
    became = json.loads((trained.workdir / "generated" / "orders" / "orders.json").read_text())
    assert became["orders"] == list(config.generate.orders) and len(became["paths"]) == 3
    for market, limit in became["paths"]:
        assert sum(fill["size"] for fill in market["fills"]) == market["filled"] == 7
        assert (limit["sent"], limit["rested"], limit["left"], limit["fills"]) == (True, 1, 1, [])


@pytest.mark.slow
def test_what_paths_expect_is_told_of_them_alone(day, paths):
    outlook = lob_jax.forecast(paths)
    assert outlook.moment_H.tolist() == list(range(21)) and outlook.paths_H.tolist() == [3] * 21
    mids = [lob_jax.reconstruct_book_states(path, 1).mid2() / 2 / day.instrument.price_scale for path in paths]
    np.testing.assert_allclose(outlook.paths_PH["mid"], mids)
    assert len(lob_jax.fan_figure(outlook, title="SYN").axes) >= 4


@pytest.mark.slow
def test_a_day_without_events_is_not_continued(run, day):
    with pytest.raises(InputError, match="nothing to continue"):
        lob_jax.generate(run, day.part(0, 0, start=day.start))
    with pytest.raises(InputError, match="nothing to continue"):
        lob_jax.generate(run, day, prompt_events=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"causal": False, "mask": "none", "latest_tokens": False, "pointer": False}, "both sides"),
        ({"kind": "performer"}, "performer attention has no mask"),
    ],
)
def test_a_model_that_cannot_generate_is_refused(run, changes, why):
    kind = {"attention": dataclasses.replace(run.model.attention, kind=changes["kind"])} if "kind" in changes else {}
    model = dataclasses.replace(run.model, **(kind or changes))
    with pytest.raises(InputError, match="cannot generate") as caught:
        lob_jax.generate(dataclasses.replace(run, model=model))
    assert why in caught.value.was


@pytest.mark.slow
def test_a_day_of_an_instrument_that_the_model_does_not_know_is_refused(run, day):
    known = dataclasses.replace(run.beside, symbols=("OTHER",), names=(*run.beside.names, "instrument"))
    other = dataclasses.replace(run, workdir=run.workdir)
    other.__dict__["beside"] = known
    with pytest.raises(InputError, match="instrument is not in the list of symbols"):
        lob_jax.generate(other, day)
