"""Experiments over HTTP: sessions of their units, outcomes, and what is known of them; there only with a database."""
