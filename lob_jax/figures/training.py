"""Draw how a training run went: losses and the learning rate by step."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from lob_jax.figures.colours import BLUE, GREEN, VERMILION


def training_figure(lines: Sequence[Mapping[str, Any]], *, title: str) -> Figure:
    """Return a figure of the training loss, the validation loss and the learning rate.

    Args:
      lines: the lines of metrics.jsonl; those with a "validation_loss" are validations.
      title: title of the figure.
    """
    steps = [line for line in lines if "loss" in line]
    checks = [line for line in lines if "validation_loss" in line]
    figure = Figure(figsize=(9, 5), dpi=110, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([line["step"] for line in steps], [line["loss"] for line in steps], color=BLUE, lw=1.2, label="training")
    at, loss = [line["step"] for line in checks], [line["validation_loss"] for line in checks]
    if checks:
        best = min(range(len(loss)), key=loss.__getitem__)
        top.plot(at, loss, "o-", color=VERMILION, ms=4, lw=1.2, label=f"validation, n = {len(checks)}")
        top.annotate(
            f"lowest {loss[best]:.4f}, step {at[best]:,}",
            (at[best], loss[best]),
            xytext=(0, 22),
            textcoords="offset points",
            ha="right",
            arrowprops={"arrowstyle": "-", "color": VERMILION},
        )
    top.set_ylabel("loss, nats per token")
    top.legend(loc="upper right", frameon=False)
    rates = [line for line in steps if "learning_rate" in line]
    bottom.plot([line["step"] for line in rates], [line["learning_rate"] for line in rates], color=GREEN, lw=1.4)
    bottom.set_ylabel("learning rate")
    bottom.set_ylim(bottom=0)
    bottom.set_xlabel("optimiser step")
    for axes in (top, bottom):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}: {len(steps):,} logged steps")
    return figure
