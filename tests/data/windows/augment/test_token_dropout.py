"""Token dropout: a share of what is read becomes MASK, by seed and place alone, and nothing else changes."""

import dataclasses

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
from hypothesis import given, strategies

from lob_jax.config.validation import validate
from lob_jax.configs import base
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.augment.altered import Proposal
from lob_jax.data.windows.augment.mirror import MirroredWindows
from lob_jax.data.windows.augment.reflection import mirrored
from lob_jax.data.windows.augment.token_dropout import DroppedTokens, with_masks
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import ALWAYS, Beside
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.data.windows.pipeline import Position, batches
from lob_jax.errors import InputError
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import BOS, CLASS_SIZE, MASK, PAD, REGIME_BASE, VOCAB_SIZE
from tests.market_day import clean_day

TOKENIZER = ExactTokenizer()
SHARE = 0.3
TOKENS = arrays_of.arrays(np.int32, strategies.integers(0, 80), elements=strategies.integers(0, VOCAB_SIZE - 1))


@pytest.fixture(name="windows", scope="module")
def windows_fixture(make_day):
    """Return training windows with a prefix, of a day whose end is padded."""
    day = clean_day(make_day(200, seed=3))
    part = Part("train", 0, len(day.events), 0)
    shape = {"record_events": 90, "context": 32, "book_levels": 3}
    records = [record for _, record in make_records(day, [part], TOKENIZER, **shape)]
    beside = Beside((*ALWAYS, "regime"), regimes=Regimes((0.2,), (2.5,)), prefix=True, tokenizer=TOKENIZER)
    return TokenBookDataset(records, context=60, time_buckets=288, evaluation=False, beside=beside)


def thinned(day, first, random):
    """Propose to leave a third of the events out."""
    kept = np.flatnonzero((np.arange(len(day.events)) < first) | (random.random(len(day.events)) < 0.7))
    return Proposal(day.events[kept], kept)


@given(tokens=TOKENS, share=strategies.floats(0, 1), seed=strategies.integers(0, 2**32))
def test_every_token_is_itself_or_a_mask_and_special_ones_are_never_hidden(tokens, share, seed):
    shown = with_masks(tokens, share, np.random.default_rng(seed))
    assert shown.dtype == tokens.dtype and shown.shape == tokens.shape
    hidden = shown != tokens
    assert (shown[hidden] == MASK).all() and (tokens[hidden] >= CLASS_SIZE).all()
    np.testing.assert_array_equal(shown, with_masks(tokens, share, np.random.default_rng(seed)))


def test_none_and_all():
    tokens = np.arange(VOCAB_SIZE, dtype=np.int32)
    np.testing.assert_array_equal(with_masks(tokens, 0.0, np.random.default_rng(0)), tokens)
    shown = with_masks(tokens, 1.0, np.random.default_rng(0))
    assert (shown[CLASS_SIZE:] == MASK).all() and (shown[:CLASS_SIZE] == tokens[:CLASS_SIZE]).all()


def test_the_share_is_met_within_its_sampling_error():
    tokens = np.full((400, 250), 8_000, np.int32)
    hidden = with_masks(tokens, SHARE, np.random.default_rng(0)) == MASK
    assert hidden.mean() == pytest.approx(SHARE, abs=4 * np.sqrt(SHARE * (1 - SHARE) / hidden.size))
    neighbours = (hidden[:, 1:] & hidden[:, :-1]).mean()  # independent of each other
    assert neighbours == pytest.approx(SHARE**2, abs=0.005)


def test_only_what_is_read_changes_and_prefix_and_padding_stay(windows):
    dropped, random = DroppedTokens(windows, share=SHARE), np.random.default_rng(1)
    seen = set()
    for index in range(len(windows)):
        window, drawn = windows[index], dropped.drawn(index, random)
        assert set(drawn) == {*window, "shown"}
        for name, array in window.items():
            np.testing.assert_array_equal(drawn[name], array)
        special = window["tokens"] < CLASS_SIZE
        np.testing.assert_array_equal(drawn["shown"][special], window["tokens"][special])
        assert window["tokens"][0] >= REGIME_BASE and special[0] and (drawn["shown"] == MASK).any()
        seen |= set(window["tokens"][special].tolist())
    assert {PAD, BOS} <= seen


def test_by_index_windows_are_as_they_are(windows):
    dropped = DroppedTokens(windows, share=1.0)
    assert len(dropped) == len(windows) and not dropped.evaluation
    assert set(dropped[0]) == set(dropped.blank()) == set(windows[0])


def test_it_hides_tokens_of_whatever_windows_are_drawn(windows):
    beside = dataclasses.replace(windows.beside, prefix=False)
    plain = TokenBookDataset(windows.source, context=60, time_buckets=288, evaluation=False, beside=beside)
    altered = AlteredWindows(plain, [thinned], tokenizer=TOKENIZER, book_levels=3)
    both = DroppedTokens(MirroredWindows(altered), share=SHARE)
    index = len(plain) + 1
    drawn, expected = both.drawn(index, np.random.default_rng(5)), altered.drawn(1, np.random.default_rng(5))
    np.testing.assert_array_equal(drawn["tokens"], mirrored(expected)["tokens"])
    hidden = drawn["shown"] == MASK
    assert 0.1 < hidden.mean() < 0.5
    np.testing.assert_array_equal(drawn["shown"][~hidden], drawn["tokens"][~hidden])


def test_tokens_of_both_windows_of_a_pair_are_hidden(windows):
    beside = dataclasses.replace(windows.beside, prefix=False)
    pairs = PairedDataset(windows.source, context=60, time_buckets=288, evaluation=False, beside=beside)
    drawn = DroppedTokens(pairs, share=SHARE).drawn(0, np.random.default_rng(0))
    assert drawn["shown"].shape == drawn["tokens"].shape == (2, 61)


def test_what_is_hidden_depends_on_the_seed_and_the_place_alone(windows):
    dropped = DroppedTokens(windows, share=SHARE)
    how = {"seed": 7, "epochs": None, "shuffle": True}

    def read(count, **changes):
        found = iter(batches(dropped, **{"batch_size": 2, **how, **changes}))
        return [next(found) for _ in range(count)]

    first, again = read(8), read(8)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["shown"], other["shown"])
    others = read(8, seed=8)
    assert any((one["shown"] != other["shown"]).any() for one, other in zip(first, others, strict=True))
    a_pass = len(windows) // 2 * 2
    resumed = next(iter(batches(dropped, Position(6, a_pass), batch_size=2, **how)))
    np.testing.assert_array_equal(resumed["shown"], first[3]["shown"])
    halves = [next(iter(batches(dropped, Position(6, a_pass), batch_size=1, host_index=k, host_count=2, **how)))
              for k in range(2)]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate([half["shown"] for half in halves]), first[3]["shown"])


def test_a_window_hides_other_tokens_in_each_pass(windows):
    dropped = DroppedTokens(windows, share=SHARE)
    read = iter(batches(dropped, batch_size=1, seed=0, epochs=2, shuffle=False))
    found = [next(read) for _ in range(len(windows) + 1)]
    assert found[0]["example"] == found[-1]["example"]
    assert (found[0]["shown"] != found[-1]["shown"]).any()


def test_the_masked_objective_hides_tokens_itself():
    config = base.get_config()
    config.data.augment.token_dropout = 0.1
    validate(config)
    config.train.objective, config.model.causal = "masked", False
    with pytest.raises(InputError, match=r"config.data.augment.token_dropout(?s:.*)hides tokens itself"):
        validate(config)
