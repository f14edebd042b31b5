"""The modules and masks of the kinds of attention, which `lob_jax.models.attention.kinds` declares."""
