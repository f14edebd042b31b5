"""What a model may be trained for: an objective a module, under the name that a configuration gives it."""
