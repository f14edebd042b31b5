import io
import json

import numpy as np
import pytest
import rich.console

from lob_jax.data.records.builder import open_records
from lob_jax.data.records.escapes import record_sets
from lob_jax.errors import InputError
from lob_jax.evaluation import baseline as baselines
from lob_jax.evaluation.baseline import token_streams
from lob_jax.evaluation.evaluate import evaluate
from lob_jax.evaluation.table import table
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer


@pytest.fixture(scope="module")
def result(folder, tiny):
    config, params = tiny("rotary")
    return evaluate(config, params, folder, batch_size=5, direction_events=40, ngram_orders=(1, 2))


def test_every_model_is_scored_on_the_same_events(result, folder, day):
    sizes = {(metrics["events"], metrics["tokens"]) for metrics in result["likelihood"].values()}
    assert list(result["likelihood"]) == ["model", "model_grammar", "zero_order", "ngram", "book_counts"]
    manifest = json.loads((folder / "records.json").read_text())["splits"]["test"]
    assert sizes == {(manifest["events"], manifest["tokens"])}
    assert manifest["events"] == 600 - int(600 * 0.75) - 20  # the last quarter of the day, behind its embargo
    majorities = {metrics["head_majority"] for metrics in result["likelihood"].values()}
    kinds = np.bincount(day.events.kind[470:])
    assert majorities == {kinds.max() / kinds.sum()}


def test_parts_add_up_and_an_untrained_model_is_worse_than_the_baselines(result):
    for metrics in result["likelihood"].values():
        assert sum(metrics["bits_by_part"].values()) == pytest.approx(metrics["bits_per_event"])
    bits = {name: metrics["bits_per_event"] for name, metrics in result["likelihood"].items()}
    assert bits["book_counts"] < bits["ngram"] < bits["zero_order"] < bits["model"]
    assert set(result["compressors"]) == {"xz", "zstd"} and min(result["compressors"].values()) > 0


def test_the_result_is_plain_json_and_names_what_validation_chose(result):
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert set(result["ngram"]["head"]) == {"contexts", "lengths", "smoothing", "validation_bits"}
    assert result["direction"]["model"]["events"] == result["direction"]["state_table"]["events"] == 40


def test_leads_are_context_and_not_scored(folder):
    source = open_records(folder, "test")
    for index, (tokens, own) in enumerate(token_streams(source)):
        lead = int(source[index]["lead_events"])
        assert lead > 0
        assert v.event_index(tokens)[own].min() == lead
        assert v.event_index(tokens)[~own].max() == lead - 1


def test_the_table_shows_each_model_and_each_field(result):
    console = rich.console.Console(width=120, file=io.StringIO())
    console.print(table(result))
    text = console.file.getvalue()
    for words in ("zero-order", "n-gram", "state table", "without gap digits", "perplexity", "prior-corrected"):
        assert words in text
    for metrics in result["likelihood"].values():
        low, high = metrics["intervals"]["bits_per_event"]
        half = (high - low) / 2
        assert f"{metrics['bits_per_event']:.3f}±{f'{half:.3f}'[1:] if half < 1 else f'{half:.3g}'}" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_grammar_makes_the_model_better_by_what_it_removes(result):
    model, restricted = (result["likelihood"][name] for name in ("model", "model_grammar"))
    assert 0 < model["outside_grammar"] < 1 and "outside_grammar" not in restricted
    assert restricted["bits_per_event"] < model["bits_per_event"]
    assert restricted["token_accuracy"] >= model["token_accuracy"]


def test_the_book_makes_every_model_better(result, folder):
    found, in_book = result["likelihood"], result["in_book"]
    assert list(in_book) == ["model", "zero_order", "ngram", "book_counts"]
    for name, metrics in in_book.items():
        assert metrics["events"] == found["model"]["events"]
        free = found["model_grammar" if name == "model" else name]
        assert 0 < metrics["bits_per_event"] < free["bits_per_event"]
    by_counts, by_ngram = (
        found[name]["bits_per_event"] - in_book[name]["bits_per_event"] for name in ("book_counts", "ngram")
    )
    assert by_counts < by_ngram  # it knows the book already
    source, outside = open_records(folder, "test"), []
    for index, about in enumerate(source.outlines):
        outside.append(record_sets(source[index], ExactTokenizer()).outside[about.lead_tokens :] > 0)
    assert in_book["model"]["escapes"] == pytest.approx(np.concatenate(outside).mean())
    assert 0.1 < in_book["model"]["outside_book"] < 1


