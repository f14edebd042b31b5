"""What each objective and each augmentation is worth: variants of one small model, paired by seed."""
