"""Generate events on the device, with a cache and under the grammar."""
