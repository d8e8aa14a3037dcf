"""What a user takes away: one network, and a program from rows as plain arrays to probabilities."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.papers.self_pu.inputs import Inputs
from vita_jax.papers.self_pu.network import Network
from vita_jax.train.experiment import Exported


def exported(config: Any, network: Network, inputs: Inputs, params: Any) -> Exported:
  """The exported form of the chosen network; `params` holds `params` and `batch_stats`."""

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
      "trained on": {"data": config.data.name, "method": config.method, "class prior": config.prior},
    },
  )
