"""Read FI-2010 (Ntakaris et al., 2018), the benchmark of mid-price direction: labelled snapshots of five Nordic stocks.

It is not a feed: the files hold normalised snapshots of the book, one for every ten events, without the messages in
between, so there is nothing to tokenize. Only forecasters of book states can use it.

A file is text of 149 rows with one column per snapshot. Rows 1 to 40 are ten levels of ask price, ask size, bid price,
bid size; rows 41 to 144 are derived features, which are not read; rows 145 to 149 are labels at 10, 20, 30, 50 and 100
events: 1 up, 2 stationary, 3 down. Days and stocks follow each other without marks. Training file k has days 1 to k,
test file k has day k + 1.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from lob_jax.errors import InputError
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.reading.source import Source

HORIZONS = (10, 20, 30, 50, 100)  # events
EVENTS_A_SNAPSHOT = 10
ROWS, LEVELS, LABELS_FROM = 149, 10, 144
JUMP = 20  # a change of both best prices by more than so many usual ones is a border between stocks or days
PROTOCOLS = {  # pairs of a training file and its test files
    "days": ((7, (7, 8, 9)),),  # the first seven days train, the last three test
    "folds": tuple((fold, (fold,)) for fold in range(1, 10)),  # anchored: each day tests what the days before it train
}
_NAME = re.compile(
    r"(Train|Test)_Dst_((?:No)?Auction_(?:ZScore|MinMax|DecPre))_CF_([1-9])\.txt(\.gz|\.zst|\.zip)?", re.I
)
_PATTERN = "*_Dst_*_CF_*.txt*"


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of one of the six sets: with or without auctions, in one of three normalisations.

    Attributes:
      name: the set, such as "NoAuction_ZScore".
      train: training files by number.
      test: test files by number.
    """

    name: str
    train: dict[int, pathlib.Path]
    test: dict[int, pathlib.Path]


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshots:
    """N labelled snapshots.

    Attributes:
      book: float32 [N, 40], as in the files: for each level ask price, ask size, bid price, bid size.
      label: int32 [N, 5], 0 down, 1 flat, 2 up at each of HORIZONS.
      segment: int64 [N], number of the stretch of one stock without a border.
    """

    book: np.ndarray
    label: np.ndarray
    segment: np.ndarray

    def __len__(self) -> int:
        return len(self.book)


def is_fi2010(path: pathlib.Path) -> bool:
    """Return whether a path is a file of FI-2010, a folder that has some, or one of folders alone that have some."""
    if path.is_dir():
        inside = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        return any(_NAME.fullmatch(file.name) for file in inside or path.rglob(_PATTERN))
    return path.is_file() and _NAME.fullmatch(path.name) is not None


def refusal(path: pathlib.Path) -> InputError:
    """Return the error for FI-2010 where events are needed."""
    return InputError(
        "FI-2010 holds snapshots of the book without the messages between them, so there is nothing to tokenize",
        where=path,
        expected="market data with messages, or --mode=forecast",
        was="FI-2010",
        remedy="train a forecaster of book states: --mode=forecast --config.forecast.model=deeplob (or linear)",
    )


def find_files(path: pathlib.Path, *, protocol: str) -> Files:
    """Find the files of a protocol in a folder, at any depth.

    Args:
      path: the folder.
      protocol: one of PROTOCOLS.

    Raises:
      InputError: the path is a file, there are several sets, or a file of the protocol is missing.
    """
    folder, sets = path if path.is_dir() else path.parent, {}
    for file in sorted(folder.rglob(_PATTERN)):
        found = _NAME.fullmatch(file.name)
        if found:
            part, name, number = found[1].lower(), found[2], int(found[3])
            sets.setdefault(name, {}).setdefault(part, {})[number] = file
    if path.is_file() or len(sets) != 1:
        raise InputError(
            "not the folder of one set of FI-2010",
            where="config.data.path",
            expected="a folder with the training and test files of one set, at any depth",
            was=path if path.is_file() else f"{path}, with {', '.join(sorted(sets)) or 'none'}",
            remedy="pass the folder of one, such as BenchmarkDatasets/NoAuction/1.NoAuction_Zscore",
        )
    ((name, parts),) = sets.items()
    _check_complete(path, name, parts, protocol)
    return Files(name, parts["train"], parts["test"])


