"""What is known of a moment beside its tokens: the regime before it, and what the mid price does next."""
