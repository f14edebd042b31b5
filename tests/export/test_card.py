"""A card says how well a model does beside its baselines, and what falls short, from what was measured alone."""

import json

import pytest

from lob_jax.export.card import CODE_LICENCE, LIMITS, MARKET, SIMULATED, card_text, evaluation_of
from tests.export import sample

INTERVALS = {"model": (9.5, 10.5), "model_grammar": (9.4, 10.4), "zero_order": (11.0, 13.0), "ngram": (9.9, 10.7)}


def evaluation():
    """A result as in evaluation.json: better than zero-order frequencies, not better than n-grams but by chance."""
    bits = {"model": 10.0, "model_grammar": 9.9, "zero_order": 12.0, "ngram": 10.2}
    ours = {"zero_order": [-2.0, -2.5, -1.5], "ngram": [-0.2, -0.5, 0.1]}
    return {
        "split": "test",
        "likelihood": {
            name: {"events": 2_000, "bits_per_event": bits[name], "intervals": {"bits_per_event": INTERVALS[name]}}
            for name in bits
        },
        "differences": {
            "model": {name: {"bits_per_event": triple, "gap_digits": [0.3, 0.1, 0.5]} for name, triple in ours.items()},
            "in_book": {"zero_order": {"bits_per_event": [0.5, -0.1, 0.9]}},
        },
        "in_book": {name: {"events": 2_000, "bits_per_event": 9.5} for name in ("model", "zero_order")},
        "bootstrap": {"level": 0.95},
    }


def test_bits_are_beside_the_baselines_with_their_intervals():
    card = sample.card(evaluation=evaluation())
    tested = card["evaluation"]
    assert tested["bits_per_event"]["model"] == [10.0, 9.5, 10.5] and tested["events"] == 2_000
    assert tested["differences"] == {"zero_order": [-2.0, -2.5, -1.5], "ngram": [-0.2, -0.5, 0.1]}
    assert tested["in_book"]["bits_per_event"] == {"model": [9.5, None, None], "zero_order": [9.5, None, None]}
    text = card_text(card)
    assert "| n-gram | 10.200 (9.900 to 10.700) | -0.200 (-0.500 to 0.100) |" in text
    assert "test split, 2,000 events" in text and "95% intervals" in text


def test_what_falls_short_is_told():
    card = sample.card(evaluation=evaluation(), validity={"events": 1_000, "faults": 3, "paths": 4})
    told = "\n".join(card["falls_short"])
    assert "by more than chance explains: n-gram." in told and "in the book: zero-order frequencies." in told
    assert "explains: zero-order" not in told and "3 of 1,000 generated events are invalid" in told
    assert "Of the gap digits alone it needs 0.300 bits per event more than n-gram." in told
    assert "3 of 1,000 events of 4 paths are invalid" in card_text(card)
    valid = sample.card(evaluation=evaluation(), validity={"events": 1_000, "faults": 0, "paths": 4})
    assert "invalid" not in "\n".join(valid["falls_short"])


def test_what_was_not_measured_is_told_too():
    told = "\n".join(sample.card()["falls_short"])
    assert "It has not been evaluated" in told and "has not been counted" in told and "simulated" not in told
    assert "`--mode=evaluate` writes it" in card_text(sample.card())


def test_without_intervals_a_lower_value_is_better():
    result = evaluation()
    result.pop("differences")
    told = "\n".join(sample.card(evaluation=result)["falls_short"])
    assert "explains: n-gram" not in told
    result["likelihood"]["ngram"]["bits_per_event"] = 10.0
    assert "explains: n-gram" in "\n".join(sample.card(evaluation=result)["falls_short"])


def test_a_model_of_masked_tokens_has_its_loss():
    card = sample.card(evaluation={"hidden": 500, "model": {"loss": 3.5}, "zero_order": {"loss": 5.0}})
    assert evaluation_of({"model": {"loss": 3.5}})["loss"] == 3.5 and "loss 3.500 nats" in card_text(card)
    assert any("cannot generate" in told for told in card["falls_short"])


@pytest.mark.parametrize(("feed", "licence"), [("synthetic", SIMULATED), ("lobster", MARKET)])
def test_the_licence_of_the_data_depends_on_the_feed(feed, licence):
    data = {**sample.card()["data"], "feed": feed}
    card = sample.card(data=data)
    assert card["licence"] == {"code": CODE_LICENCE, "data": licence} and licence in card_text(card)
    assert card["data"]["simulated"] == (feed == "synthetic") == any("simulated data" in t for t in card["falls_short"])


def test_the_fingerprint_of_the_data_is_that_of_all_that_determines_them():
    one, data = sample.card(), sample.card()["data"]
    other = sample.card(data={**data, "fingerprint": {"inputs": {"day.csv": "ab"}, "format": 6}})
    assert one["data"]["sha256"] == other["data"]["sha256"]  # whatever the order of its keys
    changed = sample.card(data={**data, "fingerprint": {"format": 6, "inputs": {"day.csv": "ac"}}})
    assert changed["data"]["sha256"] != one["data"]["sha256"]


def test_a_card_is_plain_json_with_all_sections():
    card = sample.card(evaluation=evaluation())
    assert json.loads(json.dumps(card)) == card
    text = card_text(card)
    heads = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert heads == [
        "Use",
        "Limits",
        "What falls short",
        "Data",
        "Evaluation",
        "Validity",
        "Licence",
        "Versions",
        "Loading",
    ]
    assert all(limit in text for limit in LIMITS) and "- jax 0.10.2" in text and "open_bundle(" in text


def test_names_of_the_data_cannot_change_the_form_of_the_text():
    data = {**sample.card()["data"], "days": ["GOOG\n# a heading", "<script>|`x`"]}
    text = card_text(sample.card(data=data))
    assert "\n# a heading" not in text and "<script>" not in text and "\\|\\`x\\`" in text


def test_graphs_are_told_with_what_each_precision_costs():
    graphs = {
        "opset": 18,
        "chosen": "int8",
        "parity": {"forward": {"difference": 1e-5}, "step": {"difference": 3e-5}},
        "precisions": {
            name: {"megabytes": size, "weight_megabytes": size / 2, "bits_per_event": bits}
            for name, size, bits in (("float32", 8.0, 20.0), ("int8", 2.0, None))
        },
    }
    text = card_text({**sample.card(), "graphs": graphs})
    assert "differs from the model's by more than 3.0e-05" in text and "Recommended: int8" in text
    assert "| float32 | 8.0 | 4.0 | 20.000 |" in text and "| int8 | 2.0 | 1.0 | unknown |" in text
    assert "## Graphs" not in card_text(sample.card())
