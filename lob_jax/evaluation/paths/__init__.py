"""Whether generated paths can have happened."""
