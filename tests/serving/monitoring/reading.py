"""Metrics as tests read them."""

from prometheus_client.parser import text_string_to_metric_families


def samples(text):
    """Return the values of metrics by name and labels."""
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sorted(sample.labels.items())): sample.value for sample in found}
