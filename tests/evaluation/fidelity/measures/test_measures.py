"""Figures of each measure by hand, or against a slow loop."""

import numpy as np
import pytest
import scipy.spatial.distance

from lob_jax.evaluation.fidelity.measure import all_measures
from lob_jax.evaluation.fidelity.measures.kinds import total_variation
from lob_jax.evaluation.fidelity.measures.transitions import states, transition_counts, transition_distance
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow_series import spread_ticks
from tests.made_flow import made_flow, random_flow

ADD, CANCEL, DELETE, EXECUTE, HIDDEN = Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN
MEASURES = {measure.name: measure for measure in all_measures()}


def figures(name, flow):
    return MEASURES[name].compute(flow)


@pytest.fixture(scope="module")
def flow():
    return random_flow(0, sequences=8)


def test_kind_mix():
    flow = made_flow([(0, kind, 1, 99, 1, 1) for kind in (ADD, ADD, DELETE, EXECUTE, HIDDEN)])
    mix = figures("kind_mix", flow)
    assert (mix["add"], mix["delete"], mix["trades"], mix["cancel"]) == (0.4, 0.2, 0.4, 0.0)


def test_total_variation_of_shares():
    total = np.array([[1.0, 3.0, 0.0], [1.0, 0.0, 0.0]])
    other = np.array([[2.0, 0.0, 2.0], [5.0, 0.0, 0.0]])
    expected = [
        scipy.spatial.distance.cityblock(a / a.sum(), b / b.sum()) / 2 for a, b in zip(total, other, strict=True)
    ]
    np.testing.assert_allclose(total_variation(total, other), expected)


def test_means_and_shares_by_kind(flow):
    chosen = flow.kind == DELETE
    assert figures("mean_size", flow)["delete"] == pytest.approx(flow.size[chosen].mean())
    assert figures("round_lots", flow)["delete"] == pytest.approx((flow.size[chosen] % 100 == 0).mean())
    assert figures("bid_share", flow)["delete"] == pytest.approx((flow.side[chosen] == 1).mean())


