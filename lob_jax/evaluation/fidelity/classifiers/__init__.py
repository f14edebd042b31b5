"""What tells generated sequences from real ones: statistics of sequences, and a network over their messages."""
