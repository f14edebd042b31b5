"""The ids, their fields and words, and the vocabulary file, against hand-made values."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v

# BOS; ADD bid, 123 ticks deeper, size 105, gap 12 (TIME_BACK, TIME_SKIP in front); HALT, gap 100500; EOS; PAD.
STREAM = np.array([1, 1102, 7300, 8100, 7500, 7, 6, 9012, 11, 9370, 7050, 2, 0], np.uint16)


def test_ids_are_the_ones_records_are_written_with():
    assert list(range(8)) == [v.PAD, v.BOS, v.EOS, v.MASK, v.UNK, v.SEP, v.TIME_SKIP, v.TIME_BACK]
    assert (v.FIRST_CONTROL, v.LAST_CONTROL) == (11, 17)
    assert (v.CONTINUATION, v.SIZE, v.TIME, v.VOCAB_SIZE, v.ASK_OFFSET) == (7000, 8000, 9000, 10000, 500)
    assert v.CLASSES[1:7] == ("ADD", "CANCEL", "DELETE", "EXECUTE", "EXECUTE_HIDDEN", "CROSS")


def test_every_token_has_the_field_of_the_number_that_it_is_part_of():
    names = [v.FIELDS[field] for field in v.field_of(STREAM)]
    assert names == [
        "special",
        *("head", "head digits", "size", "size digits", "gap", "gap", "gap"),
        *("head", "gap", "gap digits"),
        *("special", "special"),
    ]


def test_fields_do_not_leak_between_rows_and_a_continuation_alone_has_none():
    rows = np.array([[8000, 7001, 9005], [7001, 7002, 1000]])
    assert v.field_of(rows).tolist() == [
        [v.FIELD_SIZE, v.FIELD_SIZE_DIGITS, v.FIELD_GAP],
        [v.FIELD_SPECIAL, v.FIELD_SPECIAL, v.FIELD_HEAD],
    ]
    assert v.field_of(rows).dtype == np.int8
    assert v.field_of(np.zeros(0, np.uint16)).shape == (0,)


def test_every_token_belongs_to_the_event_of_the_head_in_front():
    assert v.event_index(STREAM).tolist() == [-1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, -1]
    assert v.event_index(STREAM).dtype == np.int32


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (1003, "ADD bid 3 ticks deeper"),
        (1001, "ADD bid 1 tick deeper"),
        (3500, "DELETE ask at the best"),
        (1279, "ADD bid 99·10^2 ticks deeper"),
        (1280, "ADD bid 1 tick better"),
        (2968, "CANCEL ask 99·10^1 ticks better"),
        (5469, "EXECUTE_HIDDEN bid 5 digits of quanta deeper"),
        (6989, "CROSS ask 14 digits of quanta better"),
        (1999, "unused ADD ask 499"),
        (7050, "digits 050"),
        (8100, "size 10·10^1"),
        (8007, "size 7"),
        (9372, "gap 12·10^4 ns"),
        (11, "HALT"),
        (17, "FEED_GAP"),
        (6, "TIME_SKIP"),
        (8, "unused 8"),
        (100, "REGIME 0"),
        (999, "SESSION 199"),
    ],
)
def test_a_token_in_words(token, text):
    assert v.describe(token) == text


def test_describe_refuses_what_is_no_token():
    with pytest.raises(InputError, match="no such token"):
        v.describe(10_000)


def test_an_event_in_words_is_a_line_a_token():
    assert v.describe_event([1003, 8100, 9007]) == "1003  ADD bid 3 ticks deeper\n8100  size 10·10^1\n9007  gap 7 ns"


def test_the_file_comes_back_and_its_hash_knows_the_time_digits(tmp_path):
    path = tmp_path / "vocabulary.json"
    hashes = set()
    for digits in (None, *v.TIME_DIGITS):
        vocabulary = v.Vocabulary("exact", digits)
        vocabulary.save(path)
        assert v.Vocabulary.load(path) == vocabulary
        assert json.loads(path.read_text())["hash"] == vocabulary.hash
        hashes.add(vocabulary.hash)
    assert len(hashes) == 4
    # Records on disk carry this hash: it may change only together with LAYOUT.
    assert v.LAYOUT == 1
    assert v.Vocabulary("exact", None).hash == "7fac5d01b892af3e7607a0ec27ccb72c61539e5616a6a9993a603453c0dc1fba"


@pytest.mark.parametrize(
    ("key", "value"), [("layout", 2), ("time_digits", 5), ("hash", "0"), ("size", None), ("extra", 1)]
)
def test_a_changed_file_is_refused_naming_the_key(tmp_path, key, value):
    path = tmp_path / "vocabulary.json"
    content = json.loads(v.Vocabulary("exact", None).to_json())
    content[key] = value
    if value is None:
        del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="'hash'" if key == "time_digits" else f"'{key}'"):
        v.Vocabulary.load(path)


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"tokenizer": "compact"}', '{"tokenizer": "exact", "time_digits": 3}']
)
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path, text):
    path = tmp_path / "vocabulary.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError):
        v.Vocabulary.load(path)


def test_vocabulary_and_grammar_need_numpy_alone():
    code = (
        "import sys, lob_jax.tokens.vocabulary, lob_jax.tokens.grammar;"
        "sys.exit(any(name in sys.modules for name in ('numba', 'jax', 'flax', 'polars', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
