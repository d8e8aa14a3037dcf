"""What a learned optimizer does whatever the problem: step bound, drift, cost; for its card and the README.

python -m vita_jax.optim.facts [NAME or FOLDER ...]     # default: all that ship; a minute
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.optim.by_name import Optimizer, read_optimizer
from vita_jax.optim.library import KINDS, learned_names

STEPS = 10_000
COORDINATES = 64


def facts(optimizer: Optimizer) -> dict[str, Any]:
  """Measures a learned optimizer on made-up gradients.

  Returns:
    JSON-able: "step bound" (largest possible |update| of a coordinate, None where there is none), "travel"
    (the bound times 10,000 steps), "drift" (largest |x_10000 - x_0| where every gradient is 0, x_0 standard
    normal), "gradient scale" (mean relative change of 20 updates when all gradients are multiplied by 1000;
    0: none), "FLOP" of a step and "bytes" of state, per coordinate.
  """
  build, theta = KINDS[optimizer.kind].build, jax.tree.map(jnp.asarray, optimizer.weights)
  tx = build(theta, **optimizer.options)
  x = jax.random.normal(jax.random.key(0), (COORDINATES,))
  gradients = jax.random.normal(jax.random.key(1), (20, COORDINATES))
  big = jnp.ones(100_000)
  state = jax.eval_shape(tx.init, big)
  cost = jax.jit(tx.update).lower(big, state, big).compile().cost_analysis()
  bound, flops = step_bound(optimizer), 0.0 if cost is None else cost["flops"]
  still = _play(tx, x, jnp.zeros((STEPS, COORDINATES)))
  usual, larger = (_updates(tx, x, scale * gradients) for scale in (1.0, 1000.0))
  return {
    "step bound": bound,
    "travel": None if bound is None else bound * STEPS,
    "drift": round(float(jnp.max(jnp.abs(still - x))), 3),
    "gradient scale": round(float(jnp.mean(jnp.abs(larger - usual)) / jnp.mean(jnp.abs(usual))), 3),
    "FLOP": round(flops / big.size),
    "bytes": round(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) / big.size),
  }


def cautions(found: Mapping[str, Any], *, longest: int) -> list[str]:
  """Says when not to use an optimizer of which `facts` were found; `longest`: steps it was trained on."""
  said = []
  if found["step bound"] is not None:
    said.append(
      f"where a weight must move by more than {found['step bound']:g} in a step, or {found['travel']:g} in"
      f" {STEPS:,} steps; option `scale` is the only dial"
    )
  if found["drift"]:
    said.append(
      "on parameters whose gradient is zero (frozen, masked, unused rows): they drift by up to"
      f" {found['drift']:g} in {STEPS:,} steps from a fresh state; leave them out with optax.partition"
    )
  said += [
    f"for many more steps than the {longest:,} it was trained on, without watching the loss",
    f"where a gradient costs less than {found['FLOP']:,} FLOP per parameter, or {found['bytes']} bytes of"
    " state per parameter do not fit",
  ]
  if found["gradient scale"] > 0.01:
    said.append(
      f"where the scale of the loss is not that of training: gradients times 1000 change its updates by"
      f" {100 * found['gradient scale']:.0f} %"
    )
  return said


def step_bound(optimizer: Optimizer) -> float | None:
  """Computes the largest |update| that a coordinate can get in a step; None where there is no bound.

  rnnprop ends in `scale * tanh`; l2o_dm in `scale * (W h + b)` with |h| < 1; the others in an exponential.
  """
  scale = float(optimizer.options.get("scale", 0.01))
  if optimizer.kind == "rnnprop":
    return scale
  if optimizer.kind == "l2o_dm":
    readout = optimizer.weights["linear"]
    return round(scale * float(np.sum(np.abs(readout["w"])) + np.sum(np.abs(readout["b"]))), 4)
  return None


def _play(tx: Any, x: jax.Array, gradients: jax.Array) -> jax.Array:
  def step(carry, gradient):
    x, state = carry
    update, state = tx.update(gradient, state, x)
    return (x + update, state), None

  run = jax.jit(lambda x, gradients: jax.lax.scan(step, (x, tx.init(x)), gradients)[0][0])
  return run(x, gradients)


def _updates(tx: Any, x: jax.Array, gradients: jax.Array) -> jax.Array:
  def step(state, gradient):
    update, state = tx.update(gradient, state, x)
    return state, update

  return jax.jit(lambda gradients: jax.lax.scan(step, tx.init(x), gradients)[1])(gradients)


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
  """Returns a Markdown table, a row per optimizer."""
  names = list(next(iter(found.values())))
  lines = ["| optimizer | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
  for name, row in found.items():
    cells = ["none" if row[n] is None else f"{row[n]:,.4g}" for n in names]
    lines.append(f"| {name} | " + " | ".join(cells) + " |")
  return "\n".join(lines)


if __name__ == "__main__":
  chosen = sys.argv[1:] or learned_names()
  print(table({name: facts(read_optimizer(name, 0.0)) for name in chosen}))
