"""The attention benchmark reports what it measured."""

import json

import pytest

from lob_jax.bench import attention as bench
from lob_jax.errors import InputError
from lob_jax.models.attention.kind import KINDS

SMALL = ["--heads", "4", "--head-size", "8", "--repeats", "1", "--lengths", "64", "128"]


def point(seconds, size):
    return bench.Point(seconds, 2 * seconds, size, 3 * size, compile_s=0.1)


def test_growth_is_from_each_length_to_the_next():
    points = {512: point(1.0, 10), 1024: point(2.0, 30), 2048: point(5.0, 30)}
    assert bench.growth(points, "forward_s") == pytest.approx([2.0, 2.5])
    assert bench.growth(points, "both_bytes") == pytest.approx([3.0, 1.0])
    assert bench.growth({512: point(1.0, 10)}, "forward_s") == []


@pytest.mark.slow
def test_every_kind_is_measured_and_the_last_line_holds_it_all(capsys):
    bench.main(SMALL)
    *shown, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert set(figures["points"]) == set(KINDS)
    for points in figures["points"].values():
        assert set(points) == {"64", "128"}
        assert all(value > 0 for one in points.values() for value in one.values())
    assert set(figures["largest_growth"]) == set(KINDS) - {"full", "multi_scale"}
    assert {"command", "commit", "machine", "versions"} <= set(figures)
    assert any("forward and backward, ms" in line for line in shown)


def test_a_kind_ends_where_its_products_would_not_fit(monkeypatch):
    monkeypatch.setattr(bench, "measure", lambda kind, length, chosen: point(0.1, 1))
    chosen = bench.parsed([*SMALL[:-2], "1024", "4096", "16384", "--most-gib", "2"])
    found = bench.survey(chosen)
    assert list(found["full"]) == [1024, 4096]
    assert list(found["performer"]) == [1024, 4096, 16384]
    slow = bench.survey(bench.parsed([*SMALL[:-2], "1024", "4096", "--most-seconds", "0.1"]))
    assert list(slow["performer"]) == [1024]


@pytest.mark.parametrize("arguments", [["--kinds", "fast"], ["--lengths", "64", "64"]])
def test_bad_choices_are_refused(arguments):
    with pytest.raises(InputError):
        bench.parsed(arguments)
