"""Mixed windows: a share of them synthetic, drawn by seed and place, each of a day that its book takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.data.records.records import make_records, read_record
from lob_jax.data.records.split import Part
from lob_jax.data.windows.augment.mirror import MirroredWindows
from lob_jax.data.windows.augment.reflection import mirrored
from lob_jax.data.windows.augment.synthetic import MixedWindows
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.pipeline import Position, batches
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.validity import check_events
from tests.data.windows.augment.test_windows import (
    BESIDE,
    TOKENIZER,
    assert_same,
    ids_and_tokens,
    thinned,
)
from tests.market_day import clean_day

CONTEXT = 60


def dataset(day):
    shape = {"record_events": 90, "context": 32, "book_levels": 3, "flow_state": True}
    part = Part("train", 0, len(day.events), 0)
    records = [record for _, record in make_records(day, [part], TOKENIZER, **shape)]
    return TokenBookDataset(records, context=CONTEXT, time_buckets=288, evaluation=False, beside=BESIDE)


@pytest.fixture(name="sources", scope="module")
def sources_fixture(make_day):
    """Return the windows of a day, which is to be the real one, and of a longer one."""
    return dataset(clean_day(make_day(300, seed=3))), dataset(clean_day(make_day(420, seed=4)))


def with_alterations(windows):
    return AlteredWindows(windows, (thinned,), tokenizer=TOKENIZER, book_levels=3)


def test_by_index_they_are_the_real_ones(sources):
    real, _ = sources
    mixed = MixedWindows(*sources, share=1.0)
    assert len(mixed) == len(real) and mixed.evaluation is False
    for index in range(len(real)):
        assert_same(mixed[index], real[index])
    assert_same(mixed.blank(), real.blank())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_synthetic_windows_is_the_given_one(sources, share):
    mixed, random, count = MixedWindows(*sources, share=share), np.random.default_rng(7), 2000
    drawn = sum(mixed.drawn(k % len(mixed), random)["record"] < 0 for k in range(count))
    assert abs(drawn / count - share) <= 4 * np.sqrt(share * (1 - share) / count)


def test_every_synthetic_window_is_as_likely_wherever_it_is_drawn(sources):
    _, synthetic = sources
    mixed, random, count = MixedWindows(*sources, share=1.0), np.random.default_rng(7), 200 * len(sources[1])
    drawn = [mixed.drawn(0, random) for _ in range(count)]
    places = {(span.record, span.start): k for k, span in enumerate(synthetic.spans)}
    times = np.bincount([places[~int(one["record"]), int(one["position"])] for one in drawn], minlength=len(synthetic))
    # Deviations of a multinomial from its mean: chi squared, within five standard deviations of it.
    chi2, freedom = np.sum((times - 200.0) ** 2 / 200.0), len(synthetic) - 1
    assert abs(chi2 - freedom) <= 5 * np.sqrt(2 * freedom)


def test_real_and_synthetic_windows_have_the_same_arrays(sources):
    mixed, random = MixedWindows(*sources, share=0.5), np.random.default_rng(0)
    shapes = {name: (array.shape, array.dtype) for name, array in mixed[0].items()}
    seen = set()
    for index in range(len(mixed)):
        window = mixed.drawn(index, random)
        assert {name: (array.shape, array.dtype) for name, array in window.items()} == shapes
        seen.add(bool(window["record"] < 0))
    assert seen == {False, True}


@pytest.mark.parametrize("alters", [False, True])
def test_what_is_drawn_depends_on_the_seed_and_the_place_alone(sources, alters):
    parts = [with_alterations(one) for one in sources] if alters else sources
    mixed = MirroredWindows(MixedWindows(*parts, share=0.5))
    how = {"seed": 5, "epochs": 2, "shuffle": True}
    whole = ids_and_tokens(batches(mixed, batch_size=4, **how))
    assert whole == ids_and_tokens(batches(mixed, batch_size=4, **how))
    assert whole != ids_and_tokens(batches(mixed, batch_size=4, **{**how, "seed": 6}))
    a_pass = len(mixed) // 4 * 4
    assert whole[3:] == ids_and_tokens(batches(mixed, Position(12, a_pass), batch_size=4, **how))
    assert sorted({one for ids, _ in whole for one in ids})[-1] < len(mixed)


def test_a_mirrored_window_is_the_mixed_one_mirrored(sources):
    mixed = MixedWindows(*sources, share=0.5)
    both, count = MirroredWindows(mixed), len(mixed)
    for index in range(count):
        expected = mirrored(mixed.drawn(index, np.random.default_rng(index)))
        assert_same(both.drawn(count + index, np.random.default_rng(index)), expected)


@given(seed=st.integers(0, 2**32 - 1), place=st.integers(0, 10**6), alters=st.booleans())
def test_every_drawn_window_decodes_and_replays(sources, seed, place, alters):
    """The tokens of a window are those of a day whose every event its book takes."""
    parts = [with_alterations(one) for one in sources] if alters else list(sources)
    mixed = MixedWindows(*parts, share=0.5)
    window = mixed.drawn(place % len(mixed), np.random.default_rng(seed))
    is_synthetic = bool(window["record"] < 0)
    record = ~int(window["record"]) if is_synthetic else int(window["record"])
    day = read_record(sources[is_synthetic].source[record], TOKENIZER)
    if alters:
        random = np.random.default_rng(seed)
        random.random()
        chosen = int(random.integers(len(sources[1]))) if is_synthetic else place % len(mixed)
        again, found = parts[is_synthetic].cut(sources[is_synthetic].spans[chosen], random)
        np.testing.assert_array_equal(again["tokens"], window["tokens"])
        day = found.day
    tokens = TOKENIZER.encode(day)
    inside = np.flatnonzero(window["event"] >= 0)
    first = int(window["position"]) + inside[0]
    np.testing.assert_array_equal(window["tokens"][inside], tokens[first : first + len(inside)])
    decoded = TOKENIZER.decode(tokens, day)
    assert len(decoded) > 0 and not check_events(decoded, start=day.start, tick=day.instrument.tick).faults


def test_records_without_a_window_are_refused(sources):
    empty = TokenBookDataset([], context=CONTEXT, time_buckets=288, evaluation=False, beside=BESIDE)
    with pytest.raises(InputError, match="no windows of synthetic flow"):
        MixedWindows(sources[0], empty, share=0.5)
