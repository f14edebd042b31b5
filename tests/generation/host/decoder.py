"""A decoder over the JAX model, with the logits of the device's loop, for tests of generation on the host."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.generation.context import model_variables
from lob_jax.models.apply import apply
from lob_jax.models.transformer import LOBTransformer, empty_cache


@functools.partial(jax.jit, static_argnames=("model", "last"))
def _read(variables, inputs, cache, *, model, last):
    tokens, known = inputs["tokens"], {name: leaf for name, leaf in inputs.items() if name != "tokens"}
    method = {"method": "last_logits"} if last else {}
    logits, cache = apply(LOBTransformer(model), variables, tokens, known, cache=cache, **method)
    return logits if last else logits[:, 0], cache


class JaxDecoder:
    """The model with a cache of all its slots; notes what it is asked."""

    def __init__(self, params, model):
        self._params, self._model = params, model
        self.read, self.resets = [], 0

    @property
    def slots(self):
        return self._model.max_seq_length

    def reset(self, rows):
        self._cache = empty_cache(self._model, rows, self.slots)
        self._variables = model_variables(self._params, self._model, rows=rows)
        self.resets += 1

    def extend(self, inputs):
        self.read.append(inputs)
        last = inputs["tokens"].shape[1] > 1
        variables = {"params": self._params} if last else self._variables
        inputs = {name: jnp.asarray(leaf) for name, leaf in inputs.items()}
        logits, self._cache = _read(variables, inputs, self._cache, model=self._model, last=last)
        return np.asarray(logits)
