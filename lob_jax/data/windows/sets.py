"""The sets in the places of a record's tokens: of one window alone, or of the whole record once it is read again."""

from lob_jax.data.records.records import Record, record_opening
from lob_jax.data.records.stored_sets import read_sets, stores_sets
from lob_jax.tokens.sets.distinct import DistinctSets, distinct
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
        self._is_read, self._whole = False, None
        if stores_sets(tokenizer):
            self._whole = distinct(read_sets(record))
        else:
            self._opening = record_opening(record)

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of the sets that are kept."""
        return 0 if self._whole is None else self._whole.nbytes

    def places(self, first: int, count: int) -> DistinctSets:
        """Return the sets of `count` tokens from `first` on, at least -count; empty before 0 and behind the last."""
        if self._whole is None and not self._is_read:
            self._is_read = True
            low = min(max(first, 0), len(self._tokens))
            high = max(min(first + count, len(self._tokens)), low)
            return self._between(low, high).places(first - low, count)
        if self._whole is None:
            self._whole = self._between(0, len(self._tokens))
        return self._whole.places(first, count)

    def _between(self, first: int, stop: int) -> DistinctSets:
        return distinct(self._tokenizer.sets(self._tokens, self._opening, closed=self._closed, rows=(first, stop)))
