"""Across instruments nothing is seen but what is strictly earlier in time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models.attention.cross_asset import attend_seen
from lob_jax.models.transformer import LOBTransformer

SECOND = 10**9
# Two tokens an event. Times in ms; B's second event shares the nanosecond of A's second.
EVENT_MS = {"A": [10, 20, 20, 50], "B": [5, 20, 30, 60]}


def windows():
    """Return of each token of both rows: the time of its event, and the time known at it (that of the event before)."""
    event_ns = np.repeat([EVENT_MS["A"], EVENT_MS["B"]], 2, axis=1) * 10**6
    before = np.concatenate([np.zeros((2, 1), int), np.array([EVENT_MS["A"], EVENT_MS["B"]])[:, :-1]], axis=1)
    return event_ns, np.repeat(before, 2, axis=1) * 10**6


def seen_of(event_ns, known_ns):
    """Return how many of the peer's tokens belong to events strictly before the time known."""
    return np.stack([(event_ns[1 - row][None, :] < known_ns[row][:, None]).sum(1) for row in (0, 1)])


def reachable(event_ns, known_ns):
    """Return which tokens (row, place) each token's logits may depend on, bool [2, T, 2, T], over any layers."""
    T = event_ns.shape[1]
    direct = np.zeros((2, T, 2, T), bool)
    for row in (0, 1):
        direct[row, :, row] = np.tril(np.ones((T, T), bool))
        direct[row, :, 1 - row] = event_ns[1 - row][None, :] < known_ns[row][:, None]
    reach = direct.reshape(2 * T, 2 * T)
    for _ in range(4):
        reach = reach | (reach @ reach)
    return reach.reshape(2, T, 2, T)


@pytest.mark.slow
@pytest.mark.parametrize("scan_layers", [False, True])
def test_logits_depend_on_what_is_earlier_in_time_and_on_all_of_it(tiny, lively, inputs, scan_layers):
    config = tiny(attention={"cross_asset": True}, n_layers=2, scan_layers=scan_layers)
    event_ns, known_ns = windows()
    T = event_ns.shape[1]
    params, (tokens_BT, conditioning) = lively(config), inputs(config, 2, T)
    conditioning |= {
        "clock": jnp.asarray(np.stack(np.divmod(known_ns + 36_000 * SECOND, SECOND), -1), jnp.int32),
        "peer_seen": jnp.asarray(seen_of(event_ns, known_ns), jnp.int32),
    }
    weight_V = np.random.default_rng(0).standard_normal(config.vocab_size).astype(np.float32)

    @jax.jit
    @jax.jacrev
    def reach(book_BTF):
        beside = conditioning | {"book": book_BTF}
        return LOBTransformer(config).apply({"params": params}, tokens_BT, beside) @ weight_V

    found = np.abs(reach(conditioning["book"])).sum(-1) > 0
    expected = reachable(event_ns, known_ns)
    np.testing.assert_array_equal(found, expected)
    for row in (0, 1):  # and no way leads back to a later token of its own
        assert not np.triu(found[row, :, row], 1).any()
    assert not found[0, 4, 1, 2]  # what B did at 20 ms is not known to A at 20 ms
    assert found[0, 6, 1, 4] == (30 < 20)
    assert found[1, 4, 0, 0]


@pytest.mark.slow
def test_pairs_do_not_mix(tiny, lively, inputs):
    config = tiny(attention={"cross_asset": True}, n_layers=1)
    params, (tokens_BT, conditioning) = lively(config), inputs(config, 4, 6)
    together = LOBTransformer(config).apply({"params": params}, tokens_BT, conditioning)
    for pair in (slice(0, 2), slice(2, 4)):
        part = jax.tree.map(lambda leaf, rows=pair: leaf[rows], (tokens_BT, conditioning))
        np.testing.assert_allclose(LOBTransformer(config).apply({"params": params}, *part), together[pair], atol=1e-5)


def test_who_sees_nothing_mixes_nothing():
    random = np.random.default_rng(0)
    query, key, value = (jnp.asarray(random.standard_normal((1, 3, 2, 4)), jnp.float32) for _ in range(3))
    mixed = attend_seen(query, key, value, seen_BT=jnp.array([[0, 1, 3]]))
    np.testing.assert_array_equal(mixed[:, 0], 0)
    for t, seen in ((1, 1), (2, 3)):
        for n in range(2):
            scores = np.append(np.asarray(key)[0, :seen, n] @ np.asarray(query)[0, t, n] / 2, 0)
            weights = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(mixed[0, t, n], weights[:-1] @ np.asarray(value)[0, :seen, n], atol=1e-5)


def test_a_row_without_a_peer_is_refused(tiny, lively, inputs):
    config = tiny(attention={"cross_asset": True})
    with pytest.raises(InputError, match="no peer"):
        LOBTransformer(config).apply({"params": lively(config)}, *inputs(config, 3, 2))


def test_a_missing_peer_is_told(tiny, lively, inputs):
    config = tiny(attention={"cross_asset": True})
    tokens_BT, conditioning = inputs(config, 2, 2)
    del conditioning["peer_seen"]
    with pytest.raises(InputError, match="peer_seen"):
        LOBTransformer(config).apply({"params": lively(config)}, tokens_BT, conditioning)
