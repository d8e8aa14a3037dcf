"""Any optimizer by its name: classical, learned and shipped, untrained, or from a folder."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.base.choose import choose
from vita_jax.base.hashing import arrays_sha256
from vita_jax.base.tree import named_leaves
from vita_jax.optim.library import KINDS, SHIPPED, learned_names, read_learned

# name -> (rate -> optax transformation); add your own: CLASSICAL["lion"] = optax.lion
CLASSICAL: dict[str, Callable[[Any], optax.GradientTransformation]] = {
  "sgd": optax.sgd,
  "momentum": functools.partial(optax.sgd, momentum=0.9),
  "nag": functools.partial(optax.sgd, momentum=0.9, nesterov=True),
  "rmsprop": optax.rmsprop,
  "adam": optax.adam,
  "adagrad": optax.adagrad,
}
UNTRAINED = {f"untrained-{kind.removeprefix('l2o_')}": kind for kind in KINDS}  # controls: they must do badly


class Optimizer(NamedTuple):
  """An optimizer to run.

  Attributes:
    kind: a name in `CLASSICAL` or in `vita_jax.optim.KINDS`.
    weights: theta of a learned one, the rate (float32) of a classical one. It is part of the state: one
      compiled program serves all weights and rates of a kind.
    options: of the builder of a learned one.
  """

  kind: str
  weights: Any
  options: Mapping[str, Any] = {}


def read_optimizer(name: str, learning_rate: float, *, sha256: str = "") -> Optimizer:
  """Reads an optimizer: a classical or shipped name, "untrained-dm" (first weights of key 0), or a folder.

  Args:
    name: of the optimizer, or the export/ folder of a meta-training run.
    learning_rate: of a classical one; 0 for others.
    sha256: what `digest` gives of the weights; "" for any.

  Raises:
    ValueError: none of these (names the nearest), or a rate that cannot be, or other weights.
    FileNotFoundError: no such folder.
  """
  if name in CLASSICAL:
    if not (math.isfinite(learning_rate) and learning_rate > 0):
      raise ValueError(f"optimizer '{name}' has the rate {learning_rate:g}: it must be a positive number")
    return Optimizer(name, jnp.float32(learning_rate))
  if learning_rate:
    raise ValueError(f"optimizer '{name}' has no learning rate: set config.run.learning_rate to 0")
  if name in UNTRAINED:
    kind = UNTRAINED[name]
    return Optimizer(kind, KINDS[kind].init_theta(jax.random.key(0)))
  names = (*learned_names(), *CLASSICAL, *UNTRAINED)
  shipped = name in names or not (os.sep in name or Path(name).is_dir())
  folder = SHIPPED / choose("optimizer", name, names) if shipped else Path(name)
  kind, theta, options = read_learned(folder)
  found = Optimizer(kind, theta, options)
  if sha256 and digest(found) != sha256:
    raise ValueError(f"the weights in {folder} have changed: use another --workdir for the new ones")
  return found


def digest(optimizer: Optimizer) -> str:
  """Computes the sha256 of the weights of an optimizer."""
  return arrays_sha256({name: np.asarray(leaf) for name, leaf in named_leaves(optimizer.weights).items()})
