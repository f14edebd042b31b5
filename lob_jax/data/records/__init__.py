"""Days to records on disk: split, tokenized by many processes, written as a TFDS data set."""
