"""Bodies: bounded, strict, and exact."""

import decimal
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.serving.http.bodies import parse_json
from lob_jax.serving.http.problems import Problem

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN)
def test_json_is_read_as_it_is(value):
    assert parse_json(json.dumps(value).encode(), depth=100) == value
    assert parse_json(json.dumps(value, ensure_ascii=True), depth=100) == value


def test_numbers_are_exact():
    found = parse_json(b"[585.3300000000000000001, 1e2, 18446744073709551615, 0e999]", depth=1)
    assert found == [decimal.Decimal("585.3300000000000000001"), 100, 2**64 - 1, 0]
    assert isinstance(found[0], decimal.Decimal)


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "Infinity", "-Infinity", "[1e999]", "1e99999999999999999999", "-1e400", "9" * 65, "0." + "1" * 65),
        *('{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', '{"a":1,"\\u0061":2}'),
        *("", "{", "[1,]", "{'a':1}", "1 2", "tru", "\ufeff{}", '"\x01"', "01", "+1", '"\\x"'),
    ],
)
def test_what_is_no_strict_json_is_refused(text):
    with pytest.raises(Problem) as caught:
        parse_json(text.encode(), depth=16)
    assert caught.value.name == "invalid-json"


@pytest.mark.parametrize("body", [b"\xff", b'"\xc3"', "{}".encode("utf-16"), b'"\xed\xa0\x80"'])
def test_what_is_no_utf_8_is_refused(body):
    with pytest.raises(Problem, match="UTF-8"):
        parse_json(body, depth=16)


def test_depth_is_bounded_before_anything_is_parsed():
    assert parse_json(b"[[[]], {}]", depth=3) == [[[]], {}]
    for body in (b"[[[[]]]]", b'{"a":{"b":{"c":{}}}}', b"[" * 1_000_000, b'[[[{"a":' * 100_000):
        with pytest.raises(Problem, match="nested more than 3 deep"):
            parse_json(body, depth=3)


@pytest.mark.parametrize("text", ['"[[[["', '"\\"[[[[\\\\"', '["{{{{", "\\\\", "[[[["]', '"\\\\\\"[[[["'])
def test_brackets_in_text_are_no_depth(text):
    assert parse_json(text.encode(), depth=1) == json.loads(text)


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 500_000, b'"' * 1_000_001, b'"' + b"\\" * 1_000_001, b'["' * 500_000])
def test_text_that_never_ends_is_looked_at_once(body):
    """A search that began anew at every quote would take hours for this megabyte."""
    with pytest.raises(Problem):
        parse_json(body, depth=16)
