"""Token sets: the tokens that a record's own book allows in the place of each of its tokens."""
