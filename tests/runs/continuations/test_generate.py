"""Many prompts from Python: valid continuations beside the real ones, and all of them as flows."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import lob_jax
from lob_jax.book.replay import replay
from lob_jax.data.labels.moves import Outlooks, smoothed_move
from lob_jax.data.records.builder import open_records
from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.folders import read_folder
from lob_jax.evaluation.paths.ensembles import crps
from lob_jax.evaluation.paths.outlooks import brier_of_draws
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.events.schema import Kind
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.runs.continuations.forecasts import forecast_moves
from lob_jax.runs.continuations.generate import check_continuations, flows_of, generate_many, training_flow
from lob_jax.runs.continuations.outlooks import compare_with_heads, predicted
from lob_jax.stages.continuations import continue_prompts
from lob_jax.tokens.vocabulary import FIELD_GAP, field_of

pytestmark = pytest.mark.slow

PROMPTS, PATHS, EVENTS, BEFORE = 5, 2, 12, 20


@pytest.fixture(scope="module")
def paths(run):
    sampling = lob_jax.SamplingConfig(paths=PATHS, events=EVENTS, seed=3)
    return generate_many(run, prompts=PROMPTS, prompt_events=BEFORE, sampling=sampling)


@pytest.fixture(scope="module")
def flows(paths):
    return flows_of(paths, levels=3)


def test_every_path_continues_its_own_prompt_validly(paths):
    checked = check_continuations(paths)
    assert [(found.events, found.faults) for found in checked] == [(EVENTS, {})] * PROMPTS * PATHS
    assert [found.levels for found in checked] == paths.drawn.levels
    for (one, day), clock_ns in zip(paths.rows(), paths.drawn.clock_ns, strict=True):
        before = replay(one.day, 3)
        np.testing.assert_array_equal(replay(day, 3).price[0], before.price[BEFORE])
        assert day.start.time_ns == one.day.events.time_ns[BEFORE - 1] and day.events.time_ns[-1] == clock_ns
    assert len({tuple(tokens.tolist()) for tokens in paths.drawn.tokens}) == PROMPTS * PATHS


def test_flows_have_the_sequences_in_order(paths, flows):
    assert (len(flows.real), len(flows.generated), len(flows.cond)) == (PROMPTS, PROMPTS * PATHS, PROMPTS)
    for number, one in enumerate(paths.real):
        events, states = one.day.events, replay(one.day, 3)
        for flow, rows in ((flows.cond, slice(0, BEFORE)), (flows.real, slice(BEFORE, BEFORE + EVENTS))):
            part, message = flow.select([number]), events.kind[rows] != Kind.CONTROL
            np.testing.assert_array_equal(part.price, events.price[rows][message])
            np.testing.assert_array_equal(part.book_size, states.size[1:][rows][message])
    for number, (_, day) in enumerate(paths.rows()):
        part, message = flows.generated.select([number]), day.events.kind != Kind.CONTROL
        np.testing.assert_array_equal(part.size, day.events.size[message])
        np.testing.assert_array_equal(part.book_price, replay(day, 3).price[1:][message])


def test_orders_have_one_id_from_the_prompt_to_the_end_of_its_continuations(flows):
    """What is removed was added under that id, or rests since before the prompt, whose own orders have smaller ids."""
    for sequence in range(PROMPTS * PATHS):
        cond, part = flows.cond.select([sequence // PATHS]), flows.generated.select([sequence])
        for flow in (part, flows.real.select([sequence // PATHS])):
            added = flow.order_id[flow.kind == Kind.ADD]
            assert (added > 0).all() and len(np.unique(added)) == len(added)
            assert not np.isin(added, cond.order_id).any()
    removed = np.isin(flows.generated.kind, (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE))
    assert removed.any() and (flows.generated.order_id[removed] > 0).mean() > 0.5


def test_events_after_midnight_are_left_out_and_counted(paths):
    day = paths.days[1][0]
    late = np.where(np.arange(EVENTS) < 8, day.events.time_ns, day.instrument.midnight_ns() + NS_PER_DAY)
    moved = dataclasses.replace(day, events=day.events.replace(time_ns=late))
    days = (paths.days[0], (moved, paths.days[1][1]), *paths.days[2:])
    flows = flows_of(dataclasses.replace(paths, days=days), levels=3)
    assert flows.left_out == EVENTS - 8 and flows.generated.edges[3] - flows.generated.edges[2] <= 8


def test_more_prompts_than_fit_are_refused(run):
    with pytest.raises(InputError, match="too short for so many prompts"):
        generate_many(run, prompts=1_000)


def test_training_sequences_are_as_many_and_as_long(run, paths, flows):
    found = training_flow(run, paths, levels=3)
    assert len(found) == PROMPTS and found.levels == 3 and np.diff(found.edges).max() <= EVENTS
    assert found.time_ns.max() < flows.cond.time_ns.min()  # of the same day, before the test split
    many = dataclasses.replace(paths, real=paths.real * 1_000)
    assert training_flow(run, many, levels=3) is None


def test_paths_are_scored_as_forecasts_of_the_mid(run, paths):
    train = open_records(run.workdir / "records", "train")
    found = forecast_moves(paths, train)
    events = found["events"]
    assert (events["horizons"], events["prompts"], events["paths"]) == ([10], [PROMPTS], PATHS)
    assert events["training_moves"] > 100
    truth, draws = [], []
    for one, days in zip(paths.real, paths.days, strict=True):
        mid = replay(one.day, 1).mid2()[BEFORE:] / 2 / paths.instrument.tick
        truth.append(mid[10] - mid[0])
        draws.append([np.subtract(*(replay(day, 1).mid2()[[10, 0]] / 2 / paths.instrument.tick)) for day in days])
    expected = crps(np.array(draws), np.array(truth)).mean()
    assert events["forecasts"]["paths"]["crps"] == [pytest.approx(expected)]
    with pytest.raises(InputError, match="too few paths to score"):
        forecast_moves(dataclasses.replace(paths, real=paths.real[:2]), train)


@pytest.fixture(scope="module")
def with_heads(run):
    """Return the run as that of an untrained model with direct heads for 5 and 8 events."""
    heads = dataclasses.replace(run.model.heads, outlook_events=(5, 8))
    model = dataclasses.replace(run.model, heads=heads)
    other = dataclasses.replace(run, model=model, params=initial_parameters(model, jax.random.key(0)))
    other.__dict__["beside"] = dataclasses.replace(run.beside, outlooks=Outlooks((5, 8), (0.0, 1e-5)))
    return other


def test_heads_are_read_at_the_last_books_label_whatever_the_other_prompts_are(with_heads, paths):
    prompts = [one.prompt for one in paths.real]
    probability_NK3, logs_NK = predicted(with_heads, prompts)
    assert probability_NK3.shape == (PROMPTS, 2, 3) and logs_NK.shape == (PROMPTS, 2)
    np.testing.assert_allclose(probability_NK3.sum(-1), 1, rtol=1e-5)
    module, longest = LOBTransformer(with_heads.model), with_heads.model.max_seq_length
    for number, prompt in enumerate(prompts):
        field = field_of(prompt.tokens_T)
        end = len(field) - np.argmax(field[::-1] == FIELD_GAP)  # a time of one token, or its first
        assert prompt.known_T["event"][end - 1] == prompt.known_T["event"][-1]
        given = (prompt.tokens_T[:end][-longest:], {name: x[:end][-longest:] for name, x in prompt.known_T.items()})
        given = jax.tree.map(lambda leaf: leaf[None], given)
        outlook = module.apply({"params": with_heads.params}, *given, method="outlook")
        np.testing.assert_allclose(logs_NK[number], outlook.log_volatility_BTK[0, -1], rtol=1e-4, atol=1e-5)
        expected = jax.nn.softmax(outlook.direction_BTK3[0, -1])
        np.testing.assert_allclose(probability_NK3[number], expected, rtol=1e-4, atol=1e-6)


def test_paths_are_labelled_like_training_examples(run, with_heads, paths):
    found = compare_with_heads(with_heads, paths)
    assert found["horizons"] == [5, 8] and found["prompts"] == [PROMPTS, PROMPTS]
    mids = [replay(one.day, 1).mid2() / 2 for one in paths.real]
    truth = [smoothed_move(mid, 5)[BEFORE] for mid in mids]
    drawn = [
        smoothed_move(np.append(mids[number // PATHS][:BEFORE], replay(day, 1).mid2() / 2), 5)[BEFORE]
        for number, (_, day) in enumerate(paths.rows())
    ]
    labels = [np.sign(np.array(moves)).astype(int) + 1 for moves in (truth, drawn)]
    expected = brier_of_draws(labels[1].reshape(PROMPTS, PATHS), labels[0]).mean()
    assert found["brier"]["paths"][0] == pytest.approx(expected)
    assert compare_with_heads(run, paths) is None


def test_the_stage_writes_folders_scores_and_forecasts(run, tmp_path, capsys):
    """The files are LOB-Bench's, and what is read from them is what was compared."""
    config = run.config.copy_and_resolve_references()
    config.generate.update({"prompts": 4, "paths": 2, "events": 30, "prompt_events": 20})
    config.score.update({"splits": 4, "resamples": 4})
    continue_prompts(run, config, tmp_path, "many")
    told, folder = capsys.readouterr().out, tmp_path / "many"
    assert "4 prompts, 2 paths of 30 events from each" in told and "0 of 240 events invalid" in told
    assert "at the end of 8 of 8 paths" in told
    read = {part: read_folder(folder, part, events=30) for part in ("data_real", "data_gen", "data_cond")}
    assert [len(one.flow) for one in read.values()] == [4, 8, 4]
    fidelity = json.loads((folder / "fidelity.json").read_text())
    assert set(fidelity["scores"]) >= {"spread", "ofi"} and fidelity["flows"]["model"]["sequences"] == 4
    assert fidelity["flows"]["training"]["sequences"] == 4
    forecasts = json.loads((folder / "forecasts.json").read_text())
    assert forecasts["events"]["horizons"] == [10, 20] and forecasts["events"]["prompts"] == [4, 4]
    orders = json.loads((folder / "orders.json").read_text())
    assert orders["events"]["horizons"] == [10, 20] and orders["orders"] > 20 and "what becomes of" in told
    assert json.loads((folder / "settings.json").read_text())["prompts"] == 4
