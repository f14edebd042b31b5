"""The scores, a module for each subject: `SCORES`, a tuple of `Score`."""
