"""The log-likelihood of events, against the model's own logits; and the evaluation, against the stage's file."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import lob_jax
from lob_jax.book.flow import blank_flow
from lob_jax.data.records.records import day_record
from lob_jax.data.windows.known import ALWAYS
from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.scores import model_apply
from lob_jax.report.event_bits import read_event_bits
from lob_jax.stages import model as stage
from lob_jax.tokens.vocabulary import event_index
from lob_jax.training.step.shift import shift


@pytest.mark.slow
def test_scores_are_what_the_model_gives_each_token(run, day):
    """On the first window, which begins with BOS; here of a model without a mask."""
    run = dataclasses.replace(run, model=dataclasses.replace(run.model, mask="none"))
    scores = lob_jax.score(run, day)
    names = (*ALWAYS, "flow", "queue", "anchors", "latest")
    beside = dataclasses.replace(run.beside, names=names, tokenizer=run.tokenizer)
    record = day_record(day, 0, len(day.events), run.tokenizer, book_levels=3, flow=blank_flow())
    windows = lob_jax.TokenBookDataset([record], context=64, time_buckets=288, evaluation=True, beside=beside)
    tokens_BT, conditioning, targets_BT, _ = shift({name: array[None] for name, array in windows[0].items()})
    logits_BTV = model_apply(run.model)(run.params, tokens_BT, conditioning)
    expected = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits_BTV[0])), np.asarray(targets_BT).T, 1)[:, 0]
    np.testing.assert_allclose(scores.token_log_likelihood[:64], expected, rtol=1e-4)
    assert scores.tokens.tolist() == run.tokenizer.encode(day).tolist()
    np.testing.assert_array_equal(scores.token_event, event_index(scores.tokens))


@pytest.mark.slow
def test_an_event_has_the_sum_of_its_tokens_and_the_past_alone_decides(run, day):
    scores = lob_jax.score(run, day)
    assert scores.log_likelihood.shape == (len(day.events),) and (scores.log_likelihood < 0).all()
    third = scores.token_log_likelihood[scores.token_event == 2]
    np.testing.assert_allclose(scores.log_likelihood[2], third.sum())
    first = lob_jax.score(run, day.part(0, 8, start=day.start))
    np.testing.assert_allclose(first.log_likelihood, scores.log_likelihood[:8], rtol=1e-4)


@pytest.mark.slow
def test_the_evaluation_is_that_of_the_command_line(trained, run, capsys):
    result = lob_jax.evaluate(run)
    stage.evaluate(trained.config, trained.workdir)
    assert json.loads((trained.workdir / "evaluation.json").read_text()) == json.loads(json.dumps(result))
    bits = read_event_bits(trained.workdir)
    assert len(bits) == result["likelihood"]["model"]["events"]
    np.testing.assert_allclose(bits.mean(), result["likelihood"]["model"]["bits_per_event"], rtol=1e-6)
    assert "leakage audit: none in 6 checks" in capsys.readouterr().out
    assert result["split"] == "test" and lob_jax.evaluate(run, split="validation")["split"] == "validation"


def test_what_has_no_such_likelihood_is_refused(run, day):
    both_ways = {"causal": False, "mask": "none", "latest_tokens": False, "pointer": False}
    hidden = dataclasses.replace(run, model=dataclasses.replace(run.model, **both_ways))
    with pytest.raises(InputError, match="does not score"):
        lob_jax.score(hidden, day)
    with pytest.raises(InputError, match="nothing to score"):
        lob_jax.score(run, day.part(0, 0, start=day.start))
