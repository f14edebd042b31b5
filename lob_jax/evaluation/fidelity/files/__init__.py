"""Read the files of one sequence, and check that its books belong to its messages."""
