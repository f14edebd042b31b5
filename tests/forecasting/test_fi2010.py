"""FI-2010: small files in its exact format, whose borders, labels and faults are known."""

import gzip

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.forecasting.fi2010 import HORIZONS, PROTOCOLS, find_files, is_fi2010, read_snapshots, segments
from tests.forecasting.fi2010_files import STOCKS, books, normalised, walk, write, write_set

NAME = "Train_Dst_NoAuction_ZScore_CF_7.txt"


def read(tmp_path, **how):
    mid, label = write(tmp_path / NAME, seed=0, **how)
    return read_snapshots([tmp_path / NAME]), mid, label


@pytest.mark.parametrize("how", ["ZScore", "MinMax", "DecPre"])
def test_stocks_are_told_apart_in_every_normalisation(tmp_path, how):
    found, _, _ = read(tmp_path, how=how)
    assert len(found) == 300 and found.book.shape == (300, 40) and found.book.dtype == np.float32
    np.testing.assert_array_equal(found.segment, np.repeat(np.arange(5), 60))


def test_one_is_up_and_three_is_down(tmp_path):
    found, mid, label = read(tmp_path)
    np.testing.assert_array_equal(found.label, 3 - label)
    for k, horizon in enumerate(HORIZONS):
        steps = horizon // 10
        ahead = np.array([mid[i + 1 : i + 1 + steps].mean() / mid[i] - 1 for i in range(50)])
        np.testing.assert_array_equal(found.label[:50, k] == 2, ahead > 0.0005)
        np.testing.assert_array_equal(found.label[:50, k] == 0, ahead < -0.0005)


def test_levels_are_ask_price_ask_size_bid_price_bid_size(tmp_path):
    found, mid, _ = read(tmp_path, how="DecPre")
    np.testing.assert_allclose(found.book[:, 0], (mid + 0.005) / 100, rtol=1e-6)
    np.testing.assert_allclose(found.book[:, 2], (mid - 0.005) / 100, rtol=1e-6)
    np.testing.assert_allclose(found.book[:, 36], (mid + 0.095) / 100, rtol=1e-6)
    sizes = found.book[:, 1::2] * 1e5
    np.testing.assert_allclose(sizes, np.round(sizes), atol=1e-2)  # whole numbers: columns that sizes have alone


def test_labels_the_other_way_round_are_refused(tmp_path):
    write(tmp_path / NAME, seed=0, swapped=True)
    with pytest.raises(InputError, match="run against the prices"):
        read_snapshots([tmp_path / NAME])


def test_files_follow_each_other_without_sharing_a_segment(tmp_path):
    for number in (7, 8):
        write(tmp_path / f"Test_Dst_NoAuction_ZScore_CF_{number}.txt", seed=number, stocks=STOCKS[:2])
    found = read_snapshots(sorted(tmp_path.iterdir()))
    assert found.segment.tolist() == np.repeat([0, 1, 2, 3], 60).tolist()


def test_a_border_is_a_jump_of_both_sides():
    book = books(np.random.default_rng(0), walk(np.random.default_rng(0), 20.0, 200))
    assert segments(normalised(book, "ZScore"))[-1] == 0
    gap = book.copy()
    gap[100:, 0] += 1.0  # the asks alone: a side that is thin for a while, not another stock
    assert segments(gap)[-1] == 0
    gap[100:, 2] += 1.0
    np.testing.assert_array_equal(segments(gap), np.arange(200) >= 100)
    assert segments(np.ones((5, 40)))[-1] == 0


def test_a_compressed_file_reads_the_same(tmp_path):
    found, _, _ = read(tmp_path)
    packed = tmp_path / f"{NAME}.gz"
    packed.write_bytes(gzip.compress((tmp_path / NAME).read_bytes()))
    np.testing.assert_array_equal(read_snapshots([packed]).book, found.book)


def test_files_are_found_at_any_depth_by_protocol(tmp_path):
    folder = write_set(tmp_path / "1.NoAuction_Zscore", count=12)
    files = find_files(tmp_path, protocol="days")
    assert files.name == "NoAuction_ZScore" and set(files.train) == {7} and set(files.test) == {7, 8, 9}
    assert files.train[7].parent.name == "NoAuction_Zscore_Training"
    assert is_fi2010(tmp_path) and is_fi2010(files.train[7]) and not is_fi2010(folder / "none")
    with pytest.raises(InputError, match=r"(?s)are missing.*Train_Dst_NoAuction_ZScore_CF_1\.txt"):
        find_files(tmp_path, protocol="folds")
    with pytest.raises(InputError, match="not the folder of one set"):
        find_files(files.train[7], protocol="days")
    write_set(tmp_path / "3.NoAuction_DecPre", how="DecPre", count=12)
    with pytest.raises(InputError, match="NoAuction_DecPre, NoAuction_ZScore"):
        find_files(tmp_path, protocol="days")


def test_other_files_are_not_fi2010(tmp_path):
    (tmp_path / "GOOG_2012-06-21_34200000_57600000_message_10.csv").write_text("1,2,3\n")
    (tmp_path / "Train_Dst_NoAuction_ZScore_CF_10.txt").write_text("1\n")
    assert not is_fi2010(tmp_path)


def test_protocols_never_test_a_day_that_was_trained_on():
    """Training file k has days 1 to k, test file k has day k + 1."""
    assert PROTOCOLS["days"] == ((7, (7, 8, 9)),)
    assert [number for number, _ in PROTOCOLS["folds"]] == list(range(1, 10))
    for pairs in PROTOCOLS.values():
        assert all(test + 1 > train for train, tests in pairs for test in tests)


def broken(text, fault):
    rows = text.splitlines()
    if fault == "a row too few":
        return "\n".join(rows[:-1])
    if fault == "a number too few":
        return "\n".join([*rows[:3], rows[3].rsplit(maxsplit=1)[0], *rows[4:]])
    if fault == "a word":
        return "\n".join([rows[0].replace("e", "x", 1), *rows[1:]])
    if fault == "not finite":
        return "\n".join([*rows[:39], " nan" * len(rows[0].split()), *rows[40:]])
    if fault == "transposed":
        return "\n".join(" ".join(column) for column in zip(*(row.split() for row in rows), strict=True))
    assert fault == "a label of 0"
    return "\n".join([*rows[:148], rows[148].replace("2.0", "0.0", 1)])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("a row too few", "148 rows"),
        ("a number too few", r"row 4\n.*59 numbers"),
        ("a word", r"row 1\n.*could not convert"),
        ("not finite", "row 40"),
        ("transposed", "60 rows.*the file is transposed"),
        ("a label of 0", r"row 145\n.*1 up, 2 stationary, 3 down"),
    ],
)
def test_a_file_of_another_shape_is_refused_by_its_row(tmp_path, fault, told):
    write(tmp_path / NAME, seed=0, stocks=STOCKS[:1])
    (tmp_path / NAME).write_text(broken((tmp_path / NAME).read_text(), fault))
    with pytest.raises(InputError, match=f"(?s)not a file of FI-2010.*{told}"):
        read_snapshots([tmp_path / NAME])
