"""Read real and generated flow from the folders that a configuration names, and compare them by every score."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.assess import assess
from lob_jax.evaluation.fidelity.folders import PARTS, ReadFlow, read_folder
from lob_jax.feeds.reading.scale import parse_step
from lob_jax.settings import expanded
from lob_jax.statistics.flow import Flow
from lob_jax.writers.lobster import PRICE_SCALE

REAL, TRAINING = "real", "training"  # names of flows that no generator can have
_REAL_PART, _GENERATED_PART, _ = PARTS
_DECIMALS = 4  # of LOBSTER's prices

Reading = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Flows:
    """Flows to compare, with the same tick and number of levels.

    Attributes:
      real: held-out real flow.
      generated: by the name of the generator.
      training: real flow that the generators were fitted on, if it is known.
      report: what was read of each, by name.
    """

    real: Flow
    generated: Mapping[str, Flow]
    training: Flow | None
    report: Mapping[str, dict[str, Any]]

    def beside(self, baselines: Mapping[str, Flow]) -> "Flows":
        """Return the flows with those of baseline generators beside the others.

        Raises:
          InputError: a generator has the name of a baseline.
        """
        if taken := sorted(set(baselines) & set(self.generated)):
            raise _same_name(taken[0], "a baseline generator")
        return dataclasses.replace(self, generated={**self.generated, **baselines})


def read_flows(
    real: str,
    generated: Sequence[str],
    *,
    training: str = "",
    events: int = 500,
    levels: int = 0,
    tick: str | None = None,
    baselines: Sequence[str] = (),
    on_progress: Reading | None = None,
) -> Flows:
    """Read real and generated sequences.

    Args:
      real: a folder in LOB-Bench's layout, or LOBSTER days; see `folders.read_folder`.
      generated: such folders, one per generator, each as `folder` or `name=folder`.
      training: real flow that the generators were fitted on, as `real`; empty if it is not known.
      events: messages per sequence that LOBSTER days are cut into.
      levels: levels per side to compare; 0 for as many as all flows have.
      tick: smallest price step in units of currency, such as "0.01"; None for that of the real prices.
      baselines: names of baseline generators that will be compared too; with one, there may be no folder.
      on_progress: called with a flow's name, the sequences or days read so far, and their number.

    Raises:
      InputError: a folder is not named or occurs twice, see also `folders.read_folder`; a flow has too few levels.
    """
    named = named_folders(generated, needed=not baselines)
    if not real:
        raise InputError(
            "no real sequences are named",
            where="config.score.real",
            expected="a folder with data_real, or a LOBSTER day",
            was="nothing",
            remedy="pass --config.score.real=FOLDER",
        )
    quanta = None if tick is None else _quanta(tick)
    places = {REAL: (real, _REAL_PART)} | {name: (folder, _GENERATED_PART) for name, folder in named.items()}
    places |= {TRAINING: (training, _REAL_PART)} if training else {}
    found: dict[str, ReadFlow] = {}
    for name, (folder, part) in places.items():
        told = None if on_progress is None else lambda done, total, name=name: on_progress(name, done, total)
        path = expanded(folder, where=f"config.score, {name}")
        found[name] = read_folder(path, part, events=events, tick=quanta, on_progress=told)
        quanta = found[REAL].flow.instrument.tick
    fewest = min(one.flow.levels for one in found.values())
    if levels > fewest:
        raise InputError(
            "a book with too few levels",
            where=min(found, key=lambda name: found[name].flow.levels),
            expected=f"{levels} levels per side",
            was=fewest,
            remedy=f"leave out config.score.levels, or pass --config.score.levels={fewest}",
        )
    flows = {name: first_levels(one.flow, levels or fewest) for name, one in found.items()}
    report = {name: one.report | _continued(found[REAL], one, name) for name, one in found.items()}
    return Flows(flows[REAL], {name: flows[name] for name in named}, flows.get(TRAINING), report)


def named_folders(texts: Sequence[str], *, needed: bool = True) -> dict[str, str]:
    """Return folders by name, from `folder` or `name=folder`; a folder's own name is that before data_gen.

    Args:
      texts: the folders.
      needed: whether there must be one.

    Raises:
      InputError: there is none, or two have the same name.
    """
    found: dict[str, str] = {}
    for text in texts:
        before, sign, after = text.partition("=")
        given = bool(sign) and before != "" and "/" not in before
        path = pathlib.Path(after if given else text)
        own = path.absolute().parent.name if path.name == _GENERATED_PART else path.absolute().name
        name = before if given else own
        if name in (*found, REAL, TRAINING):
            raise _same_name(name, path)
        found[name] = str(path)
    if needed and not found:
        raise InputError(
            "no generated sequences are named",
            where="config.score.generated",
            expected="a folder with data_gen, or several: name=folder,name=folder",
            was="nothing",
            remedy="pass --config.score.generated=FOLDER",
        )
    return found


def _same_name(name: str, of: object) -> InputError:
    return InputError(
        "two flows with the same name",
        where="config.score.generated",
        expected=f"names that differ from each other, from {REAL!r} and from {TRAINING!r}",
        was=f"{name}, for {of}",
        remedy="name the folder: --config.score.generated=mine=FOLDER",
    )


def _quanta(tick: str) -> int:
    """Return a tick in LOBSTER's price quanta."""
    units, places = parse_step(tick, where="config.score.tick")
    if places > _DECIMALS:
        raise InputError(
            "a tick that LOBSTER's prices do not have",
            where="config.score.tick",
            expected=f"a multiple of {1 / PRICE_SCALE}",
            was=tick,
            remedy="leave it out: the tick is then the greatest common divisor of the real prices",
        )
    return units * 10 ** (_DECIMALS - places)


def first_levels(flow: Flow, levels: int) -> Flow:
    """Return a flow whose book shows only the best levels of each side."""
    cut = {name: getattr(flow, name)[:, :, :levels] for name in ("book_price", "book_size")}
    return dataclasses.replace(flow, **cut)


def _continued(real: ReadFlow, other: ReadFlow, name: str) -> dict[str, int]:
    """Return how many real sequences a generator has continued, by their ids; nothing if it does not name them."""
    if name in (REAL, TRAINING) or "real_ids" not in real.report or "real_ids" not in other.report:
        return {}
    ids = {key[:2] for key in other.keys}
    known = {key[:2] for key in real.keys}
    return {"real_continued": len(ids & known), "unknown_real_ids": len(ids - known)}


def score_flows(
    flows: Flows,
    *,
    splits: int = 50,
    resamples: int = 100,
    block: int = 100,
    networks: Sequence[str] = (),
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Assess generated flows, see `assess.assess`.

    Returns:
      What `assess` returns, and under "read" what was read of each flow.
    """
    result = assess(
        flows.real,
        flows.generated,
        training=flows.training,
        splits=splits,
        resamples=resamples,
        block=block,
        networks=networks,
        seed=seed,
        on_progress=on_progress,
    )
    return {"read": dict(flows.report), **result}