def _check_complete(path: pathlib.Path, name: str, parts: dict[str, dict[int, pathlib.Path]], protocol: str) -> None:
    pairs = PROTOCOLS[protocol]
    wanted = [("Train", train) for train, _ in pairs] + [("Test", one) for _, tests in pairs for one in tests]
    missing = [f"{part}_Dst_{name}_CF_{one}.txt" for part, one in wanted if one not in parts.get(part.lower(), {})]
    if missing:
        raise InputError(
            "files of FI-2010 are missing",
            where=path,
            expected=f"the files of config.forecast.protocol={protocol}",
            was=f"without {', '.join(missing)}",
            remedy="add them; days needs training file 7 and test files 7, 8 and 9, folds needs all eighteen",
        )


def read_snapshots(paths: Sequence[pathlib.Path]) -> Snapshots:
    """Read files, one after the other, and find the borders between stocks and days.

    Raises:
      InputError: a file is not of the format, or its labels run against its prices.
    """
    parts, begins = [], 0
    for path in paths:
        book, label = _read(path)
        _check_direction(path, book, label)
        segment = segments(book)
        parts.append((book, np.int32(3) - label, segment + begins))
        begins += int(segment[-1]) + 1
    book, label, segment = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Snapshots(book, label, segment)


def segments(book: np.ndarray) -> np.ndarray:
    """Return the number of the segment of each snapshot, int64 [N].

    A border is where the best ask and the best bid both change by more than JUMP times the median of their changes.
    Every normalisation maps a price linearly, so that this ratio is the same in all of them.

    Args:
      book: float [N, 4P], see `Snapshots`.
    """
    change = np.abs(np.diff(book[:, [0, 2]].astype(np.float64), axis=0))
    usual = [np.median(column[column > 0]) if (column > 0).any() else np.inf for column in change.T]
    border = (change > JUMP * np.array(usual)).all(axis=1)
    return np.concatenate([[0], np.cumsum(border)])


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the books, float32 [N, 40], and the labels as in the file, int32 [N, 5]."""
    kept, row = [], 0
    for row, line in enumerate(_lines(path), start=1):
        if row <= 4 * LEVELS or LABELS_FROM < row <= ROWS:
            kept.append(_numbers(path, row, line, count=len(kept[0]) if kept else None))
    if row != ROWS:
        turned = bool(kept) and len(kept[0]) == ROWS
        raise _damaged(path, f"{row} rows", "the file is transposed" if turned else "fetch the file again", row=None)
    label = np.stack(kept[4 * LEVELS :], axis=1)
    if not np.isin(label, (1, 2, 3)).all():
        raise _damaged(path, sorted({*label.ravel().tolist()})[:5], "labels are 1 up, 2 stationary, 3 down", row=145)
    return np.stack(kept[: 4 * LEVELS], axis=1).astype(np.float32), label.astype(np.int32)


def _lines(path: pathlib.Path) -> Iterator[bytes]:
    """Yield the lines that are not blank."""
    rest = b""
    for block in Source(path).blocks(STRICT):
        *whole, rest = (rest + block).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def _numbers(path: pathlib.Path, row: int, line: bytes, *, count: int | None) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in line.split()])
    except ValueError as error:
        raise _damaged(path, error, "fetch the file again", row=row) from error
    if count not in (None, len(numbers)) or not np.isfinite(numbers).all():
        raise _damaged(path, f"{len(numbers)} numbers, or one that is not finite", "fetch the file again", row=row)
    return numbers


def _damaged(path: pathlib.Path, was: object, remedy: str, *, row: int | None) -> InputError:
    return InputError(
        "not a file of FI-2010",
        where=path if row is None else f"{path}, row {row}",
        expected=f"{ROWS} rows of as many finite numbers, the last five of 1, 2 or 3",
        was=was,
        remedy=remedy,
    )


def _check_direction(path: pathlib.Path, book: np.ndarray, label: np.ndarray) -> None:
    """Check that 1 is up: the best ask rises after it more often than after 3.

    Some copies and notebooks take the labels the other way round, which would turn every prediction into its opposite.
    """
    steps = HORIZONS[-1] // EVENTS_A_SNAPSHOT
    ask = book[:, 0].astype(np.float64)
    if len(ask) <= steps:
        return
    total = np.concatenate([[0.0], np.cumsum(ask)])
    ahead = (total[steps + 1 :] - total[1:-steps]) / steps - ask[:-steps]  # mean of the next asks, minus the present
    rises = [np.sign(ahead[label[:-steps, -1] == one]) for one in (1, 3)]
    if min(map(len, rises)) and rises[0].mean() < rises[1].mean():
        raise InputError(
            "the labels of FI-2010 run against the prices",
            where=path,
            expected="1 up, 2 stationary, 3 down",
            was=f"a best ask that rises {rises[1].mean() - rises[0].mean():.2f} more often after 3 than after 1",
            remedy="fetch the original file: in this copy labels 1 and 3 are exchanged, or rows are",
        )
