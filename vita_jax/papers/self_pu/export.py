"""What a user takes away: one network, and a program from rows as plain arrays to probabilities."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.papers.self_pu.data import Inputs
from vita_jax.papers.self_pu.model import Network
from vita_jax.papers.self_pu.recipe import Recipe
from vita_jax.train.experiment import Exported


def make_export(recipe: Recipe, network: Network, inputs: Inputs, params: Any) -> Exported:
  """Exports the chosen network; `params` holds `params` and `batch_stats`."""

  def program(params, **arrays):
    logits = network.logits(params["params"], params["batch_stats"], inputs.stored(**arrays))
    return {"labels": (logits > 0).astype(jnp.int32), "probabilities": jax.nn.sigmoid(logits)}

  return Exported(
    params=params,
    program=program,
    inputs=inputs.program,
    read=inputs.read,
    card={
      "outputs": {
        "labels": "int32 [rows], 1 is positive",
        "probabilities": "float32 [rows], of the positive class; trained by a sigmoid loss, not calibrated",
      },
      "trained on": {"data": recipe.data.name, "method": recipe.method, "class prior": recipe.prior},
    },
  )
