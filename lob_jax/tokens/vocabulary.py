"""The 10,000 token ids: their meaning, the fields of an event that they belong to, and the vocabulary file.

Ids form ten classes of 1,000, `token // 1000`: 0 special tokens, 1-6 the head of an event of that kind, 7 three more
decimal digits of the preceding number, 8 the leading digits of a size, 9 the leading digits of a gap in time. Among the
special tokens are the ranks that say which of several orders a removal takes from.
"""

import dataclasses
import enum
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Kind
from lob_jax.tokens.bins import GAP_BINS
from lob_jax.tokens.registry import check_name, tokenizer_class

LAYOUT = 1  # incremented whenever an id changes its meaning
CLASS_SIZE = 1000
VOCAB_SIZE = 10 * CLASS_SIZE


class Special(enum.IntEnum):
    """Ids of tokens that belong neither to a number nor to a head."""

    PAD = 0  # after the end of a stream
    BOS = 1
    EOS = 2
    MASK = 3  # replaces a hidden token
    UNK = 4
    SEP = 5
    TIME_SKIP = 6  # adds 10^12 ns to a gap
    TIME_BACK = 7  # the gap that follows is negative


SPECIALS = tuple(special.name for special in Special)
PAD, BOS, EOS, MASK, UNK, SEP, TIME_SKIP, TIME_BACK = (int(special) for special in Special)
CONTROL_BASE = 10  # + a Code
REGIME_BASE, INSTRUMENT_BASE, SESSION_BASE = 100, 200, 800  # start of each range that is reserved for prefixes
FIRST_CONTROL, LAST_CONTROL = CONTROL_BASE + Code.HALT, CONTROL_BASE + Code.FEED_GAP
CONTROL_GAP = 10  # id stride between the gap bins of a CONTROL code, in the compact vocabulary

# Ranks among the orders that a removal may mean: ids from RANK_BASE on are ranks 0..RANKS-1. An id from RANK_ESCAPE on
# stands for RANKS plus a thousand more each, and a group of three digits always follows.
RANK_BASE, RANK_ESCAPE, RANK_END = 60, 92, 100
RANKS = RANK_ESCAPE - RANK_BASE
MOST_RANKS = RANKS + CLASS_SIZE * (RANK_END - RANK_ESCAPE)  # further orders cannot be told apart from the newest
REFERENCES = ("newest", "rank")  # how a removal refers to its order: the newest that it fits, or by rank where needed

CONTINUATION, SIZE, TIME = 7 * CLASS_SIZE, 8 * CLASS_SIZE, 9 * CLASS_SIZE
CLASSES = ("special", *(kind.name for kind in Kind if kind < Kind.CONTROL), "digits", "size", "gap")

# The low part of a head: a side, and one of 500 price codes.
ASK_OFFSET = 500
BETTER_CODE = 280  # codes 0..279 are numbers of units deeper; those from here on are 1..990 units better
DEEPER_ESCAPE = 469  # + k: a number of k + 5 digits deeper, with all digits in continuations
BETTER_ESCAPE = 479  # + k: a number of k + 4 digits better
PRICE_CODES = 490  # codes from here up to ASK_OFFSET are unused
DEEPER_ESCAPE_DIGITS, BETTER_ESCAPE_DIGITS, MAX_PRICE_DIGITS = 5, 4, 14

# Codes 0..9 are these numbers; code 10 + 90 e + (mm - 10) is a number of leading digits mm with e more digits.
MAX_NUMBER_DIGITS = 12
TIME_DIGITS = (2, 5, 8)  # significant digits that a gap may be rounded to


class Field(enum.IntEnum):
    """The part of an event that a token belongs to; in the order of the parts, but for the rank, before the gap."""

    SPECIAL = 0
    HEAD = 1
    HEAD_DIGITS = 2
    SIZE = 3
    SIZE_DIGITS = 4
    GAP = 5
    GAP_DIGITS = 6
    RANK = 7
    RANK_DIGITS = 8


FIELDS = tuple(field.name.lower().replace("_", " ") for field in Field)
(
    FIELD_SPECIAL, FIELD_HEAD, FIELD_HEAD_DIGITS, FIELD_SIZE, FIELD_SIZE_DIGITS, FIELD_GAP, FIELD_GAP_DIGITS,
    FIELD_RANK, FIELD_RANK_DIGITS,
) = (int(field) for field in Field)  # fmt: skip


def _field_table() -> np.ndarray:
    """Return the field of every token, int8 [V]; -1 for continuations, whose field depends on the token before."""
    field_V = np.full(VOCAB_SIZE, FIELD_SPECIAL, np.int8)
    for bin_ in range(GAP_BINS):
        field_V[FIRST_CONTROL + CONTROL_GAP * bin_ : LAST_CONTROL + 1 + CONTROL_GAP * bin_] = FIELD_HEAD
    field_V[[TIME_SKIP, TIME_BACK]] = FIELD_GAP
    field_V[RANK_BASE:RANK_END] = FIELD_RANK
    field_V[CLASS_SIZE:CONTINUATION] = FIELD_HEAD
    field_V[CONTINUATION:SIZE] = -1
    field_V[SIZE:TIME] = FIELD_SIZE
    field_V[TIME:] = FIELD_GAP
    return field_V


