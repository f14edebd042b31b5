"""Forecasting examples: hand-computed labels, no look-ahead, and fitting on the training split only."""

import dataclasses

import numpy as np
import pytest

from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.tape import Tape, read_tape
from lob_jax.errors import InputError
from lob_jax.forecasting import examples as f
from lob_jax.tokens.exact import ExactTokenizer

LAYOUT = f.ForecastLayout(history=20, horizons=(3, 10), levels=3, context=40, time_buckets=86_400)
EVENTS, FORK = 320, 200
LABELS = ("direction", "move")
TINY = Tape(
    **{name: np.zeros(20, np.int64) for name in "run own price size mid2 clock_ns kind flow features".split()},
    **{name: np.zeros(0, np.int64) for name in "tokens token_event token_row".split()},
    symbols=("X",),
    tick=np.array([100]),
    midnight_ns=np.array([0]),
    day_of_week=np.array([0], np.int32),
)


def tape_of(day, *, first=0, lead=0):
    part = Part("train", first, len(day.events), lead)
    shape = {"record_events": 64, "context": 80, "book_levels": 2}
    records = [record for _, record in make_records(day, [part], ExactTokenizer(), **shape)]
    return read_tape(records, ExactTokenizer(), levels=LAYOUT.levels)


@pytest.fixture(scope="module")
def days(make_day):
    """Two days that are equal before event FORK and differ from it on."""
    return [make_day(EVENTS, fork=FORK, fork_seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def tapes(days):
    return [tape_of(day) for day in days]


@pytest.fixture(scope="module")
def sets(tapes):
    scaling = f.fit_scaling(tapes[0], LAYOUT)
    return [f.ForecastExamples(tape, LAYOUT, scaling, stride=1, with_tokens=True) for tape in tapes]


def whole(examples: f.ForecastExamples) -> dict:
    return {"row": examples.rows, **examples.batch(np.arange(len(examples)))}


def leaks(one: dict, other: dict, *, upto: int, names) -> set[str]:
    """Return the names of the arrays that differ at anchors up to and including row `upto`."""
    assert one["row"][0] <= upto < min(one["row"][-1], other["row"][-1])
    rows = [batch["row"] <= upto for batch in (one, other)]
    np.testing.assert_array_equal(one["row"][rows[0]], other["row"][rows[1]])
    return {name for name in names if not np.array_equal(one[name][rows[0]], other[name][rows[1]])}


def test_inputs_do_not_depend_on_the_anchor_event_or_a_later_one(sets):
    """The last anchor checked is the first event that differs."""
    batches = [whole(examples) for examples in sets]
    names = set(batches[0]) - {"row", *LABELS}
    assert len(names) == 12
    assert leaks(*batches, upto=FORK, names=names) == set()
    assert {"book", "flow", "kind", "tokens", "past_clock"} <= leaks(*batches, upto=FORK + 1, names=names)


@pytest.mark.parametrize("k", range(len(LAYOUT.horizons)))
def test_labels_do_not_depend_on_events_behind_the_horizon(sets, k):
    """The label of anchor i depends on events i..i+k-1; the first event that differs is just after the horizon."""
    batches = [whole(examples) for examples in sets]
    cut = [{"row": b["row"], **{name: b[name][:, k] for name in LABELS}} for b in batches]
    last = FORK - LAYOUT.horizons[k]
    assert leaks(*cut, upto=last, names=LABELS) == set()
    assert leaks(*cut, upto=FORK + 60, names=LABELS) == set(LABELS)


@pytest.mark.parametrize("k", [1, 4])
def test_a_label_reads_k_mids_up_to_the_anchors_and_k_behind_it(k):
    rows, mid2 = np.array([10]), np.full(20, 1000)
    changed = [row for row in range(20) if f.smoothed_change(mid2 + (np.arange(20) == row), rows, (k,))[0, 0] != 0]
    assert changed == list(range(10 - k + 1, 10 + k + 1))
    tape = dataclasses.replace(TINY, mid2=mid2 + (np.arange(20) == 10 + k))
    assert f.mid_moves(tape, rows, (k,))[0, 0] == 0.005 and f.mid_moves(tape, rows, (k + 1,))[0, 0] == 0


@pytest.mark.parametrize("name", ["book", "flow", "tokens"])
def test_a_planted_leak_is_caught(tapes, sets, name):
    """The check above detects an input that reads one row too far ahead."""

    def ahead(tape):
        moved = {"book": ("price", "size"), "flow": ("flow",), "tokens": ("tokens",)}[name]
        return dataclasses.replace(tape, **{column: np.roll(getattr(tape, column), -1, axis=0) for column in moved})

    batches = [
        whole(f.ForecastExamples(ahead(tape), LAYOUT, sets[0].scaling, stride=1, with_tokens=True)) for tape in tapes
    ]
    assert leaks(*batches, upto=FORK, names=[name]) == {name}


def test_a_smoothed_change_by_hand():
    mid2 = np.array([100, 102, 104, 108, 110, 102, 102])
    rows = np.array([2, 3])
    change = f.smoothed_change(mid2, rows, (1, 2, 3))
    np.testing.assert_allclose(change[0], [108 / 104 - 1, 109 / 103 - 1, (320 / 3) / 102 - 1])
    np.testing.assert_allclose(change[1], [110 / 108 - 1, 106 / 106 - 1, (314 / 3) / (314 / 3) - 1], atol=1e-15)
    np.testing.assert_allclose(f.past_lean(mid2, rows, (1, 2))[1], [0, 108 / 106 - 1])


def test_a_change_of_the_current_mid_by_hand():
    """The definition of FI-2010: the mean of the next k mids over the current one."""
    mid2 = np.array([100, 102, 104, 108, 110, 102, 102])
    change = f.smoothed_change(mid2, np.array([2, 3]), (1, 2, 3), smoothing="future")
    np.testing.assert_allclose(change[0], [108 / 104 - 1, 109 / 104 - 1, (320 / 3) / 104 - 1])
    np.testing.assert_allclose(change[1], [110 / 108 - 1, 106 / 108 - 1, (314 / 3) / 108 - 1])


def test_a_fixed_threshold_and_the_other_definition_label_the_examples(tapes, monkeypatch):
    layout = dataclasses.replace(LAYOUT, smoothing="future", threshold=2e-4)
    scaling = f.fit_scaling(tapes[0], layout)
    assert scaling.threshold.tolist() == [2e-4, 2e-4]
    examples = f.ForecastExamples(tapes[0], layout, scaling, stride=1, with_tokens=False)
    mid, k = tapes[0].mid2, 3
    ahead = np.array([mid[row + 1 : row + 1 + k].mean() / mid[row] - 1 for row in examples.rows])
    np.testing.assert_array_equal(examples.direction[:, 0], 1 + (ahead > 2e-4) - (ahead < -2e-4))
    monkeypatch.setattr(f, "FLAT_SHARE", 0.95)  # this mid seldom moves
    fitted = [f.fit_scaling(tapes[0], dataclasses.replace(LAYOUT, smoothing=one)).threshold for one in f.SMOOTHINGS]
    assert (fitted[0] != fitted[1]).all()


def test_the_lean_is_the_change_of_a_mid_that_stays():
    mid2 = np.array([100, 104, 98, 110, 110, 110])
    rows = np.array([3])
    np.testing.assert_allclose(f.past_lean(mid2, rows, (2,)), f.smoothed_change(mid2, rows, (2,)))


def test_classes_of_changes():
    change = np.array([[-2.0, 0.0], [-1.0, 1e-9], [1.0, -1e-9], [1.5, 0.0]])
    labels = f.classes(change, np.array([1.0, 0.0]))
    np.testing.assert_array_equal(labels[:, 0], [f.DOWN, f.FLAT, f.FLAT, f.UP])
    np.testing.assert_array_equal(labels[:, 1], [f.FLAT, f.UP, f.DOWN, f.FLAT])


def test_moves_are_in_ticks(tapes):
    rows = f.anchors(tapes[0], LAYOUT)[:5]
    tape = tapes[0]
    expected = [[(tape.mid2[row + k] - tape.mid2[row]) / 200 for k in LAYOUT.horizons] for row in rows]
    np.testing.assert_allclose(f.mid_moves(tape, rows, LAYOUT.horizons), expected)


def test_an_anchor_has_a_whole_example_around_it(tapes):
    tape, rows = tapes[0], f.anchors(tapes[0], LAYOUT)
    assert rows[-1] + 10 == len(tape) - 1  # the last row is the state after the last event
    longer = f.anchors(tape, dataclasses.replace(LAYOUT, context=400))
    assert np.searchsorted(tape.token_event, longer[0]) >= 400 > np.searchsorted(tape.token_event, longer[0] - 1)
    assert set(longer) <= set(rows)
    bare = (np.arange(len(tape)) == 150)[:, None, None] & (np.arange(2) == 1)[:, None]
    missing = dataclasses.replace(tape, size=np.where(bare, 0, tape.size))
    lost = set(rows) - set(f.anchors(missing, LAYOUT))
    assert lost == set(range(150 - 10, 150 + 21)) & set(rows) and len(lost) == 31


def test_events_of_the_lead_are_no_anchors(days):
    tape = tape_of(days[0], first=100, lead=40)
    rows = f.anchors(tape, dataclasses.replace(LAYOUT, context=1))
    assert tape.own[rows].all() and rows[0] == np.flatnonzero(tape.own)[0] == 21  # the lead of a context of 80 tokens


def test_anchors_do_not_reach_into_another_run(days, of_symbol):
    part, shape = Part("train", 60, 140, 0), {"record_events": 64, "context": 80, "book_levels": 2}
    both = (days[0], of_symbol(days[1], "OTHER"))
    records = [record for day in both for _, record in make_records(day, [part], ExactTokenizer(), **shape)]
    tape = read_tape(records, ExactTokenizer(), levels=LAYOUT.levels)
    rows = f.anchors(tape, dataclasses.replace(LAYOUT, context=1))
    np.testing.assert_array_equal(tape.run[rows - 20], tape.run[rows + 10])
    assert set(tape.run[rows]) == {0, 1}
    scaling = f.fit_scaling(tape, dataclasses.replace(LAYOUT, context=1))
    examples = f.ForecastExamples(
        tape, LAYOUT, dataclasses.replace(scaling, symbols=("OTHER",)), stride=1, with_tokens=False
    )
    batch = examples.batch(np.arange(len(examples)))
    np.testing.assert_array_equal(batch["instrument"], tape.run[examples.rows])  # instrument TEST is unknown, hence 0
    assert len(np.unique(examples.blocks(1000))) == 2


def test_the_book_is_laid_out_level_by_level_about_the_anchors_mid(tapes):
    tape, rows = tapes[0], f.anchors(tapes[0], LAYOUT)[[7]]
    book = f.book_window(tape, rows, LAYOUT)[0]
    (row,) = rows
    for step in (0, 19):
        state = row - 19 + step
        for level in range(3):
            ask, bid = ((2 * tape.price[state, side, level] - tape.mid2[row]) / 200 for side in (1, 0))
            sizes = np.log1p(tape.size[state, ::-1, level])
            np.testing.assert_allclose(book[step, 4 * level : 4 * level + 4], [ask, sizes[0], bid, sizes[1]], rtol=1e-6)
    assert book[-1, 0] == -book[-1, 2] > 0  # the newest state is centred on its own mid


def test_the_clock_ahead_is_the_pace_of_the_past(tapes):
    tape, rows = tapes[0], f.anchors(tapes[0], LAYOUT)[[7]]
    past, future = f.clock_window(tape, rows, LAYOUT)
    pace_s = (tape.clock_ns[rows[0]] - tape.clock_ns[rows[0] - 20]) / 20 / 1e9
    np.testing.assert_allclose(np.expm1(future[0, :, 2]), [3 * pace_s, 10 * pace_s], rtol=1e-5)
    np.testing.assert_allclose(future[0, :, 3], [0.15, 0.5])
    seconds = (tape.clock_ns[rows[0]] - tape.midnight_ns[0]) / 1e9
    now = 2 * np.pi * seconds / 86_400
    np.testing.assert_allclose(past[0, -1], [np.sin(now), np.cos(now), 0, 0], atol=1e-6)
    assert (past[0, :-1, 2] <= 0).all() and past[0, 0, 2] < 0


def test_tokens_end_at_the_anchor(tapes, sets):
    tape, batch = tapes[0], sets[0].batch(np.array([3, 50]))
    for n, row in enumerate(sets[0].rows[[3, 50]]):
        mine = tape.tokens[tape.token_event < row][-40:]
        np.testing.assert_array_equal(batch["tokens"][n], mine)
        assert batch["token_event"][n, -1] == -1
        np.testing.assert_array_equal(batch["token_book"][n, -1], tape.features[row])
        clock = batch["token_clock"][n, -1].astype(np.int64) @ [10**9, 1]
        assert clock == tape.clock_ns[row - 1] - tape.midnight_ns[0]
        assert batch["time_of_day"][n, -1] == clock // 10**9


def test_scaling_is_of_the_training_split_alone(tapes, sets):
    """A third of the training examples is flat; the other splits use the same thresholds."""
    scaling = sets[0].scaling
    change = np.abs(f.smoothed_change(tapes[0].mid2, sets[0].rows, LAYOUT.horizons))
    assert ((change < scaling.threshold).mean(0) <= 1 / 3).all() and (
        (change <= scaling.threshold).mean(0) >= 1 / 3
    ).all()
    walk = dataclasses.replace(
        tapes[0], mid2=10**9 + np.random.default_rng(0).integers(-(10**5), 10**5, len(tapes[0])).cumsum()
    )
    third = f.smoothed_change(walk.mid2, sets[0].rows, LAYOUT.horizons)
    flat = f.classes(third, f.fit_scaling(walk, LAYOUT).threshold) == f.FLAT
    np.testing.assert_allclose(flat.mean(0), 1 / 3, atol=0.005)
    batch = sets[0].batch(np.arange(len(sets[0])))
    np.testing.assert_allclose(batch["book"].mean((0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(batch["flow"].std((0, 1)), 1, rtol=1e-3)
    np.testing.assert_allclose(batch["move"].std(0), 1, rtol=1e-5)
    assert sets[1].scaling is scaling
    other = f.fit_scaling(tapes[1], LAYOUT)
    assert not np.array_equal(other.move_scale, scaling.move_scale)
    assert scaling.plain()["symbols"] == ["TEST"] and len(scaling.plain()["book_mean"]) == 12


def test_a_short_embargo_is_refused():
    assert f.required_embargo(LAYOUT) == 40
    f.check_forecast_embargo(40, LAYOUT)
    with pytest.raises(InputError, match=r"(?s)data\.embargo_events.*at least 40 events.*was: +39"):
        f.check_forecast_embargo(39, LAYOUT)


def test_a_split_without_an_example_is_refused(tapes):
    far = dataclasses.replace(LAYOUT, history=400)
    with pytest.raises(InputError, match="nothing to forecast"):
        f.fit_scaling(tapes[0], far)
    scaling = f.fit_scaling(tapes[0], LAYOUT)
    with pytest.raises(InputError, match="nothing to forecast"):
        f.ForecastExamples(tapes[0], far, scaling, stride=1, with_tokens=False)


def test_a_stride_takes_every_so_many_th_anchor(tapes, sets):
    thinned = f.ForecastExamples(tapes[0], LAYOUT, sets[0].scaling, stride=4, with_tokens=False)
    np.testing.assert_array_equal(thinned.rows, sets[0].rows[::4])
    assert "tokens" not in thinned.batch(np.array([0]))
    np.testing.assert_array_equal(np.diff(thinned.blocks(20)).clip(0, 1), np.diff(thinned.blocks(20)))
