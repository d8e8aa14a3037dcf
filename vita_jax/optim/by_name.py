"""Any optimizer by its name: classical (all of optax), learned and shipped, untrained, or from a folder."""

from __future__ import annotations

import functools
import inspect
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
from vita_jax.optim.outputs import with_rate

# name -> (rate -> optax transformation), of those that treat each coordinate by itself; add your own.
# `classical` also finds all others of optax by their names.
CLASSICAL: dict[str, Callable[[Any], optax.GradientTransformation]] = {
  "sgd": optax.sgd,
  "momentum": functools.partial(optax.sgd, momentum=0.9),
  "nag": functools.partial(optax.sgd, momentum=0.9, nesterov=True),
  "rmsprop": optax.rmsprop,
  "adam": optax.adam,
  "adagrad": optax.adagrad,
}
SCHEDULES = ("constant", "cosine")
UNTRAINED = {f"untrained-{kind.removeprefix('l2o_')}": kind for kind in KINDS}  # controls: they must do badly


def classical(name: str) -> Callable[[Any], optax.GradientTransformation] | None:
  """Finds `rate or schedule -> optax transformation` by name: of `CLASSICAL`, of optax, or of optax.contrib.

  Examples:
    >>> classical("lion") is optax.lion, classical("muon") is optax.contrib.muon, classical("chain")
    (True, True, None)
  """
  if name in CLASSICAL:
    return CLASSICAL[name]
  for place in (optax, optax.contrib):
    found = getattr(place, name, None)
    if inspect.isfunction(found) and next(iter(inspect.signature(found).parameters), "") == "learning_rate":
      return found
  return None


def schedule_of(name: str, steps: Any) -> optax.Schedule:
  """Returns a factor of the rate over `steps`, which may be traced: "constant" 1, or "cosine" from 1 to 0.

  Raises:
    ValueError: unknown name.
  """
  choose("schedule", name, SCHEDULES)
  if name == "constant":
    return optax.constant_schedule(1.0)
  return lambda count: 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(count / steps, 1.0)))


def scheduled(
  tx: optax.GradientTransformation, schedule: str, steps: Any, rate: Any = 1.0
) -> optax.GradientTransformationExtraArgs:
  """Puts a rate, which may be traced, and a schedule of `schedule_of` around an optimizer.

  update = rate factor m(g).
  """
  if schedule == "constant" and isinstance(rate, float) and rate == 1:
    return optax.with_extra_args_support(tx)
  factor = schedule_of(schedule, steps)
  return with_rate(tx, lambda count: rate * factor(count))


def shown(kind: str, state: Any, params: Any) -> Any:
  """Returns the parameters whose loss counts: of Schedule-Free the average it keeps, of others `params`.

  Schedule-Free's gradients are taken elsewhere, between that average and its newest point.
  """
  if not kind.startswith("schedule_free"):
    return params
  return optax.contrib.schedule_free_eval_params(state, params)


class Optimizer(NamedTuple):
  """An optimizer to run.

  Attributes:
    kind: a name that `classical` knows, or one in `vita_jax.optim.KINDS`.
    weights: theta of a learned one, the rate (float32) of a classical one. It is part of the state, as the
      rate of a learned one is: one compiled program serves all weights and rates of a kind.
    options: of the builder of a learned one.
    rate: of a learned one that needs a rate; else 0.
  """

  kind: str
  weights: Any
  options: Mapping[str, Any] = {}
  rate: float = 0.0


def read_optimizer(name: str, learning_rate: float, *, sha256: str = "") -> Optimizer:
  """Reads an optimizer: a classical or shipped name, "untrained-dm" (first weights of key 0), or a folder.

  Args:
    name: of the optimizer, or the export/ folder of a meta-training run.
    learning_rate: of a classical one and of a learned one that needs a rate; 0 for others.
    sha256: what `digest` gives of the weights; "" for any.

  Raises:
    ValueError: none of these (names the nearest), or a rate that cannot be, or other weights.
    FileNotFoundError: no such folder.
  """
  if classical(name):
    _check_rate(name, learning_rate)
    return Optimizer(name, jnp.float32(learning_rate))
  if name in UNTRAINED:
    kind = UNTRAINED[name]
    return _with_rate(name, Optimizer(kind, KINDS[kind].init_theta(jax.random.key(0))), learning_rate)
  names = (*learned_names(), *CLASSICAL, *UNTRAINED)
  shipped = name in names or not (os.sep in name or Path(name).is_dir())
  folder = SHIPPED / choose("optimizer", name, names) if shipped else Path(name)
  kind, theta, options = read_learned(folder)
  found = _with_rate(name, Optimizer(kind, theta, options), learning_rate)
  if sha256 and digest(found) != sha256:
    raise ValueError(f"the weights in {folder} have changed: use another --workdir for the new ones")
  return found


def needs_rate(name: str) -> bool:
  """Tells whether an optimizer (a name or a folder) is used with a rate; raises as `read_optimizer`."""
  if classical(name) or name in UNTRAINED:
    return name not in UNTRAINED or KINDS[UNTRAINED[name]].needs_rate
  return KINDS[read_learned(SHIPPED / name if name in learned_names() else name)[0]].needs_rate


def _check_rate(name: str, rate: float) -> None:
  if not (math.isfinite(rate) and rate > 0):
    raise ValueError(f"optimizer '{name}' has the rate {rate:g}: it must be a positive number")


def _with_rate(name: str, optimizer: Optimizer, rate: float) -> Optimizer:
  if KINDS[optimizer.kind].needs_rate:
    _check_rate(name, rate)
    return optimizer._replace(options={**optimizer.options, "scale": 1.0}, rate=rate)
  if rate:
    raise ValueError(f"optimizer '{name}' has no learning rate: set config.run.learning_rate to 0")
  return optimizer


def digest(optimizer: Optimizer) -> str:
  """Computes the sha256 of the weights of an optimizer."""
  return arrays_sha256({name: np.asarray(leaf) for name, leaf in named_leaves(optimizer.weights).items()})
