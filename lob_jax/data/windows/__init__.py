"""Records to batches: windows of tokens with what is known at each, through Grain."""
