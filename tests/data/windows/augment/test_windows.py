"""Altered windows: cut where their originals are, drawn by seed and place in the order, off for everything measured."""

import dataclasses

import numpy as np
import pytest

from lob_jax.data.labels.moves import Outlooks
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.augment.altered import ADDED, Proposal
from lob_jax.data.windows.augment.dropout import EventDropout
from lob_jax.data.windows.augment.manipulation.draw import Manipulation
from lob_jax.data.windows.augment.mirror import MirroredWindows
from lob_jax.data.windows.augment.reflection import mirrored
from lob_jax.data.windows.augment.warp import Warp
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import MAKERS, SETS, Beside
from lob_jax.data.windows.pipeline import Position, batches
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from tests.market_day import clean_day

EVENTS, TOKENIZER = 300, ExactTokenizer()
BESIDE = Beside(
    names=(*MAKERS, SETS),
    regimes=Regimes((0.2, 0.6), (2.5,)),
    symbols=("TEST",),
    outlooks=Outlooks((1, 5), (0.0, 100.0)),
    tokenizer=TOKENIZER,
)


def untouched(day, first, random):
    return Proposal(day.events, np.arange(len(day.events)))


def thinned(day, first, random):
    """Propose to leave a third of the events out."""
    kept = np.flatnonzero((np.arange(len(day.events)) < first) | (random.random(len(day.events)) < 0.7))
    return Proposal(day.events[kept], kept)


def doubled(day, first, random):
    """Propose every ADD twice."""
    again = np.where((np.arange(len(day.events)) >= first) & (day.events.kind == Kind.ADD), 2, 1)
    origin = np.repeat(np.arange(len(day.events)), again)
    return Proposal(day.events[origin], np.where(np.diff(origin, prepend=-1) > 0, origin, ADDED))


@pytest.fixture(name="windows", scope="module")
def windows_fixture(make_day):
    day = clean_day(make_day(EVENTS, seed=3))
    shape = {"record_events": 90, "context": 32, "book_levels": 3, "flow_state": True}
    part = Part("train", 0, len(day.events), 0)
    records = [record for _, record in make_records(day, [part], TOKENIZER, **shape)]
    return TokenBookDataset(records, context=60, time_buckets=288, evaluation=False, beside=BESIDE)


def altered_windows(windows, *alterations):
    return AlteredWindows(windows, alterations, tokenizer=TOKENIZER, book_levels=3)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_window_of_which_nothing_is_altered_is_the_window_itself(windows):
    same, random = altered_windows(windows, untouched), np.random.default_rng(0)
    for index in range(len(windows)):
        assert_same(same.drawn(index, random), windows[index])


def test_a_window_with_a_prefix_is_too(windows):
    beside = dataclasses.replace(BESIDE, prefix=True)
    prefixed = TokenBookDataset(windows.source, context=60, time_buckets=288, evaluation=False, beside=beside)
    same, random = altered_windows(prefixed, untouched), np.random.default_rng(0)
    for index in range(len(prefixed)):
        assert_same(same.drawn(index, random), prefixed[index])


def test_nothing_up_to_the_first_whole_event_is_altered(windows):
    thin, random = altered_windows(windows, thinned), np.random.default_rng(0)
    for index in range(len(windows)):
        window, found = windows[index], thin.drawn(index, random)
        kept = np.flatnonzero(window["event"] == window["event"][0])
        np.testing.assert_array_equal(found["tokens"][kept], window["tokens"][kept])
        assert np.any(found["tokens"] != window["tokens"])


def test_added_events_are_no_targets(windows):
    double = altered_windows(windows, doubled)
    for index, span in enumerate(windows.spans):
        found, day = double.cut(span, np.random.default_rng(index))
        inside = found["event"] >= 0
        added = day.origin[found["event"][inside]] == ADDED
        assert added.any() and not found["scored"][inside][added].any()
        assert found["scored"][inside][~added][1:].all()


def ids_and_tokens(read):
    return [(batch["example"].tolist(), batch["tokens"].tolist()) for batch in read]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    "alteration", [thinned, EventDropout(0.3), Warp(0.5, 20), Manipulation(1.0, ("spoofing", "layering", "stuffing"))]
)
def test_what_is_drawn_depends_on_the_seed_and_the_place_alone(windows, alteration, mirror):
    thin = altered_windows(windows, alteration)
    thin = MirroredWindows(thin) if mirror else thin
    how = {"seed": 5, "epochs": 2, "shuffle": True}
    whole = ids_and_tokens(batches(thin, batch_size=4, **how))
    assert whole == ids_and_tokens(batches(thin, batch_size=4, **how))
    assert whole != ids_and_tokens(batches(thin, batch_size=4, **{**how, "seed": 6}))
    a_pass = len(thin) // 4 * 4
    assert whole[2:] == ids_and_tokens(batches(thin, Position(8, a_pass), batch_size=4, **how))
    hosts = [ids_and_tokens(batches(thin, batch_size=2, host_index=k, host_count=2, **how)) for k in range(2)]
    for (ids, tokens), *parts in zip(whole, *hosts, strict=True):
        for k, part in enumerate(parts):
            assert part == (ids[k::2], tokens[k::2])
    drawn = {}
    for ids, tokens in whole:
        for index, row in zip(ids, tokens, strict=True):
            drawn.setdefault(index, []).append(row)
    anew = [rows[0] != rows[1] for rows in drawn.values() if len(rows) == 2]
    assert np.mean(anew) > 0.8  # a short window may have nothing to leave out


def test_a_mirrored_window_is_the_altered_one_mirrored(windows):
    thin = altered_windows(windows, thinned)
    both, count = MirroredWindows(thin), len(thin)
    for index in range(count):
        expected = mirrored(thin.drawn(index, np.random.default_rng(index)))
        assert_same(both.drawn(count + index, np.random.default_rng(index)), expected)


def test_by_index_windows_are_as_they_are(windows):
    thin = altered_windows(windows, thinned)
    for index in range(len(thin)):
        assert_same(thin[index], windows[index])


def test_tokens_that_do_not_give_events_back_are_refused(windows):
    with pytest.raises(InputError, match="needs exact tokens"):
        AlteredWindows(windows, (thinned,), tokenizer=CompactTokenizer, book_levels=3)
