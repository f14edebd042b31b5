"""Report on the console how many generated events are invalid, and what the masks removed."""

from lob_jax.console import console
from lob_jax.evaluation.paths.validity import Validity, merged
from lob_jax.generation.generated import Generated


def tell(generated: Generated, checked: list[Validity]) -> None:
    """Report how many events are invalid, and how much probability the masks removed."""
    faults = merged(checked)
    events = sum(found.events for found in checked)
    same = sum(found.levels == levels for found, levels in zip(checked, generated.levels, strict=True))
    listed = ", ".join(f"{count:,} {fault}" for fault, count in faults.items())
    console.print(f"replayed in plain Python: {sum(faults.values()):,} of {events:,} events invalid {listed}".rstrip())
    console.print(f"the device's book equals the replayed book at the end of {same} of {len(checked)} paths")
    revealed, remembered = sum(map(len, generated.corrections)), int(generated.remembered.sum())
    if revealed:
        shares = [count / events for count in (revealed, remembered, revealed - remembered)]
        text = (
            "levels that came into view, per event: {:.3f}, of which {:.3f} had been in view before, {:.3f} are drawn"
        )
        console.print(text.format(*shares))
    emptied = sum(found.emptied for found in checked)
    if emptied:
        console.print(f"{emptied} of {len(checked)} paths: a side of the book ran empty")
    masses = f"{generated.grammar_mass.mean():.2%}, the book mask {generated.book_mass.mean():.2%} of the remainder"
    console.print(f"probability removed per token: the grammar mask {masses}")
