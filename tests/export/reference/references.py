"""References of simulated days, for tests."""

from lob_jax.export.reference.quality import Quality
from lob_jax.export.reference.reference import Reference
from lob_jax.runs.reference import Part, counts_of

QUALITY = Quality(
    events=4096,
    nats=-16.5,
    nats_se=0.1,
    paired=4090,
    baseline_nats=-19.0,
    gain_nats=2.5,
    gain_se=0.03,
    brier=0.6,
    classes=4096,
    transform_mean=0.5,
    transform_error=0.02,
    transform_error_by_chance=0.01,
    histogram=(0.1,) * 10,
    covered_50=0.5,
    covered_90=0.9,
    entropy_bits=5.0,
    removed=0.9,
    outside=0.001,
)


def reference_of_days(days, *, quality=QUALITY, comparable=True):
    """Return the reference whose training days these are."""
    features, baseline = counts_of([Part(day) for day in days], digits=5)
    own = days[0].instrument
    return Reference(own.time_zone, own.tick, comparable, features, baseline, quality)
