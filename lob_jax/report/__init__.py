"""Report what a run has achieved, as one HTML file and as JSON, and compare runs."""