FIELD_V = _field_table()  # int8 [V], -1 for continuations
IS_HEAD_V = FIELD_V == FIELD_HEAD  # whether a token begins an event, bool [V]
_DIGITS_OF = np.zeros(len(Field), np.int8)
for _field in (FIELD_HEAD, FIELD_SIZE, FIELD_GAP, FIELD_RANK):
    _DIGITS_OF[_field] = _field + 1


def field_of(tokens: np.ndarray) -> np.ndarray:
    """Return the field (`FIELD_*`) of each token, int8 [..., T], for tokens [..., T].

    A continuation gets the field of the number that it continues; if that is not in the array, FIELD_SPECIAL.
    """
    tokens = np.asarray(tokens)
    field = FIELD_V[tokens]
    continues = field < 0
    lead = np.where(continues, 0, np.arange(tokens.shape[-1]))
    lead_field = np.take_along_axis(field, np.maximum.accumulate(lead, axis=-1), axis=-1)
    return np.where(continues, _DIGITS_OF[np.maximum(lead_field, FIELD_SPECIAL)], field)


def is_of_gap(field: np.ndarray) -> np.ndarray:
    """Return whether fields are those of a gap, bool, same shape."""
    return (field == FIELD_GAP) | (field == FIELD_GAP_DIGITS)


def event_index(tokens: np.ndarray) -> np.ndarray:
    """Return the index of the event that each token belongs to, int32 [T], for tokens [T].

    Tokens before the first head, and PAD, have -1; EOS has the number of events.
    """
    tokens = np.asarray(tokens)
    index = np.cumsum(IS_HEAD_V[tokens], dtype=np.int32) - np.int32(1)
    return np.where(tokens == PAD, np.int32(-1), index + (tokens == EOS)).astype(np.int32)