def test_rates_exclude_the_time_between_sequences():
    second = 10**9
    first = [(0, ADD, 1, 99, 5, 1), (second, EXECUTE, 1, 99, 5, 1), (second, ADD, 1, 99, 5, 1)]
    flow = made_flow(first, [(9 * second, EXECUTE, 1, 99, 7, 1), (10 * second, EXECUTE, 1, 99, 7, 1)])
    rates = figures("rates", flow)
    assert rates["messages per second"] == 1.5 and rates["trades per second"] == 1.0
    assert rates["traded per second"] == 6.0 and rates["share of gaps of 0"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("step", [1, 2])
def test_transitions_against_a_loop(flow, step):
    expected, state = np.zeros((8, 12, 12)), states(flow)
    for s in range(8):
        for row in range(flow.edges[s], flow.edges[s + 1] - step):
            expected[s, state[row], state[row + step]] += 1
    np.testing.assert_array_equal(transition_counts(flow, step), expected.reshape(8, -1))
    table = expected.sum(axis=0)
    assert figures(f"transitions_{step}", flow)["same kind and side"] == pytest.approx(table.trace() / table.sum())


def test_transition_distance_by_hand():
    real, other = np.zeros((1, 12, 12)), np.zeros((1, 12, 12))
    real[0, 0, :2], real[0, 1, 0] = (3, 1), 4  # state 0 in half of the visits
    other[0, 0, :2], other[0, 2, 0] = (1, 1), 2  # state 0 as well; states 1 and 2 have no row to compare with
    value = transition_distance(real.reshape(1, -1), other.reshape(1, -1))
    assert value == pytest.approx(0.5 * 0.25 + 0.25 * 1 + 0.25 * 1)
    assert transition_distance(real.reshape(1, -1), 7 * real.reshape(1, -1)) == 0


def test_trade_signs_alternate_and_persist():
    def trades(sides):
        return made_flow([(i, EXECUTE, side, 99, 1, 1) for i, side in enumerate(sides)])

    assert figures("trade_sign_acf", trades([1, -1] * 30))["lag 1"] == pytest.approx(-1)
    assert figures("trade_sign_acf", trades([1, -1] * 30))["lag 2"] == pytest.approx(1)
    assert figures("trade_sign_acf", trades(([1] * 10 + [-1] * 10) * 3))["lag 1"] > 0.7


def test_event_signs_of_adds_and_deletes_of_a_side_cancel():
    flow = made_flow([(i, (ADD, DELETE)[i % 2], 1, 99, 1, 1) for i in range(60)])
    assert figures("event_sign_acf", flow)["lag 1"] == pytest.approx(-1)


def test_autocorrelations_against_numpy():
    flow = random_flow(3, sequences=1, length=300)
    mid = flow.book_price[:, :, 0].mean(axis=1)
    move, gap = np.diff(mid), np.log1p(np.diff(flow.time_ns) / 1000)
    for name, series in {"move_acf": move, "absolute_move_acf": np.abs(move), "gap_acf": gap}.items():
        expected = np.corrcoef(series[:-5], series[5:])[0, 1]
        assert figures(name, flow)["lag 5"] == pytest.approx(expected)
    assert figures("size_acf", flow)["lag 2"] == pytest.approx(
        np.corrcoef(np.log(flow.size)[:-2], np.log(flow.size)[2:])[0, 1]
    )


def test_variance_of_a_random_walk_grows_with_the_horizon():
    flow = random_flow(4, sequences=20, length=800, calm=0.0)
    width = flow.book_price[:, 1, 0] - flow.book_price[:, 0, 0]
    flow.book_price[:, 1, 0] -= width - 1  # a spread of one tick throughout
    of = figures("move_variance", flow)
    assert of["deviation over 1"] == pytest.approx(1, abs=0.01)
    assert of["variance ratio, 10 to 1"] == pytest.approx(1, abs=0.15)
    assert figures("moving_share", flow)["of messages"] == 1


def test_what_was_just_added_or_deleted():
    undone = [(0, ADD, 1, 99, 5, 1), (0, DELETE, 1, 99, 5, 1)]  # then an add of the same size elsewhere
    apart = [(0, ADD, -1, 101, 6, 2), (0, DELETE, 1, 99, 6, 2)]
    flow = made_flow([*undone, (0, ADD, 1, 98, 5, 3), *apart] * 40)
    of = figures("replacement", flow)
    assert of["deletes of the add before"] == 0.5
    assert of["adds of the size just deleted"] == pytest.approx(40 / 119)  # of all but the first message
    assert of["of these, at another price"] == 1


def test_fates_of_orders():
    fill = [(0, ADD, 1, 99, 5, 1), (0, EXECUTE, 1, 99, 5, 1)]
    delete = [(0, ADD, 1, 99, 5, 2), *[(0, HIDDEN, 1, 99, 1, 0)] * 20, (0, DELETE, 1, 99, 5, 2)]
    flow = made_flow(*[[*fill, *delete, *[(0, HIDDEN, 1, 99, 1, 0)] * 100]] * 15)
    of = figures("fates", flow)
    assert of["filled within 10 messages"] == of["filled within 100 messages"] == 0.5
    assert of["deleted within 10 messages"] == 0.0 and of["deleted within 100 messages"] == 0.5


def test_fates_leave_out_orders_that_are_not_followed_long_enough():
    flow = made_flow(*[[*[(0, HIDDEN, 1, 99, 1, 0)] * 30, (0, ADD, 1, 99, 5, 1), (0, EXECUTE, 1, 99, 5, 1)]] * 30)
    assert all(np.isnan(value) for value in figures("fates", flow).values())


def test_removals_that_empty_their_level():
    books = [([(98, 10)], [(101, 1)]), ([(99, 3)], [(101, 1)])] * 20
    flow = made_flow([(0, DELETE, 1, 99, 5, 1)] * 40, books=books)
    assert figures("whole_levels", flow)["delete"] == 0.5


def test_spread_and_depth_by_part():
    books = [([(99, 10), (98, 2)], [(99 + wide, 20), (99 + wide + 3, 4)]) for wide in range(1, 11)]
    flow = made_flow([(0, ADD, 1, 99, 5, 1)] * 10, books=books)
    assert figures("spread", flow)["mean"] == 5.5
    assert figures("spread", flow)["standard deviation"] == pytest.approx(spread_ticks(flow).std())
    assert list(figures("spread_by_part", flow).values()) == [1.5, 3.5, 5.5, 7.5, 9.5]
    assert figures("best_by_part", flow)["1st fifth"] == 15 and figures("depth_by_part", flow)["5th fifth"] == 18
    assert figures("reach", flow)["best to last level"] == 2.0


def test_books_that_are_crossed_or_lack_a_side():
    books = [([(99, 1)], [(101, 1)]), ([(101, 1)], [(101, 1)]), ([(102, 1)], [(101, 1)]), ([], [(101, 1)])]
    states_of = figures("book_states", made_flow([(0, ADD, 1, 99, 5, 1)] * 4, books=books))
    assert states_of == {"crossed or locked": 0.5, "one-sided or empty": 0.25}
