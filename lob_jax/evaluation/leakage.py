"""Check that no test event has shaped what is tested: neither through the records nor through anything fitted."""

import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.data.labels.moves import fit_outlooks
from lob_jax.data.labels.regimes import fit_regimes
from lob_jax.data.records.builder import PreparedRecords, open_records
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import RecordSource, record_instrument
from lob_jax.data.records.split import SPLITS, required_embargo
from lob_jax.data.windows.known import Beside
from lob_jax.evaluation.baseline import Baseline
from lob_jax.evaluation.direction.state_table import StateTable
from lob_jax.tokens.vocabulary import VOCAB_SIZE

DECIMALS = 6  # of the numbers in a digest: machines differ in the last digits of a logarithm


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
      check: what must hold, as a sentence without a full stop.
      leak: how it does not hold; None if it does.
      unchecked: why it could not be checked; None if it was.
    """

    check: str
    leak: str | None = None
    unchecked: str | None = None

    @property
    def verdict(self) -> str:
        """What was found, in words."""
        if self.leak is not None:
            return f"leak: {self.leak}"
        return "holds" if self.unchecked is None else f"not checked: {self.unchecked}"


@dataclasses.dataclass(frozen=True)
class Span:
    """The events of a day that a record holds.

    Attributes:
      split: its split.
      symbol: symbol of its instrument.
      day: trading day, as an ISO date.
      begin: index in the day of its first event, including the lead.
      first: index of the first event that is its own.
      last: index after the last event.
    """

    split: str
    symbol: str
    day: str
    begin: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.split} events {self.begin:,}..{self.last - 1:,} of {self.symbol} {self.day}"


def read_spans(folder: pathlib.Path, *, every: bool = False) -> list[Span]:
    """Return the spans of prepared records, by split, in their order.

    Args:
      folder: the records.
      every: whether to read every record; otherwise the first and the last of each part of a day, between which the
        builder writes all others.
    """
    manifest, spans = load_manifest(folder), []
    for split in SPLITS:
        source = open_records(folder, split)
        for index in range(len(source)) if every else _borders(manifest, split):
            spans.append(_span(source, split, index))
    return spans


def _borders(manifest: Mapping[str, Any], split: str) -> list[int]:
    """Return the indices of the first and the last record of each part of a day."""
    counts = [part["records"] for day in manifest["days"] for part in day["parts"] if part["split"] == split]
    edges = itertools.pairwise(itertools.accumulate(counts, initial=0))
    return sorted({index for first, last in edges for index in (first, last - 1) if first < last})


def _span(source: PreparedRecords, split: str, index: int) -> Span:
    record = source[index]
    begin, instrument = int(record["first_event"]), record_instrument(record)
    first, last = begin + int(record["lead_events"]), begin + len(record["clock_ns"]) - 1
    return Span(split, instrument.symbol, instrument.trading_day, begin, first, last)


def check_splits(spans: Sequence[Span], *, embargo: int, context: int) -> list[Finding]:
    """Check that splits share no event, follow one another in time, and are as far apart as a context requires.

    A window reads nothing but its record, and a label is determined by its record alone. So disjoint records suffice
    for inputs and labels not to cross; the embargo keeps apart what is merely close in time.

    Args:
      spans: the spans of records.
      embargo: events between two splits of a day, as the manifest of the records says.
      context: context length of the model, see `split.context_of`.
    """
    by_day, by_symbol = _pairs(_whole(spans))
    shared = (pair for pair in by_day if pair[0].begin < pair[1].last and pair[1].begin < pair[0].last)
    disorder = (pair for pair in by_symbol if (pair[1].day, pair[1].first) < (pair[0].day, pair[0].last))
    close = (pair for pair in by_day if pair[1].first - pair[0].last < embargo)
    short = f"{embargo:,} events for a context that needs {required_embargo(context):,}"
    return [
        Finding("no event is in the records of two splits", _first(shared)),
        Finding("training comes before validation, and validation before the test", _first(disorder)),
        Finding("splits of one day are an embargo apart", _first(close)),
        Finding("the embargo is as long as a context", short if embargo < required_embargo(context) else None),
    ]


def _whole(spans: Sequence[Span]) -> list[Span]:
    """Return the events from the first to the last record of each split, instrument and day as one span."""
    parts: dict[tuple[str, str, str], list[Span]] = {}
    for span in spans:
        parts.setdefault((span.split, span.symbol, span.day), []).append(span)
    return [
        Span(*key, min(one.begin for one in part), min(one.first for one in part), max(one.last for one in part))
        for key, part in parts.items()
    ]


def _pairs(spans: Sequence[Span]) -> tuple[list[tuple[Span, Span]], list[tuple[Span, Span]]]:
    """Return pairs of an earlier and a later split: of the same day, and the nearest in time of each instrument."""
    by_day: list[tuple[Span, Span]] = []
    by_symbol: list[tuple[Span, Span]] = []
    for earlier, later in itertools.combinations(SPLITS, 2):
        before, after = ([span for span in spans if span.split == split] for split in (earlier, later))
        of_day = {(span.symbol, span.day): span for span in before}
        by_day += [(of_day[key], span) for span in after if (key := (span.symbol, span.day)) in of_day]
        newest = {span.symbol: span for span in sorted(before, key=lambda span: (span.day, span.last))}
        oldest = {span.symbol: span for span in sorted(after, key=lambda span: (span.day, span.first), reverse=True)}
        by_symbol += [(newest[symbol], span) for symbol, span in oldest.items() if symbol in newest]
    return by_day, by_symbol


def _first(pairs: Iterator[tuple[Span, Span]]) -> str | None:
    return next((f"{one}; {other}" for one, other in pairs), None)


def check_content(folder: pathlib.Path) -> list[Finding]:
    """Check that no record's tokens occur in two splits, and that the training tokens were counted in training alone.

    The head's bias begins at these counts. Reads every record.
    """
    seen: dict[bytes, str] = {}
    shared, counts = None, np.zeros(VOCAB_SIZE, np.int64)
    for split in SPLITS:
        source = open_records(folder, split)
        for index, about in enumerate(source.outlines):
            own = source[index]["tokens"][about.lead_tokens : -1]
            if split == "train":
                counts += np.bincount(own, minlength=VOCAB_SIZE)
            digest = hashlib.sha256(own.tobytes()).digest()
            if seen.setdefault(digest, split) != split:
                shared = shared or f"record {index} of {split} has the tokens of a record of {seen[digest]}"
    same = np.array_equal(load_manifest(folder)["token_counts"]["train"], counts)
    return [
        Finding("no record is in two splits", shared),
        Finding("the counts of training tokens are those of training", None if same else "others are in the manifest"),
    ]


def check_thresholds(beside: Beside, train: RecordSource) -> Finding:
    """Check that the thresholds of regimes and of the labels of the mid price are those of training."""
    wrong = []
    if beside.regimes is not None:
        bins = {name: len(getattr(beside.regimes, f"{name}_edges")) + 1 for name in ("volatility", "spread")}
        if fit_regimes(train, volatility_bins=bins["volatility"], spread_bins=bins["spread"]) != beside.regimes:
            wrong.append("those of the regimes")
    if beside.outlooks is not None and fit_outlooks(train, beside.outlooks.horizons) != beside.outlooks:
        wrong.append("those of the labels")
    check = "thresholds of regimes and labels are fitted on training"
    return Finding(check, f"other thresholds: {' and '.join(wrong)}" if wrong else None)


def digest_of_baseline(baseline: Baseline, validation: RecordSource) -> str:
    """Return a digest of a fitted baseline: of its log probabilities of the tokens of a validation record."""
    return digest([baseline.log_prob(validation[0])]) if len(validation) else digest([])


def digest_of_table(table: StateTable) -> str:
    """Return a digest of a state table."""
    return digest([table.probability, table.prior])


def digest(arrays: Iterable[np.ndarray]) -> str:
    """Return the sha256 of numbers rounded to DECIMALS, in hexadecimal."""
    sha256 = hashlib.sha256()
    for array in arrays:
        sha256.update((np.round(np.asarray(array, np.float64), DECIMALS) + 0.0).tobytes())  # -0.0 becomes 0.0
    return sha256.hexdigest()


def check_fitted(stored: Mapping[str, str], refitted: Mapping[str, str]) -> Finding:
    """Check that the digests of what an evaluation fitted are those of fits on training, chosen on validation."""
    check = "baselines are fitted on training and chosen on validation"
    other = [name for name in refitted if name in stored and stored[name] != refitted[name]]
    missing = [name for name in refitted if name not in stored]
    if not other and missing:
        return Finding(check, unchecked=f"the evaluation has no digest of {', '.join(missing)}")
    return Finding(check, f"another fit: {', '.join(other)}" if other else None)


def told(findings: Sequence[Finding]) -> str:
    """Return findings in one line."""
    leaks = [f"not so: {finding.check} ({finding.leak})" for finding in findings if finding.leak is not None]
    unchecked = [f"not checked: {finding.check} ({finding.unchecked})" for finding in findings if finding.unchecked]
    count = f"{len(leaks)} of {len(findings)} checks" if leaks else f"none in {len(findings) - len(unchecked)} checks"
    return "; ".join([f"leakage audit: {count}", *leaks, *unchecked])


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return a rich table of findings, one row each."""
    shown = Table(title="Leakage audit")
    for heading in ("what must hold", "verdict"):
        shown.add_column(heading)
    for finding in findings:
        shown.add_row(finding.check, finding.verdict)
    return shown
