"""The fidelity benchmark ends with one JSON object that has the seconds of every stage."""

import json

import pytest

from lob_jax.bench import fidelity


@pytest.mark.slow
def test_the_last_line_is_one_json_object(capsys):
    fidelity.main(["--sequences", "3", "--length", "120", "--repeat", "1"])
    *table, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert list(figures["seconds"]) == ["scores", "bootstrap", "compare"] and len(table) == 4
    assert figures["sequences"] == [3, 3] and 0 < figures["mean"]["l1"] < 1
    assert {"command", "commit", "machine", "versions"} <= set(figures)


def test_the_median_leaves_the_first_call_out(monkeypatch):
    ticks = iter([0.0, 90.0, 100.0, 101.0, 200.0, 203.0, 300.0, 302.0])
    monkeypatch.setattr(fidelity.time, "perf_counter", lambda: next(ticks))
    result, seconds = fidelity.timed(lambda: "result", 3)
    assert result == "result" and seconds["first_call"] == 90.0 and seconds["median"] == 2.0


def test_no_repeat_is_refused():
    with pytest.raises(SystemExit):
        fidelity.main(["--repeat", "0"])
