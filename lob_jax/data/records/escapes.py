"""The token sets of a record, and how often real tokens are outside them: the escapes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.data.records.records import Record, record_opening
from lob_jax.data.records.stored_sets import read_sets, stores_sets
from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.shares import SHAPE, escape_shares
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.states import kinds_along, states_along
from lob_jax.tokens.tokenizer import Tokenizer


def record_sets(record: Record, tokenizer: Tokenizer) -> TokenSets:
    """Return the sets in the places of a record's tokens without EOS.

    Raises:
      InputError: the tokens do not give their events back, and the record was prepared without their sets.
    """
    if stores_sets(tokenizer):
        return read_sets(record)
    return tokenizer.sets(record["tokens"][:-1], record_opening(record), closed=int(record["closed"]))


class EscapeTally:
    """Count tokens, and those outside their sets, by field and kind of event.

    A head counts by its own class (`token // 1000`, 0 for CONTROL codes); any other token by the field that is known
    before it, see `Automaton.state_field`, and the class of its event's head. Tokens of an event after the first one
    outside its set are not counted, since the set in their places is that of the grammar.
    """

    def __init__(self) -> None:
        self._places = np.zeros(SHAPE, np.int64)
        self._outside = np.zeros((len(Escape), *SHAPE), np.int64)

    def add(self, record: Record, tokenizer: Tokenizer, *, first: int) -> None:
        """Count a record's tokens from `first` on."""
        tokens, sets = record["tokens"][:-1].astype(np.int64), record_sets(record, tokenizer)
        counted = (np.arange(len(tokens)) >= first) & ~_behind_another(tokens, sets.outside)
        field, kind = _cells(tokens, tokenizer)
        np.add.at(self._places, (field[counted], kind[counted]), 1)
        np.add.at(self._outside, (sets.outside[counted], field[counted], kind[counted]), 1)

    def content(self) -> dict[str, Any]:
        """Return the counts as JSON values: "places" [F][K], and "outside", the same by name of each reason found.

        The fields of ranks are left out if no token has one.
        """
        fields = len(v.FIELDS) if self._places[v.FIELD_RANK :].any() else v.FIELD_RANK
        reasons = (reason for reason in Escape if reason != Escape.INSIDE and self._outside[reason].any())
        outside = {reason.name.lower(): self._outside[reason, :fields].tolist() for reason in reasons}
        return {"places": self._places[:fields].tolist(), "outside": outside}


def _behind_another(tokens: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return whether an earlier token of the same event is outside its set, bool [T]."""
    event, newest = v.event_index(tokens), np.maximum.accumulate(np.where(outside > 0, np.arange(len(tokens)), -1))
    before = np.concatenate([[-1], newest[:-1]])[: len(tokens)]
    return (before >= 0) & (event[before] == event)


def _cells(tokens: np.ndarray, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Return the field and the kind that each token counts by, see `EscapeTally`."""
    head = v.field_of(tokens) == v.FIELD_HEAD
    field = np.where(head, v.FIELD_HEAD, tokenizer.grammar.state_field[states_along(tokenizer.grammar, tokens)[:-1]])
    return field, np.where(head, tokens // v.CLASS_SIZE, kinds_along(tokens)[:-1])


def training_escapes(manifest: Mapping[str, Any]) -> np.ndarray:
    """Return the escape shares of the training split of some records by field and kind, see `escape_shares`.

    Raises:
      InputError: the records were prepared before escapes were counted.
    """
    places, outside = np.zeros(SHAPE), np.zeros(SHAPE)
    for day in manifest["days"]:
        if "escapes" not in day:
            raise InputError(
                "the records do not say which tokens are outside their sets",
                where="days in the manifest of the records",
                expected="the counts in escapes",
                was=sorted(day),
                remedy="prepare the records again with this version",
            )
        counts = day["escapes"].get("train", {"places": np.zeros(SHAPE), "outside": {}})
        places[: len(counts["places"])] += counts["places"]
        for cells in counts["outside"].values():
            outside[: len(cells)] += cells
    return escape_shares(places, outside)
