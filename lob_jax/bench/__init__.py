"""One module per benchmark; the last line that each prints is one JSON object."""
