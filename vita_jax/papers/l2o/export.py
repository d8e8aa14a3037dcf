"""What a user takes away: theta, and a program that turns a sequence of gradients into updates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.files import read_npz
from vita_jax.optim import KINDS
from vita_jax.train.experiment import Exported


def exported(kind: str, options: dict[str, Any], theta: Any, config: Any) -> Exported:
  """The exported form of a trained optimizer; `vita_jax.optim.load_learned` loads the same folder."""

  def program(theta, *, gradients, x):
    tx = KINDS[kind].build(theta, **options)

    def step(carry, gradient):
      x, state = carry
      update, state = tx.update(gradient, state, x)
      return (x + update, state), update

    (x, _), updates = jax.lax.scan(step, (x, tx.init(x)), gradients)
    return {"updates": updates, "x": x}

  def read(path: str) -> dict[str, np.ndarray]:
    arrays = read_npz(path)
    if "gradients" not in arrays or arrays["gradients"].ndim != 2:
      raise ValueError(f"{path} needs an array 'gradients' [steps, coordinates]; it has {sorted(arrays)}")
    gradients = arrays["gradients"].astype(np.float32)
    x = arrays.get("x", np.zeros(gradients.shape[1], np.float32)).astype(np.float32)
    if x.shape != gradients.shape[1:]:
      raise ValueError(f"{path}: 'x' has shape {x.shape}, expected {gradients.shape[1:]}")
    return {"gradients": gradients, "x": x}

  return Exported(
    params=theta,
    program=program,
    inputs={"gradients": ("steps, coordinates", "float32"), "x": ("coordinates", "float32")},
    read=read,
    card={
      "optimizer": {"kind": kind, **options},
      "inputs": {
        "gradients": "one row per step, of one tensor of parameters",
        "x": "the parameters before the first step (only l2o_mlp reads them)",
      },
      "outputs": {"updates": "to be added, float32 [steps, coordinates]", "x": "after the last step"},
      "trained on": {
        "optimizee": config.optimizee.name,
        "stages": list(config.stages),
        "weights": sum(int(jnp.size(leaf)) for leaf in jax.tree.leaves(theta)),
      },
    },
  )