def split_number_code(code: int) -> tuple[int, int]:
    """Split a number code 0..999 into its leading digits and the number of digits that follow."""
    return (code, 0) if code < 10 else (10 + (code - 10) % 90, (code - 10) // 90)


def describe(token: int) -> str:
    """Describe a token in words, such as "ADD bid 3 ticks deeper" or "gap 12·10^4 ns".

    Raises:
      InputError: the token is not in 0..9999.
    """
    if not 0 <= token < VOCAB_SIZE:
        raise InputError(
            "no such token",
            where="describe",
            expected=f"0..{VOCAB_SIZE - 1}",
            was=token,
            remedy="pass ids of this vocabulary",
        )
    kind, low = divmod(int(token), CLASS_SIZE)
    if kind == 0:
        return _describe_special(low)
    if token < CONTINUATION:
        return _describe_head(Kind(kind), low)
    if token < SIZE:
        return f"digits {low:03d}"
    return f"size {_number_text(low)}" if token < TIME else f"gap {_number_text(low)} ns"


def describe_event(tokens: Sequence[int] | np.ndarray) -> str:
    """Return one line per token, "id  meaning", for printing."""
    return "\n".join(f"{int(token):4d}  {describe(int(token))}" for token in tokens)


def _describe_special(token: int) -> str:
    if token < len(SPECIALS):
        return SPECIALS[token]
    if FIRST_CONTROL <= token <= LAST_CONTROL:
        return Code(token - CONTROL_BASE).name
    if RANK_BASE <= token < RANK_ESCAPE:
        return f"order {token - RANK_BASE} from the back"
    if RANK_ESCAPE <= token < RANK_END:
        return f"order {RANKS + CLASS_SIZE * (token - RANK_ESCAPE)} from the back, plus"
    for name, first, last in _prefix_ranges():
        if first <= token <= last:
            return f"{name} {token - first}"
    return f"unused {token}"


def _describe_head(kind: Kind, low: int) -> str:
    side, price = ("bid", low) if low < ASK_OFFSET else ("ask", low - ASK_OFFSET)
    one, many = ("quantum", "quanta") if kind in (Kind.EXECUTE_HIDDEN, Kind.CROSS) else ("tick", "ticks")
    if price >= PRICE_CODES:
        return f"unused {kind.name} {side} {price}"
    if price >= BETTER_ESCAPE:
        return f"{kind.name} {side} {price - BETTER_ESCAPE + BETTER_ESCAPE_DIGITS} digits of {many} better"
    if price >= DEEPER_ESCAPE:
        return f"{kind.name} {side} {price - DEEPER_ESCAPE + DEEPER_ESCAPE_DIGITS} digits of {many} deeper"
    if price == 0:
        return f"{kind.name} {side} at the best"
    code, way = (price, "deeper") if price < BETTER_CODE else (price - BETTER_CODE + 1, "better")
    return f"{kind.name} {side} {_number_text(code)} {one if code == 1 else many} {way}"


def _number_text(code: int) -> str:
    lead, more = split_number_code(code)
    return f"{lead}·10^{more}" if more else str(lead)


def _prefix_ranges() -> list[tuple[str, int, int]]:
    return [
        ("REGIME", REGIME_BASE, INSTRUMENT_BASE - 1),
        ("INSTRUMENT", INSTRUMENT_BASE, SESSION_BASE - 1),
        ("SESSION", SESSION_BASE, CLASS_SIZE - 1),
    ]


def check_time_digits(time_digits: int | None) -> None:
    """Check the number of significant digits of gaps.

    Raises:
      InputError: it is neither None nor one of TIME_DIGITS.
    """
    if time_digits is not None and time_digits not in TIME_DIGITS:
        raise InputError(
            "unsupported rounding of times",
            where="tokens.time_digits",
            expected=f"one of {TIME_DIGITS}, or None for every nanosecond",
            was=time_digits,
            remedy="choose one of them",
        )


def check_references(references: object, among: Sequence[str] = REFERENCES) -> None:
    """Check how removals refer to orders.

    Raises:
      InputError: it is not among the given values.
    """
    if references not in among:
        raise InputError(
            "unsupported references to orders",
            where="tokens.references",
            expected=" | ".join(among),
            was=references,
            remedy="choose one of these values, which are those of the tokenizer that tokens.kind names",
        )


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Everything that determines the meaning of token ids.

    Attributes:
      tokenizer: name of the tokenizer in `registry.TOKENIZERS`.
      time_digits: significant digits of a gap, 2, 5 or 8; None for exact gaps, or for gaps in bins.
      bins: a dataclass with the fitted meaning of codes, such as `CompactBins`; None for a tokenizer without one.
      references: how a removal refers to its order, one of REFERENCES.
    """

    tokenizer: str
    time_digits: int | None
    bins: Any = None
    references: str = REFERENCES[0]

    def __post_init__(self):
        check_name(self.tokenizer)
        check_time_digits(self.time_digits)
        check_references(self.references)

    @property
    def has_ranks(self) -> bool:
        """Return whether a removal that several orders fit has a rank."""
        return self.references == "rank"

    @property
    def hash(self) -> str:
        """Return the sha256, in hex, of the content as canonical JSON."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of the vocabulary file: the content and its hash."""
        return json.dumps({**self._content(), "hash": self.hash}, indent=2) + "\n"

    def save(self, path: pathlib.Path) -> None:
        """Write the vocabulary file."""
        pathlib.Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: pathlib.Path) -> "Vocabulary":
        """Read a vocabulary file.

        Raises:
          InputError: the file is missing, is not JSON, or differs from what this version would write.
        """
        content = _read_object(pathlib.Path(path))
        kind = tokenizer_class(str(content.get("tokenizer")), where=str(path))
        settings = {"references": content["references"]} if "references" in content else {}
        settings |= {name: content.get(name) for name in ("time_digits", "bins")}
        vocabulary = kind.from_settings(**settings).vocabulary
        expected = json.loads(vocabulary.to_json())
        for key in [*expected, *content]:
            if key not in content or key not in expected or content[key] != expected[key]:
                raise InputError(
                    "the vocabulary does not match this version's tokens",
                    where=f"{path}, key {key!r}",
                    expected=expected.get(key, "no such key"),
                    was=content.get(key, "absent"),
                    remedy="prepare the records again with this version, or use the version that wrote it",
                )
        return vocabulary

    def _content(self) -> dict[str, Any]:
        return {
            "tokenizer": self.tokenizer,
            "time_digits": self.time_digits,
            "layout": LAYOUT,
            "size": VOCAB_SIZE,
            "classes": list(CLASSES),
            "specials": {name: token for token, name in enumerate(SPECIALS)},
            "controls": {code.name: CONTROL_BASE + code.value for code in Code if code != Code.NONE},
            "prefixes": {name: [first, last] for name, first, last in _prefix_ranges()},
            **({"bins": dataclasses.asdict(self.bins)} if self.bins is not None else {}),
            **({"references": self.references, "ranks": [RANK_BASE, RANK_ESCAPE, RANK_END]} if self.has_ranks else {}),
        }


def _read_object(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "the vocabulary cannot be read",
            where=path,
            expected="a vocabulary file (JSON)",
            was=error,
            remedy="pass the vocabulary.json that was written with the records",
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            "the vocabulary cannot be read",
            where=path,
            expected="a JSON object",
            was=type(content).__name__,
            remedy="pass the vocabulary.json that was written with the records",
        )
    return content
