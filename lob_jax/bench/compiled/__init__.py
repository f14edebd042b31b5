"""Compile programs for an accelerator that is not here, and read what the compiler has made of them."""
