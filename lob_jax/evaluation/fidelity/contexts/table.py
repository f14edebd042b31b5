"""A table of scores inside contexts: how many times as far as real halves generated halves are, context by context."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from lob_jax.evaluation.fidelity.distances.table import number
from lob_jax.events.instrument import NS_PER_SECOND

MEAN = "mean over scores"

Ratio = float | None


def context_table(result: Mapping[str, Any], model: str) -> Table:
    """Return a rich table of one flow of `assess.assess`: the ratio of L1 to its floor by score and context."""
    found = result["contexts"]
    shown = Table(
        title=f"{model}: L1 over its floor, inside equal states before the message",
        caption="\n".join(groups_in_words(about) for about in found["contexts"].values()),
    )
    shown.add_column("score", no_wrap=True)
    for heading in ("anywhere", *(about["label"] for about in found["contexts"].values())):
        shown.add_column(heading, justify="right", no_wrap=True)
    for label, ratios in rows_of(result, model):
        if label == MEAN:
            shown.add_section()
        shown.add_row(label, *(number(ratio, ".2f") for ratio in ratios))
    return shown


def rows_of(result: Mapping[str, Any], model: str) -> Iterator[tuple[str, list[Ratio]]]:
    """Yield label and ratios of L1 of each score, without a context and in each one; at the end those of the means."""
    found = result["contexts"]
    for name, score in found["scores"].items():
        anywhere = result["scores"][name]["models"][model]["l1"]["ratio"]
        yield score["label"], [anywhere, *(of[model]["l1"]["ratio"] for of in score["contexts"].values())]
    means = [result["summary"]["lob_bench"], *found["summary"].values()]
    yield MEAN, [of[model]["l1"].get("ratio") for of in means]


def groups_in_words(about: Mapping[str, Any]) -> str:
    """Return the groups of a context as words, such as "spread: 3 groups, parted at 1 and 3 ticks"."""
    parts = [_parted(**series) for series in about["edges"].values() if series["at"]]
    groups = f"{about['groups']} group{'s' if about['groups'] > 1 else ''}"
    return f"{about['label']}: {groups}{', parted at ' if parts else ''}{' and '.join(parts)}"


def _parted(*, unit: str, at: list[float]) -> str:
    if unit == "ns":
        return ", ".join(_clock(edge) for edge in at)
    numbers = dict.fromkeys(f"{edge:.3g}" for edge in at)  # a value with a bin of its own has two edges
    return f"{', '.join(numbers)} {unit}"


def _clock(since_midnight_ns: float) -> str:
    minutes = int(since_midnight_ns) // NS_PER_SECOND // 60
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
