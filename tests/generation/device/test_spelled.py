import jax.numpy as jnp
import numpy as np

from lob_jax.generation.device.spelled import Listed, counts_in


def test_codes_are_counted_in_each_list_by_itself():
    # A code outside of its list would be one of a neighbour.
    first = Listed(jnp.array([2, 0, 2, 3, -1]), jnp.array([True, False, True, True, True]), 3)
    second = Listed(jnp.array([0, 4, -1]), jnp.ones(3, bool), 4)
    found = counts_in([first, second])
    np.testing.assert_array_equal(found[0], [0, 0, 2])
    np.testing.assert_array_equal(found[1], [1, 0, 0, 0])
