"""The sets in the places of a record's tokens: of one window alone, or of the whole record once it is read again."""

import numpy as np

from lob_jax.data.records.records import Record, record_opening
from lob_jax.data.records.stored_sets import read_sets, stores_sets
from lob_jax.tokens.sets.distinct import DistinctSets, distinct, rows_there
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.tokenizer import Tokenizer


class RecordSets:
    """The sets in the places of a record's tokens without EOS, which are found when they are asked for.

    Of a data set that is larger than the memory for its records, a window is all that is read of most records before
    they are dropped, and the sets of a window take a fifth of the time of those of its record. They are found for one
    window alone; when another one is asked for, those of the whole record are found and kept.
    """

    def __init__(self, record: Record, tokenizer: Tokenizer):
        """Keep what the sets follow from.

        Raises:
          InputError: the tokens do not give their events back, and the record was prepared without their sets.
        """
        self._tokenizer, self._tokens, self._closed = tokenizer, record["tokens"][:-1], int(record["closed"])
        self._is_read, self._kept, self._outside = False, None, np.empty(0, np.uint8)
        if stores_sets(tokenizer):
            self._keep(read_sets(record))
        else:
            self._opening = record_opening(record)

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of the sets that are kept."""
        return self._outside.nbytes + (0 if self._kept is None else self._kept.nbytes)

    def places(self, first: int, count: int) -> DistinctSets:
        """Return the sets of `count` tokens from `first` on, at least -count; empty before 0 and behind the last."""
        if self._kept is None and not self._is_read:
            self._is_read = True
            low, high = rows_there(first, count, len(self._tokens))
            return distinct(self._found(low, high)).places(first - low, count)
        return self._all().places(first, count)

    def whole(self) -> TokenSets:
        """Return the sets of all tokens, which are kept."""
        return self._all().expanded(self._outside)

    def _all(self) -> DistinctSets:
        return self._keep(self._found(0, len(self._tokens))) if self._kept is None else self._kept

    def _keep(self, sets: TokenSets) -> DistinctSets:
        self._kept, self._outside = distinct(sets), sets.outside
        return self._kept

    def _found(self, first: int, stop: int) -> TokenSets:
        return self._tokenizer.sets(self._tokens, self._opening, closed=self._closed, rows=(first, stop))
