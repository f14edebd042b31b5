"""Fill the tables of the count model that is mixed with a network, see `lob_jax.models.expert`, in one pass.

Contexts are those that the model looks up: the same code computes both. Each context has a row by its hash; of several
with the same row, the most frequent one has it. The own counts of a block are those of its events and of an embargo
before and behind it: what the windows of its neighbours and its own have in common.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from lob_jax.book.anchors import LEVELS
from lob_jax.events.schema import Kind
from lob_jax.models import expert
from lob_jax.models.config import ModelConfig
from lob_jax.models.expert import BLOCKS, CHAINS, CODES, GAP_CODES, OWN, SHORTEST, TABLES, Part
from lob_jax.models.inputs import Conditioning
from lob_jax.tokens import vocabulary as v
from lob_jax.training.step.shift import Batch

READ = ("latest", "queue", "anchors")  # what contexts are made of
MOST_CONTEXTS = max(len(chain.bits) for chain in CHAINS.values())
PART_OF_CLASS = np.full(v.VOCAB_SIZE // v.CLASS_SIZE, -1)
PART_OF_CLASS[[Kind.ADD, Kind.DELETE, v.SIZE // v.CLASS_SIZE, v.TIME // v.CLASS_SIZE]] = list(Part)
MOST_OWN = np.iinfo(np.uint16).max  # own counts are at most this


class Samples(NamedTuple):
    """The codes that came, in the order of the training split, and their contexts.

    Attributes:
      part: int64 [N], the chain of each, see `Part`.
      symbol: int64 [N], the code that the chain counts.
      group: int64 [N], its shortest context.
      low: int64 [N], the low part of the token.
      hashes: uint32 [N, MOST_CONTEXTS], of its longer contexts; 0 behind those of its chain.
      record: int64 [N].
      order: int64 [N], ascending with the position in the record.
    """

    part: np.ndarray
    symbol: np.ndarray
    group: np.ndarray
    low: np.ndarray
    hashes: np.ndarray
    record: np.ndarray
    order: np.ndarray

    def at(self, which: np.ndarray) -> "Samples":
        """Return some of the samples."""
        return Samples(*(leaf[which] for leaf in self))


def fit_tables(config: ModelConfig, batches: Iterable[Batch], *, records: int) -> dict[str, dict[str, np.ndarray]]:
    """Return the parameters of the count model, and the own counts of blocks, by group and name.

    Args:
      config: the model.
      batches: all training windows once, as they are in the records, with what the count model reads.
      records: number of training records.
    """
    parts = [_samples(batch) for batch in batches]
    samples = Samples(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))
    samples = samples.at(np.lexsort((samples.order, samples.record)))
    block_K2 = _left_out(samples.record, records, reach=config.max_seq_length)
    rows, context = expert.table_rows(config), 0
    first = np.cumsum([0, *rows])
    key, code = np.zeros(first[-1], np.float32), np.zeros((first[-1] + 1, CODES), np.float32)
    count = np.zeros((first[-1] + 1, CODES + 1), np.float32)
    own = np.zeros((BLOCKS, first[-1] + 1, CODES + 1), np.uint16)
    for part, chain in CHAINS.items():
        mine = np.flatnonzero(samples.part == part)
        those, left_K2 = samples.at(mine), np.searchsorted(mine, block_K2)
        for length in range(len(chain.bits)):
            table = _table(those.hashes[:, length], those.symbol, left_K2, rows=int(rows[context]))
            place = slice(first[context], first[context + 1])
            key[place], code[place], count[place], own[:, place] = table
            context += 1
    shortest, own_shortest = _shortest(samples, block_K2)
    return {
        TABLES: {"key": key, "code": code, "count": count, "shortest": shortest},
        OWN: {"rows": own, "shortest": own_shortest, "records": np.array(records, np.int32)},
    }


@jax.jit
def _sought(conditioning: Conditioning) -> expert.Sought:
    return expert.sought(conditioning)


def _samples(batch: Batch) -> Samples:
    """Return what came at the scored tokens of windows that a chain counts."""
    targets_BT, scored_BT = (np.asarray(batch[name])[:, 1:] for name in ("tokens", "scored"))
    found = jax.device_get(_sought({name: np.asarray(batch[name])[:, :-1] for name in READ}))
    part_BT = PART_OF_CLASS[targets_BT // v.CLASS_SIZE]
    low_BT = targets_BT % v.CLASS_SIZE
    side_BT = np.where(part_BT < Part.SIZE, low_BT // v.ASK_OFFSET, 0)
    level_BTSL = found.level_BTC.reshape(*targets_BT.shape, 2, LEVELS)
    at_BTL = np.take_along_axis(level_BTSL, side_BT[..., None, None], axis=2)[..., 0, :] == low_BT[..., None]
    symbols = {
        Part.ADD: low_BT % v.ASK_OFFSET,
        Part.DELETE: at_BTL.argmax(-1),
        Part.SIZE: low_BT,
        Part.GAP: expert.CLASS_OF_GAP[low_BT],
    }
    row, column = np.nonzero(scored_BT & (part_BT >= 0) & ((part_BT != Part.DELETE) | at_BTL.any(-1)))
    part, side = part_BT[row, column], side_BT[row, column]
    hashes, lookup = np.zeros((len(row), MOST_CONTEXTS), np.uint32), 0
    for each, chain in CHAINS.items():
        length = len(chain.bits)
        for s in range(chain.sides):
            mine = (part == each) & (side == s)
            hashes[mine, :length] = found.hash_BTL[row[mine], column[mine], lookup : lookup + length]
            lookup += length
    grouped = np.array([chain.groups > 1 for chain in CHAINS.values()])[part]
    return Samples(
        part=part,
        symbol=np.stack([symbols[each] for each in Part])[part, row, column],
        group=np.where(grouped, found.kind_BT1[row, column, 0], 0),
        low=low_BT[row, column],
        hashes=hashes,
        record=np.asarray(batch["record"])[row],
        order=np.asarray(batch["position"])[row] + column,
    )


def _left_out(record: np.ndarray, records: int, *, reach: int) -> np.ndarray:
    """Return which samples each block leaves out, from the first to the one after the last, int64 [BLOCKS, 2].

    They are its own and `reach` before and behind them: no window of the block reaches further.
    """
    edges = np.searchsorted(expert.block_of(record, np.int64(records)), np.arange(BLOCKS + 1))
    own = np.stack([edges[:-1], edges[1:]], axis=1)
    wide = np.clip(own + np.array([-reach, reach]), 0, len(record))
    return np.where(own[:, :1] < own[:, 1:], wide, own)


def _table(
    context: np.ndarray, symbol: np.ndarray, left_K2: np.ndarray, *, rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the key, code, count and own counts of each row of one length of contexts.

    Args:
      context: uint32 [N], hashes.
      symbol: int64 [N].
      left_K2: the samples that each block leaves out.
      rows: number of rows.
    """
    hashes, of_sample, times = np.unique(context, return_inverse=True, return_counts=True)
    row = (hashes & np.uint32(rows - 1)).astype(np.int64)
    by_row = np.lexsort((-times, row))
    held = by_row[np.unique(row[by_row], return_index=True)[1]]  # the most frequent context of each row
    row_of = np.full(len(hashes), -1)
    row_of[held] = row[held]

    key, code = np.zeros(rows, np.float32), np.zeros((rows, CODES), np.float32)
    count, own = np.zeros((rows, CODES + 1), np.float32), np.zeros((BLOCKS, rows, CODES + 1), np.uint16)
    key[row[held]] = expert.keys_of_hashes(hashes[held])
    count[row[held], CODES] = times[held]

    sample_row = row_of[of_sample]
    pair, sample_pair, often = np.unique(sample_row * v.CLASS_SIZE + symbol, return_inverse=True, return_counts=True)
    pair_row, pair_symbol = pair // v.CLASS_SIZE, pair % v.CLASS_SIZE
    by_count = np.lexsort((-often, pair_row))
    place = np.empty(len(pair), np.int64)
    place[by_count] = np.arange(len(pair)) - np.searchsorted(pair_row[by_count], pair_row[by_count])
    kept = (place < CODES) & (pair_row >= 0)
    code[pair_row[kept], place[kept]] = pair_symbol[kept]
    count[pair_row[kept], place[kept]] = often[kept]

    for block, (low, high) in enumerate(left_K2):
        left = np.zeros((rows, CODES + 1), np.int64)
        pairs, here = sample_pair[low:high], sample_row[low:high]
        np.add.at(left, (pair_row[pairs[kept[pairs]]], place[pairs[kept[pairs]]]), 1)
        left[:, CODES] = np.bincount(here[here >= 0], minlength=rows)
        own[block] = np.minimum(left, MOST_OWN)
    return key, code, count, own


def _shortest(samples: Samples, block_K2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of the shortest contexts, and the own counts of blocks there."""
    first = np.array([expert.shortest_of(part).start for part in Part])
    symbols = np.array([chain.symbols for chain in CHAINS.values()])
    index = first[samples.part] + samples.group * symbols[samples.part] + samples.symbol
    fine = np.where(samples.part == Part.GAP, GAP_CODES.start + samples.low, -1)

    def counted(which: slice) -> np.ndarray:
        gaps = fine[which][fine[which] >= 0]
        return np.bincount(np.concatenate([index[which], gaps]), minlength=SHORTEST)

    own = np.stack([np.minimum(counted(slice(low, high)), MOST_OWN) for low, high in block_K2])
    return counted(slice(None)).astype(np.float32), own.astype(np.uint16)
