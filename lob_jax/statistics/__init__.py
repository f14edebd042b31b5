"""What can be measured of the events and books of a day."""
