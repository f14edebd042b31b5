"""Which parameters a run trains: all, all but frozen ones, or low-rank additions to matrices and a few others.

A step differentiates with respect to what is trained alone, and the optimiser has a state for nothing else. The model
gets complete parameters, in which a matrix with an addition is the sum. They are what the state of training holds as
its parameters: what is validated, averaged, saved and restored is a complete model, whatever was trained.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lob_jax.errors import InputError
from lob_jax.models.expert import OWN, OWN_NAMES, TABLES
from lob_jax.training.config import TrainConfig
from lob_jax.training.step.lora import A, B, Lora, addition, first_adapter, matrix_shape
from lob_jax.training.step.optimizer import matrix_axes
from lob_jax.training.step.paths import by_path, nested, require_matches, shapes_of

ADAPTERS = 2**32 - 2  # folded into the key for the first adapters; no step has this number


class Adapted(NamedTuple):
    """The optimiser's state of a run with low-rank additions.

    Attributes:
      base: the matrices without additions, as the run started with them.
      adapters: A and B of each.
      rule: the state of the optimiser of what is trained.
    """

    base: Any
    adapters: Any
    rule: Any


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Which parameters are trained, by their paths.

    Attributes:
      fixed: those that stay as they are.
      lora: those that low-rank additions are trained for; None for none.
    """

    fixed: frozenset[str] = frozenset()
    lora: Lora | None = None

    @property
    def targets(self) -> frozenset[str]:
        """Return the paths of the matrices that have additions."""
        return frozenset() if self.lora is None else self.lora.targets

    def first(self, params: Any, optimizer: optax.GradientTransformation, key: jax.Array) -> Any:
        """Return the optimiser's state before the first step.

        Args:
          params: the complete parameters.
          optimizer: the optimiser.
          key: random key of the run.
        """
        if self.lora is None:
            return optimizer.init(self.trained(params, None))
        matrices, key = by_path(params), jax.random.fold_in(key, ADAPTERS)
        adapters = {
            name: first_adapter(name, matrices[name], jax.random.fold_in(key, index), rank=self.lora.rank)
            for index, name in enumerate(sorted(self.targets))
        }
        # Copies, since the state is donated and a buffer can be donated only once.
        base = nested({name: jnp.copy(matrices[name]) for name in self.targets})
        state = Adapted(base, nested(adapters), rule=None)
        return state._replace(rule=optimizer.init(self.trained(params, state)))

    def trained(self, params: Any, opt_state: Any) -> Any:
        """Return what is differentiated and updated: parameters, and adapters at the paths of their matrices."""
        free = {name: leaf for name, leaf in by_path(params).items() if name not in self.fixed | self.targets}
        return nested(free if self.lora is None else {**free, **by_path(opt_state.adapters)})

    def whole(self, trained: Any, params: Any, opt_state: Any) -> Any:
        """Return the complete parameters.

        Args:
          trained: see `trained`.
          params: the complete parameters of the step before, of which the fixed ones are read.
          opt_state: the optimiser's state, of which the base of additions is read.
        """
        before, now = by_path(params), by_path(trained)
        found = {name: before[name] if name in self.fixed else now.get(name) for name in before}
        if self.lora is not None:
            for name, base in by_path(opt_state.base).items():
                adapter = {part: now[f"{name}/{part}"] for part in (A, B)}
                found[name] = base + self.lora.scale * addition(name, adapter, base.shape)
        return nested(found)

    def rule_state(self, opt_state: Any) -> Any:
        """Return the optimiser's own state."""
        return opt_state if self.lora is None else opt_state.rule

    def after(self, trained: Any, rule: Any, opt_state: Any) -> Any:
        """Return the state after a step, with what is trained and the optimiser's own state as they are now."""
        if self.lora is None:
            return rule
        adapters = {name: leaf for name, leaf in by_path(trained).items() if name.endswith((f"/{A}", f"/{B}"))}
        return Adapted(opt_state.base, nested(adapters), rule)

    def unless_fixed(self, new: Any, old: Any) -> Any:
        """Return new complete parameters with the fixed ones as they were; averages of equal numbers may be rounded."""
        before = by_path(old)
        return nested({name: before[name] if name in self.fixed else leaf for name, leaf in by_path(new).items()})


EVERYTHING = Tuning()


def make_tuning(config: TrainConfig, params: Any) -> Tuning:
    """Return what a run trains.

    Args:
      config: training settings.
      params: the complete parameters, or their shapes.

    Raises:
      InputError: a pattern matches no parameter, nothing is left to train, or the rank is above that of a matrix.
    """
    shapes = shapes_of(params)
    counted = _of_counts(shapes)
    if config.lora_rank:
        return _lora_of(config, shapes, counted)
    fixed = require_matches(config.frozen, shapes, where="config.train.frozen") | counted
    if not shapes.keys() - fixed:
        raise InputError(
            "every parameter is frozen",
            where="config.train.frozen",
            expected="patterns that leave parameters to train",
            was=config.frozen,
            remedy="leave one out",
        )
    return Tuning(fixed) if fixed else EVERYTHING


def _of_counts(names: Iterable[str]) -> frozenset[str]:
    """Return the parameters of a count model, and what is kept beside them: they are never trained."""
    tables = frozenset(name for name in names if name.startswith(f"{TABLES}/"))
    return tables | frozenset(f"{OWN}/{name}" for name in OWN_NAMES) if tables else tables


def _lora_of(config: TrainConfig, shapes: dict[str, tuple[int, ...]], counted: frozenset[str]) -> Tuning:
    also = require_matches(config.lora_also, shapes, where="config.train.lora_also")
    matrices = {name for name in shapes if matrix_axes(name.split("/")) is not None}
    targets = require_matches(config.lora_targets, matrices, where="config.train.lora_targets") - also
    for name in sorted(targets):
        _, inputs, outputs = matrix_shape(name, shapes[name])
        if config.lora_rank > min(inputs, outputs):
            raise InputError(
                "the rank of the additions is above that of a matrix",
                where="config.train.lora_rank",
                expected=f"up to {min(inputs, outputs)}: {name} has {inputs} inputs and {outputs} outputs",
                was=config.lora_rank,
                remedy="lower it, or leave this matrix out of config.train.lora_targets",
            )
    lora = Lora(config.lora_rank, config.lora_alpha / config.lora_rank, targets)
    return Tuning((frozenset(shapes) - targets - also) | counted, lora)


def trained_count(tuning: Tuning, params: Any) -> int:
    """Return how many numbers are trained, of parameters or their shapes."""
    shapes = shapes_of(params)
    count = sum(math.prod(shape) for name, shape in shapes.items() if name not in tuning.fixed | tuning.targets)
    if tuning.lora is not None:
        for many, inputs, outputs in (matrix_shape(name, shapes[name]) for name in tuning.targets):
            count += math.prod(many) * tuning.lora.rank * (inputs + outputs)
    return count
