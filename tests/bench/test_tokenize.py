"""The tokenizer benchmark ends with one JSON object that has a value for every stage."""

import json

import pytest

from lob_jax.bench import tokenize

STAGES = ["read", "replay", "queues", "encode", "replay+encode", "decode"]


@pytest.mark.slow
def test_the_last_line_is_one_json_object(capsys):
    tokenize.main(["--events", "2000", "--repeat", "1", "--time-digits", "5"])
    *table, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert len(table) == 1 + len(STAGES)
    assert list(figures["events_per_s"]) == list(figures["first_call_s"]) == STAGES
    assert all(rate > 0 for rate in figures["events_per_s"].values())
    assert 1000 < figures["events"] < 4000
    assert 3 < figures["tokens_per_event"] < 6
    assert figures["time_digits"] == 5
    assert {"command", "commit", "machine", "versions"} <= set(figures)


def test_the_median_leaves_the_first_call_out(monkeypatch):
    ticks = iter([0.0, 90.0, 100.0, 101.0, 200.0, 203.0, 300.0, 302.0])
    monkeypatch.setattr(tokenize.time, "perf_counter", lambda: next(ticks))
    assert tokenize.measure(lambda: "result", 3) == ("result", 90.0, 2.0)


def test_no_repeat_is_refused():
    with pytest.raises(SystemExit):
        tokenize.main(["--repeat", "0"])
