"""The metrics of next-token predictions: a module each, or one for a few that share what they count."""
