"""How close generated flow is to real flow: distributions, distances, and what two halves of real flow differ by."""
