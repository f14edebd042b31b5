"""The event schema, instruments and units: columnar, integer, in exchange order."""
