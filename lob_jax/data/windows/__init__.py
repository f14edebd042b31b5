"""Cut records into windows of tokens with their inputs, and batch them with Grain."""
