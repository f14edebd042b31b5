"""The sections of a report: each module turns one kind of result into a section, or says why it is left out."""
