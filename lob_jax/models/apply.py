"""Apply a Flax module to variables that stay constant."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn


def apply(module: nn.Module, variables: Mapping[str, Any], *inputs: Any, **how: Any) -> Any:
    """Return the output of `module.apply`; pass `mutable` collections to `module.apply` itself.

    `Module.apply` declares its result as the output or a pair (output, updated collections); here it is the output.

    Args:
      module: the module.
      variables: its variables by collection, such as {"params": params}.
      inputs: arguments of `__call__`, or of the method that `method` names.
      how: keyword arguments of the same method, and `method` and `rngs` of `Module.apply`.
    """
    return module.apply(variables, *inputs, **how)
