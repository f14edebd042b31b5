"""The flows that are compared with a real one: their units and levels, and the halves in which they meet it."""

import dataclasses
from collections.abc import Callable, Mapping

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.distances.draws import Halves, halves
from lob_jax.evaluation.fidelity.distances.parts import common_length, with_levels
from lob_jax.statistics.flow import Flow

TRAINING = "training"

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Opponent:
    """A flow that is compared with the real one.

    Attributes:
      flow: the flow.
      messages: the length to which sequences of both flows are cut before halves are compared.
      draws: the halves.
    """

    flow: Flow
    messages: int
    draws: Halves


class Steps:
    """Counts what is done, for a progress bar."""

    def __init__(self, on_progress: Progress | None, total: int):
        self._on_progress, self._total, self._count = on_progress, total, 0

    def done(self, what: str) -> None:
        """Report one more step."""
        self._count += 1
        if self._on_progress is not None:
            self._on_progress(what, self._count, self._total)

    def of_part(self, what: str, count: int, total: int) -> None:
        """Report the progress of the last part, which counts for itself."""
        if self._on_progress is not None:
            self._on_progress(what, self._count + count, self._total)


def opponent_of(real: Flow, flow: Flow, *, splits: int, seed: int) -> Opponent:
    """Return a flow with the halves in which it meets the real one, see `draws.halves`."""
    return Opponent(flow, common_length(real, flow), halves(len(real), len(flow), splits=splits, seed=seed))


def comparable(real: Flow, generated: Mapping[str, Flow], training: Flow | None = None) -> tuple[Flow, dict[str, Flow]]:
    """Return the real flow and those to compare with it, by name, with the same number of levels.

    Raises:
      InputError: there is no generated flow or real sequence, a flow has the name of a real one, or units differ.
    """
    flows = dict(generated) if training is None else {**generated, TRAINING: training}
    if not flows or len(real) == 0 or "real" in flows or (training is not None and TRAINING in generated):
        raise InputError(
            "flows that cannot be compared",
            where="compare",
            expected="at least one real sequence, and generated flows, none with the name of a real one",
            was={"real": len(real), **{name: len(flow) for name, flow in generated.items()}},
            remedy=f"pass real sequences and a generated flow, and do not name one real or {TRAINING}",
        )
    units = {name: _units(flow) for name, flow in {"real": real, **flows}.items()}
    if len(set(units.values())) > 1:
        raise InputError(
            "flows of different units",
            where="compare",
            expected="one price scale, tick and lot scale",
            was=units,
            remedy="compare flows of one instrument",
        )
    levels = min(flow.levels for flow in (real, *flows.values()))
    return with_levels(real, levels), {name: with_levels(flow, levels) for name, flow in flows.items()}


def _units(flow: Flow) -> tuple[int, int, int]:
    return flow.instrument.price_scale, flow.instrument.tick, flow.instrument.lot_scale
