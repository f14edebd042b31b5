"""The benchmark of sets: events are counted once, and the last line is one JSON object."""

import json

import numpy as np
import pytest

from lob_jax.bench import sets
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.escape import Escape
from tests.market_day import market_day


@pytest.mark.slow
def test_an_event_that_escapes_counts_once_by_its_first_reason():
    kind = np.array([Kind.ADD, Kind.EXECUTE, Kind.DELETE, Kind.DELETE, Kind.ADD])
    size, time_ns = np.array([5, 6, 4, 4, 3]), np.array([1, 2, 3, 3, 2])
    columns = {"side": np.array([BID, BID, ASK, ASK, BID]), "price": np.full(5, 10_000)}
    day = market_day(Events.from_columns(time_ns=time_ns, kind=kind, size=size, **columns))
    tokens = ExactTokenizer().encode(day)
    found = sets.escapes(day, tokens, ExactTokenizer().sets(tokens, day))
    assert found == {
        Escape.NO_LEVEL.told(): {"DELETE": 2},
        Escape.BEHIND_THE_FRONT.told(): {"EXECUTE": 1},
        Escape.TIME_BACK.told(): {"ADD": 1},
    }


@pytest.mark.slow
def test_the_last_line_is_one_json_object(capsys):
    sets.main(["--synthetic", "--events", "300", "--repeat", "1", "--tokenizers", "exact", "compact"])
    *table, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert [name.split(", ")[-1] for name in figures["cases"]] == ["exact", "compact"]
    for case in figures["cases"].values():
        assert case["tokens_per_s"] > 0 and 0 <= case["escape_share"] < 0.2 and case["ranges_per_token"] > 1
        assert sum(sum(kinds.values()) for kinds in case["escapes"].values()) <= case["events"]
    exact, compact = figures["cases"].values()
    assert "stored_bytes_per_token" not in exact and 3 < compact["stored_bytes_per_token"] < 100
    assert len(table) >= 3 and {"command", "commit", "machine", "versions"} <= set(figures)
