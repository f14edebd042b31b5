"""The kinds of attention: a module each, under the name that a configuration gives it."""
