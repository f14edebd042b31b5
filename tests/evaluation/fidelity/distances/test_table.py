"""Tables of a comparison fit 100 columns and say what is not defined."""

import io

import pytest
from rich.console import Console

from lob_jax.evaluation.fidelity.compare import compare
from lob_jax.evaluation.fidelity.distances.parts import cropped
from lob_jax.evaluation.fidelity.distances.table import number, score_table, summary_table, with_interval


@pytest.fixture(scope="module")
def result(flow):
    return compare(flow, {"copy": flow, "short": cropped(flow, 60)}, splits=2, resamples=2)


def lines(table):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text().splitlines()


def test_a_line_for_each_flow_and_group(result):
    shown = lines(summary_table(result))
    assert max(map(len, shown)) <= 100
    assert sum(line.startswith("│ copy") for line in shown) == 4
    assert any("21 LOB-Bench" in line and " 1.00 " in line for line in shown)


def test_a_line_for_each_score(result):
    shown = lines(score_table(result, "copy"))
    for entry in result["scores"].values():
        assert any(entry["label"][:20] in line for line in shown)
    shown = lines(score_table(result, "short"))
    assert max(map(len, shown)) <= 100
    assert "n/a" in next(line for line in shown if "order flow imbalance" in line)
    assert "real flow has no values in sequences of 60 messages" in " ".join(line.strip() for line in shown)


def test_the_worst_score_comes_first(result):
    def ratios(**how):
        cells = [line.split("│") for line in lines(score_table(result, "short", **how))]
        return [cell[-2].strip() for cell in cells if len(cell) == 7]

    found = [float(ratio) for ratio in ratios(worst_first=True)[1:18] if ratio not in ("", "n/a", "ratio")]
    assert found == sorted(found, reverse=True)


def test_numbers():
    assert [number(0.1234), number(1.5, ".2f"), number(None), number(-0.2)] == [".123", "1.50", "n/a", "-0.200"]
    assert with_interval({"value": 0.25, "low": 0.125, "high": 0.5}) == ".250 [.125 .500]"
    assert with_interval({"value": 0.25, "low": None, "high": None}) == ".250"
