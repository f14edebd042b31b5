"""What a run is configured with: its keys checked together, and its sections as plain dataclasses."""
