"""Generation without JAX: the counterpart of the device's loop in NumPy and Numba, for any network with a cache."""
