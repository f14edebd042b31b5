"""Live quality: how well the latest scored events were predicted, beside counts on the same events.

What is normal varies with the time of day. For a model of GOOG's LOBSTER day, over WINDOW events of the test split and
beside the validation split, the log-likelihood fell by up to 0.9 nats an event, the gain over counts by up to 0.7, by
up to 0.4 beyond three standard errors, and the calibration error was up to 0.05 above what chance explains (measured by
`python -m lob_jax.bench.live_quality`). Over 1,000 events the gain fell by up to 0.6 beyond three standard errors. Each
number notices something else:

* Inputs that have changed lower the likelihood (sizes x 3 by 2.6 nats, prices x 5 by 2.3, gaps x 5 by 1.3), but that of
  counts, too: the gain falls by at most 0.8.
* A network that is wrong loses its gain: by 3.8 nats where it does not see the book, by 1.4 where its logits are 1.5
  times too large; both times the calibration error rises by 0.13. Logits that are 1.5 times too small pass unnoticed.
"""

import dataclasses

import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.export.reference.event_counts import EventCounts
from lob_jax.export.reference.features import columns_of
from lob_jax.export.reference.quality import Scores, transform_of
from lob_jax.serving.requests import Scored

WINDOW = 4096  # latest events whose scores are kept
CONTEXT = 64  # events before the scored ones that counts read


def scores_of(
    events: Events,
    found: Scored,
    *,
    before: Events | None,
    baseline: EventCounts,
    tick: int,
    rng: np.random.Generator,
) -> Scores:
    """Return what is known of scored events, in columns.

    Args:
      events: the events.
      found: their scores.
      before: the events just before them, of which the last CONTEXT are read; None if they are not known.
      baseline: the counts that they are predicted by, too; NaN for the first events if too few are known before.
      tick: price quanta in a tick.
      rng: what transforms are drawn with.

    Raises:
      InputError: there is not one score for each event.
    """
    columns = {field.name: np.array(getattr(found, field.name)) for field in dataclasses.fields(found)}
    lengths = {name: len(column) for name, column in columns.items()}
    if set(lengths.values()) != {len(events)}:
        raise InputError(
            "the scores are not those of the events",
            where="scored",
            expected=f"{len(events)} of each",
            was=lengths,
            remedy="pass the events that were scored, without their context",
        )
    lead = Events.from_columns() if before is None else before[max(0, len(before) - CONTEXT) :]
    together = events if not len(lead) else Events.concatenate([lead, events])
    return Scores(
        nats=columns["nats"],
        baseline=baseline.log_prob(columns_of(together), tick=tick, first=len(lead)),
        brier=columns["brier"],
        transform=transform_of(columns["likelier"], columns["chance"], rng),
        entropy_bits=columns["entropy_bits"],
        removed=columns["removed"],
        outside=(columns["outside"] != "").astype(np.float64),
    )
