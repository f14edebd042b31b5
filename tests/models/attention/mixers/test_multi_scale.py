import jax.numpy as jnp
import numpy as np

from lob_jax.models.attention.mixers.multi_scale import within_horizons
from lob_jax.models.attention.positions import Positions

EVENTS = [[0, 0, 1, 2, 2, 5]]
SECONDS, NS = [[10, 10, 10, 11, 12, 11]], [[0, 999_999_999, 999_999_999, 0, 0, 0]]  # the last runs backwards
POSITIONS = Positions(
    position_BT=jnp.arange(6)[None],
    event_BT=jnp.array(EVENTS),
    clock_BT2=jnp.stack([jnp.array(SECONDS), jnp.array(NS)], -1),
)


def test_horizons_against_matrices_made_by_hand(tiny):
    horizons = ("1 event", "1 s", "all")
    config = tiny(n_heads=6, d_model=24, attention={"kind": "multi_scale", "horizons": horizons})
    seen_NTS = np.asarray(within_horizons(config, POSITIONS, POSITIONS))[0]
    assert seen_NTS.shape == (6, 6, 6)
    for pair in (0, 2, 4):
        np.testing.assert_array_equal(seen_NTS[pair], seen_NTS[pair + 1])
    events = [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 1],
    ]
    np.testing.assert_array_equal(seen_NTS[0], np.array(events, bool))
    # From second 11, 10 is a second ago and seen; from 12 it is not, nor is 10.999999999.
    np.testing.assert_array_equal(seen_NTS[2, 3], [1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(seen_NTS[2, 4], [0, 0, 0, 1, 1, 1])
    assert seen_NTS[4].all()


def test_a_second_late_in_the_day_is_a_second(tiny):
    config = tiny(attention={"kind": "multi_scale", "horizons": ("0.001 s", "all")})
    clock_BT2 = jnp.array([[[86_399, 998_999_998], [86_399, 999_000_001], [86_399, 999_999_999]]])
    positions = Positions(position_BT=jnp.arange(3)[None], clock_BT2=clock_BT2)
    seen_TS = np.asarray(within_horizons(config, positions, positions))[0, 0]
    np.testing.assert_array_equal(seen_TS[2], [False, True, True])