@pytest.mark.slow
def test_a_model_with_a_mask_predicts_in_the_book(folder, tiny):
    config, params = tiny("rotary", mask="book")
    result = evaluate(config, params, folder, batch_size=5, direction_events=6, ngram_orders=(1,))
    model, in_grammar, in_book = *(result["likelihood"][name] for name in ("model", "model_grammar")), result["in_book"]
    assert model["bits_per_event"] == pytest.approx(in_book["model"]["bits_per_event"], rel=1e-5)
    assert model["bits_per_event"] == pytest.approx(in_grammar["bits_per_event"], rel=1e-5)
    assert model["outside_grammar"] == pytest.approx(0, abs=1e-6)
    assert 0 < in_book["model"]["outside_book"] < 0.2  # what the escape shares leave, mostly to kinds never seen
    assert sum(result["direction"]["model"]["shares"].values()) == pytest.approx(1)


def test_every_figure_has_an_interval_and_every_baseline_a_paired_difference(result):
    found = result["likelihood"]
    for metrics in found.values():
        low, high = metrics["intervals"]["bits_per_event"]
        assert low < metrics["bits_per_event"] < high
        assert {"head", "size", "token_accuracy", "perplexity", "exact_bits_per_event"} <= set(metrics["intervals"])
    for bar, by_baseline in result["differences"].items():
        bars = result["in_book"] if bar == "in_book" else found
        mine = bars["model" if bar == "in_book" else bar]
        assert list(by_baseline) == ["zero_order", "ngram", "book_counts"]
        for name, differences in by_baseline.items():
            value, low, high = differences["bits_per_event"]
            assert value == pytest.approx(mine["bits_per_event"] - bars[name]["bits_per_event"])
            assert low < value < high
    assert result["bootstrap"]["block_events"] >= 1 and result["bootstrap"]["level"] == 0.95


def test_calibration_counts_every_scored_token_once(result):
    found, tokens = result["calibration"]["model"], result["likelihood"]["model"]["tokens"]
    fields = [one["count"] for name, one in found.items() if name not in ("all", "kinds")]
    assert sum(fields) == found["all"]["count"] == sum(found["all"]["counts"]) == tokens


@pytest.mark.slow
def test_direction_may_be_left_out_and_sets_are_found_once(folder, tiny, monkeypatch):
    config, params = tiny("rotary")
    of, found = ExactTokenizer.sets, []

    def spy(self, tokens, day, *, closed, rows):
        if rows == (0, len(tokens)):
            found.append(tokens)
        return of(self, tokens, day, closed=closed, rows=rows)

    monkeypatch.setattr(ExactTokenizer, "sets", spy)
    result = evaluate(config, params, folder, batch_size=5, direction_events=0, ngram_orders=(1,))
    assert "direction" not in result
    assert len(found) == len(open_records(folder, "test"))
    assert table(result).row_count == 13 + 4 + 4


class Seen(Exception):
    """Carries what a baseline was given, in place of its fit."""


@pytest.mark.parametrize("baseline", ["fit_zero_order", "fit_ngram"])
def test_baselines_are_fitted_on_training_and_chosen_on_validation(folder, tiny, monkeypatch, baseline):
    def spy(*, train, validation, **_):
        raise Seen(train, validation)

    monkeypatch.setattr(baselines, baseline, spy)
    config, params = tiny("rotary")
    with pytest.raises(Seen) as seen:
        evaluate(config, params, folder, batch_size=5, direction_events=0, ngram_orders=(1,))
    for given, split in zip(seen.value.args, ("train", "validation"), strict=True):
        for found, expected in zip(given, token_streams(open_records(folder, split)), strict=True):
            assert all(map(np.array_equal, found, expected))


def test_book_counts_are_of_the_training_split_too(folder, tiny, monkeypatch):
    def spy(train, validation, tokenizer):
        raise Seen(train, validation)

    monkeypatch.setattr(baselines, "fit_book_counts", spy)
    config, params = tiny("rotary")
    with pytest.raises(Seen) as seen:
        evaluate(config, params, folder, batch_size=5, direction_events=0, ngram_orders=(1,))
    for given, split in zip(seen.value.args, ("train", "validation"), strict=True):
        source = open_records(folder, split)
        assert len(given) == len(source) > 0
        for index in range(len(source)):
            assert np.array_equal(given[index]["tokens"], source[index]["tokens"])


def test_records_for_a_shorter_context_are_refused(folder, tiny):
    config, params = tiny("rotary", max_seq_length=512)
    with pytest.raises(InputError, match="shorter than half a context"):
        evaluate(config, params, folder, batch_size=5, direction_events=0, ngram_orders=(1,))
