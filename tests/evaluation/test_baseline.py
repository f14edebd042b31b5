"""Which baselines there are for a tokenizer."""

import types

import pytest

from lob_jax.counts.book_counts import fit_book_counts
from lob_jax.errors import InputError
from lob_jax.evaluation import baseline
from lob_jax.tokens.exact import ExactTokenizer


@pytest.mark.parametrize(
    ("references", "expected"),
    [("newest", ["zero_order", "ngram", "book_counts"]), ("rank", ["zero_order", "ngram"])],
)
def test_a_baseline_that_predicts_no_ranks_is_left_out_where_there_are_some(monkeypatch, references, expected):
    monkeypatch.setattr(baseline, "BASELINES", {name: lambda given: given for name in baseline.BASELINES})
    given = types.SimpleNamespace(tokenizer=ExactTokenizer(references=references))
    assert list(baseline.fit_baselines(given)) == expected


def test_counts_that_know_the_book_refuse_ranks():
    with pytest.raises(InputError, match="which of several orders"):
        fit_book_counts([], [], ExactTokenizer(references="rank"))
