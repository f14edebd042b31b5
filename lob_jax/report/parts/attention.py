"""Attention: what the model attends to while it reads real events."""

from lob_jax.report.material import Material
from lob_jax.report.section import LeftOut, Section

TITLE = "Attention"
PICTURES = ("attention", "attention_head")


def attention(material: Material) -> Section | LeftOut:
    """Return the section about the model's attention."""
    pictures = tuple(material.pictures[name] for name in PICTURES if name in material.pictures)
    if not pictures:
        reason = material.no_picture.get("attention", "the model has not been opened")
        return LeftOut(TITLE, reason)
    text = (
        "The weights with which each token of some test events mixes the values of earlier tokens, computed from the"
        " model's own queries and keys. White lines separate events; grey is what a head cannot see."
    )
    return Section(TITLE, (text,), (), pictures)
