"""Damaged inputs: each must give a clear error or the right result, never a crash, a hang or a silent change.

The right result is that of a naive reader in the feed's sample module. LOB_JAX_MUTATIONS sets the number of inputs per
feed in the long check.
"""

import os
import signal

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from tests.feeds.checks import SAMPLES, assert_round_trip, assert_sound, final_levels, sample_of

MANY = int(os.environ.get("LOB_JAX_MUTATIONS", "400"))
HANG_S = 120  # includes compilation
PIECES = [b"", b"-", b".", b",", b"\n", b"\r\n", b"\x00", b"\xff", b'"', b" ", b"NaN", b"1e9", b"9" * 25, b"0", b"true"]
EXTREMES = [0, 1, -1, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), 2**32 - 1]


def mutated(data, rng):
    """Return data with one to three small defects."""
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 20))
        kind = rng.integers(0, 9)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << int(rng.integers(0, 8)))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + PIECES[rng.integers(0, len(PIECES))] + data[at + int(rng.integers(0, 3)) :]
        elif kind == 2:
            data = data[:at] + data[at + length :]
        elif kind == 3:
            data = data[:at] + data[at : at + length] + data[at:]
        elif kind == 4 and rng.integers(0, 4) == 0:
            data = data[:at]
        elif kind == 5:
            data = data[:at] + bytes(rng.integers(48, 58, 1).astype(np.uint8)) + data[at + 1 :]
        elif kind == 6:
            width = int(rng.choice([1, 2, 4, 8]))
            number = EXTREMES[rng.integers(0, len(EXTREMES))] % 256**width
            data = data[:at] + number.to_bytes(width, str(rng.choice(["big", "little"]))) + data[at + width :]
        else:
            data = shuffled_lines(data, kind, rng)
    return data


def shuffled_lines(data, kind, rng):
    """Swap two lines, or repeat one."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    first, second = rng.integers(0, len(lines), 2)
    if kind == 7:
        lines[first], lines[second] = lines[second], lines[first]
    else:
        lines.insert(first, lines[second])
    return b"".join(lines)


def naive(sample, path):
    try:
        return sample.final_book(path)
    except (ValueError, KeyError, IndexError, TypeError, ArithmeticError, AttributeError, EOFError):
        return None


def judge(sample, path):
    """Read a damaged day strictly and leniently; return "refused", "right", or "unjudged" if it cannot be decided."""
    lenient = sample.FEED
    try:
        for source in lenient.days(path):
            assert_sound(lenient.read(source, Reading(on_error="skip", block_bytes=500)))
    except InputError:
        pass
    try:
        day = sample.FEED.read(path)
    except InputError as error:
        assert error.what and str(error.where) and error.remedy
        return "refused"
    assert_sound(day)
    assert_round_trip(day, may_refuse=True)
    expected = naive(sample, path)
    if expected is None:
        return "unjudged"
    assert final_levels(day) == expected
    return "right"


def run(name, tmp_path, seeds):
    """Judge a number of damaged inputs; return the counts of the verdicts."""
    sample, verdicts = sample_of(name), {"refused": 0, "right": 0, "unjudged": 0}
    path = sample.write(tmp_path)
    originals = {file: file.read_bytes() for file in tmp_path.iterdir()}
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("a reading hangs"))
    for seed in seeds:
        rng = np.random.default_rng(seed)
        damaged = list(originals)[rng.integers(0, len(originals))]
        damaged.write_bytes(mutated(originals[damaged], rng))
        signal.alarm(HANG_S)
        try:
            verdicts[judge(sample, path)] += 1
        except BaseException as error:
            error.add_note(f"{name}, seed {seed}: {damaged.name}")
            raise
        finally:
            signal.alarm(0)
            damaged.write_bytes(originals[damaged])
    return verdicts


@pytest.mark.parametrize("name", SAMPLES)
def test_damage_is_refused_or_read_right(name, tmp_path):
    verdicts = run(name, tmp_path, range(60))
    assert verdicts["refused"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_much_damage_is_refused_or_read_right(name, tmp_path, capsys):
    verdicts = run(name, tmp_path, range(1000, 1000 + MANY))
    with capsys.disabled():
        print(f"\n{name}: {MANY} damaged inputs, {verdicts}")
    assert verdicts["unjudged"] <= MANY // 10
