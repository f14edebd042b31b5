"""A report of everything: each part gives its section, and whatever is missing is left out with a reason."""

import json

import pytest

from lob_jax.report.material import Material
from lob_jax.report.parts import checks, data, fidelity, likelihood, order_forecasts, others, path_forecasts, summary
from lob_jax.report.report import plain_report, sections_of, write_page
from lob_jax.report.section import Absent, LeftOut, Number
from tests.report.sample import evaluation, material, metrics


def cells(section):
    return {
        (row[0], column): cell
        for t in section.tables
        for row in t.rows
        for column, cell in zip(t.columns, row, strict=True)
    }


def test_every_part_of_a_complete_run_is_a_section_and_the_json_has_the_same(tmp_path):
    sections, left_out = sections_of(material())
    titles = [section.title for section in sections]
    assert titles[0] == "Summary" and len(titles) == 16 and left_out == []
    html = write_page(tmp_path / "report.html", sections, title="t", lead="l").read_text()
    plain = json.loads(json.dumps(plain_report(sections, title="t", lead="l"), allow_nan=False))
    assert [one["title"] for one in plain["sections"]] == titles
    for section in sections:
        assert all(f'id="figure-{one.name}"' in html for one in section.pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_without_results_everything_but_summary_and_versions_is_left_out_with_a_reason():
    empty = Material("empty", {}, {name: f"{name} is missing" for name in MISSING})
    sections, left_out = sections_of(empty)
    assert [section.title for section in sections] == ["Summary", "Versions"]
    assert len(left_out) == 12 and all(one.reason for one in left_out)


MISSING = (
    "config.json records/records.json metrics.jsonl evaluation.json fidelity.json score.json faults.json forecast.json"
).split()


def test_the_summary_says_in_words_what_the_numbers_mean():
    section = summary.summary(material())
    assert any("better than the best baseline, n-gram: 0.40 bits per event fewer" in one for one in section.paragraphs)
    assert any("-0.500 to -0.300" in one for one in section.paragraphs)
    assert any("model is clearly different from real flow: its mean L1 is 2.10" in one for one in section.paragraphs)
    assert cells(section)["bits per event", "of the reference"].value == 28.4


@pytest.mark.parametrize(
    ("difference", "words"),
    [((-0.4, -0.5, -0.3), "better"), ((0.4, 0.3, 0.5), "worse"), ((0.1, -0.1, 0.3), "cannot be told apart")],
)
def test_a_verdict_follows_the_interval(difference, words):
    assert words in summary.bits_verdict(Number(difference[0], "", *difference[1:]), "n-gram")


@pytest.mark.parametrize(("ratio", "words"), [(1.0, "indistinguishable"), (1.4, "close"), (2.0, "clearly"), (9, "far")])
def test_a_ratio_to_the_floor_has_a_verdict(ratio, words):
    assert words in summary.flow_verdict(ratio)


def test_likelihood_has_intervals_differences_and_calibration():
    section = likelihood.likelihood(material())
    found = cells(section)
    bits = found["bits per event", "n-gram"]
    assert (bits.value, bits.low, bits.high) == (28.4, 28.2, 28.7)
    assert found["\u2003head", "model"].value == 7.0
    assert found["n-gram", "model, minus the baseline"].low == -0.5
    assert found["probability of add", "calibration error"].value == 0.01
    assert "0.200%" in section.paragraphs[1]


def test_models_in_the_book_have_a_table_of_their_own_and_their_differences():
    one = material()
    found = one.found["evaluation.json"]
    found["in_book"] = {"model": metrics(24.0) | {"outside_book": 0.3, "escapes": 0.0123}, "ngram": metrics(25.5)}
    found["differences"]["in_book"] = {"ngram": {"bits_per_event": [-1.5, -1.6, -1.4]}}
    free, in_book, differences, *_ = likelihood.likelihood(one).tables
    assert in_book.caption == "The same in the book, n = 1,200 events; 1.230% of the tokens are outside their sets"
    assert (free.columns[1:3], in_book.columns[1:]) == (("model", "model, in grammar"), ("model", "n-gram"))
    assert next(row for row in in_book.rows if row[0] == "bits per event")[2].value == 25.5
    assert differences.columns[-1] == "model, in book, minus the baseline"
    assert others.others(one) is None or "in book" not in str(others.others(one))


def test_a_model_trained_in_the_book_is_compared_in_the_book():
    one = material()
    found = one.found["evaluation.json"]
    found["in_book"] = {"model": metrics(24.0), "ngram": metrics(25.5), "zero_order": metrics(26.5)}
    found["differences"]["in_book"] = {"ngram": {"bits_per_event": [-1.5, -1.6, -1.4]}}
    one.found["config.json"]["model"]["mask"] = "none"
    assert cells(summary.summary(one))["bits per event", "of the reference"].value == 28.4
    one.found["config.json"]["model"]["mask"] = "book"
    section = summary.summary(one)
    assert cells(section)["bits per event", "of the reference"].value == 25.5
    assert any("n-gram: 1.50 bits per event fewer" in words for words in section.paragraphs)


def test_an_evaluation_without_intervals_says_so_and_one_of_masked_tokens_has_its_own_table():
    one = material()
    for model in one.found["evaluation.json"]["likelihood"].values():
        model.pop("intervals", None)
    for key in ("bootstrap", "differences", "calibration"):
        del one.found["evaluation.json"][key]
    assert likelihood.likelihood(one).tables[0].note == "This evaluation has no intervals."
    masked = {"hidden": 10, "share": 0.15, "model": {"loss": 3.0}, "zero_order": {"loss": 4.0}}
    one.found["evaluation.json"] = masked
    assert cells(likelihood.likelihood(one))["loss", "zero-order"] == 4.0


def test_fidelity_shows_each_distance_beside_its_floor_and_an_undefined_score_as_absent():
    section = fidelity.fidelity(material())
    found = cells(section)
    model = {row[0]: row for row in next(t for t in section.tables if t.caption == "LOB-Bench's scores: model").rows}
    assert [cell.value for cell in model["spread"][1:5]] == pytest.approx([0.2, 0.22, 0.1, 2.2])
    other = {row[0]: row for row in next(t for t in section.tables if t.caption == "LOB-Bench's scores: cst").rows}
    assert other["cancellation depth, ask"][1:] == (None,) * 6
    assert found["kinds: share of ADD", "in the 95 % range"] == "undecided"
    assert found["slow decay (exponent)", "real: verdict"].startswith("undecidable")
    assert {one.name for one in section.pictures} == {
        "scores_lob_bench", "scores_conditional", "scores_further", "divergence", "measures_1", "facts",
    }  # fmt: skip


@pytest.mark.slow
def test_scores_in_contexts_stand_beside_those_without():
    tables = {t.caption: t for t in fidelity.fidelity(material()).tables if "contexts" in t.caption}
    model, other = (tables[f"L1 over its floor, in contexts: {name}"] for name in ("model", "cst"))
    assert model.columns == ("score", "anywhere", "time of day", "spread")
    assert [[cell.value for cell in row[1:]] for row in model.rows] == [
        pytest.approx(ratios) for ratios in ([2.2, 2.2, 1.2], [3.2, 4.2, 4.2], [2.1, 3.0, 3.0])
    ]
    assert [row[0] for row in model.rows] == ["spread", "cancellation depth, ask", "mean over scores"]
    assert isinstance(other.rows[0][3], Absent)
    assert "time of day: 2 groups, parted at 14:30; spread: 3 groups, parted at 1, 3.5 ticks." in model.note
    one = material()
    del one.found["fidelity.json"]["contexts"]
    assert not [t for t in fidelity.fidelity(one).tables if "contexts" in t.caption]


def test_results_that_no_section_knows_are_shown_under_their_keys():
    (table,) = others.others(material()).tables
    assert table.caption == "evaluation.json: volatility" and table.rows[0] == ("10.mae", 0.25)
    one = material()
    one.found["evaluation.json"] = {key: value for key, value in evaluation().items() if key != "volatility"}
    assert others.others(one) is None


def test_paths_as_forecasts_stand_beside_random_walks_with_tests():
    section = path_forecasts.path_forecasts(material())
    found = cells(section)
    assert found["10", "CRPS, paths"].value == 0.5 and found["10", "p, random walk"].value == 0.04
    assert found["50", "CRPS, paths"] is None and found["50", "p, random walk"] is None
    assert (found["10", "in the 50% band"].low, found["10", "skill"].value) == (0.3, 0.1)
    assert [one.name for one in section.pictures] == ["crps_events"]


def test_fills_stand_beside_benchmarks_with_reliability_and_tests_of_their_times():
    section = order_forecasts.order_forecasts(material())
    found = cells(section)
    assert found["50 events: first fill", "Brier, random walk"].value == 0.09
    assert isinstance(found["50 events: cancel", "Brier, random walk"], Absent)
    skill = found["all: full fill", "skill"]
    assert (skill.value, skill.low, skill.high) == (0.1, -0.1, 0.2)
    assert isinstance(found["deeper: cancel", "skill"], Absent)
    assert found["at best", "cancel, p"].value == 0.5 and found["at best", "first fill, if it comes, p"] is None
    (bins,) = (table for table in section.tables if table.caption.startswith("Reliability"))
    assert [row[0] for row in bins.rows] == [name for name in ("first fill", "full fill", "cancel") for _ in range(2)]
    assert (bins.rows[1][1], bins.rows[1][3].low, bins.rows[1][4]) == (10, 0.1, None)
    assert [one.name for one in section.pictures] == ["fills_reliability", "fills_pit"]
    assert "100 orders with an id" in section.paragraphs[0] and "10.0% of the orders really" in section.paragraphs[0]


def test_without_order_ids_the_section_on_fills_says_so():
    one = material()
    one.generated["resting_orders.json"] = {"unavailable": "the feed has no order ids, so that their fate is not known"}
    assert order_forecasts.order_forecasts(one).reason.startswith("the feed has no order ids")
    del one.generated["resting_orders.json"]
    assert "--mode=generate" in order_forecasts.order_forecasts(one).reason


def test_an_audit_says_what_was_found_and_what_was_not_checked():
    one = material()
    section = checks.audit(one)
    assert section.paragraphs == ("No leaks found in 2 checks; 1 could not be checked.",)
    assert cells(section)["bins are of training days", "verdict"] == "not checked: no bins"
    one.found["evaluation.json"]["audit"][0]["leak"] = "a lead reaches into training"
    assert checks.audit(one).paragraphs[0].startswith("1 leak found in 2 checks")
    one.found["audit.json"] = {"step": 1200, "findings": [{"check": "a is so", "leak": None, "unchecked": None}]}
    (said,) = checks.audit(one).paragraphs  # the longer audit replaces the shorter one
    assert said.startswith("No leaks found in 1 checks.") and said.endswith("the checkpoint of step 1,200.")


def test_a_fault_matrix_says_what_detects_each_fault_and_what_detects_none():
    one = material()
    section = checks.faults(one)
    found = cells(section)
    tick, copies = "wrong tick (messages and books)", "training copied (messages)"
    assert [found[tick, column] for column in ("detected by, of 3", "from sequences", "first by")] == [1, 8, "spread"]
    assert found[copies, "detected by, of 3"] == 0
    assert found[copies, "from sequences"] == Absent("not detected from 8 sequences")
    assert found["LOB-Bench: spread", "false alarms"].value == pytest.approx(0.045)
    assert found["further scores: sizes", "faults detected, of 2"] == 0
    assert isinstance(found["measures: rank", "false alarms"], Absent)
    assert [one.name for one in section.pictures] == ["faults"]
    del one.found["faults.json"]
    assert checks.faults(one) is None


def test_data_have_a_fingerprint_that_changes_with_them():
    section = data.data(material())
    assert cells(section)["SYN 2024-01-02", "rows left out"] == 2
    assert cells(section)["inputs.parameters", "value"].startswith("sha256 ")
    other = material()
    other.found["records/records.json"]["fingerprint"]["embargo_events"] = 161
    name = ("sha256 of the fingerprint", "value")
    assert cells(section)[name] != cells(data.data(other))[name]


@pytest.mark.slow
def test_a_direction_that_is_left_out_says_why():
    one = material()
    del one.found["evaluation.json"]["direction"]
    one.found["evaluation.json"]["direction_left_out"] = "performer attention has no mask"
    _, left_out = sections_of(one)
    assert left_out == [LeftOut("Direction of the next move", "performer attention has no mask")]
