"""A run from Python: records, training, and what a trained model can be asked; nothing here prints."""
