"""Statistics that hold however often one looks: confidence sequences, shares of units, guards."""
