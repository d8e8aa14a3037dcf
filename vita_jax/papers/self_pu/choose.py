"""Which network is the result: by a PU risk on held-out rows, without negatives, or by clean labels.

Never by the test rows.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.data.rows import map_rows
from vita_jax.losses.pu import held_out_nnpu_risk
from vita_jax.papers.self_pu.model import Network
from vita_jax.papers.self_pu.recipe import Recipe
from vita_jax.train.experiment import State, keep_best

JUDGED = ("best", "kept", "values")  # the fields of a state that `judge` renews


def first_epoch(recipe: Recipe) -> int:
  """Returns the first epoch after which a network may be chosen."""
  return max(recipe.epochs - (recipe.last_epochs or recipe.epochs), 0)


def candidates(state: State) -> tuple[Any, Any]:
  """Returns (parameters, statistics), stacked, of those to choose among: teachers if any, else students."""
  source = state.get("teachers", state)
  return source["params"], source["batch_stats"]


def start(state: State) -> State:
  """Adds the fields of a state that chooses: `best`, `kept` (one network) and `values` [students]."""
  params, stats = jax.tree.map(lambda x: x[0], candidates(state))
  n = jax.tree.leaves(state["params"])[0].shape[0]
  kept = {"params": params, "batch_stats": stats}
  return {**state, "best": jnp.float32(-jnp.inf), "kept": kept, "values": jnp.zeros(n, jnp.float32)}


def judge(recipe: Recipe, network: Network, state: State, rows: Any, chunk: int) -> State:
  """Judges all candidates at the end of an epoch; returns the fields `JUDGED`, with the best so far kept.

  pu_risk: minus the nnPU risk (sigmoid loss) of the held-out labelled positives against the held-out
  unlabelled rows. clean_accuracy: with the true labels of the validation rows.
  """
  params, stats = candidates(state)
  of_rows = partial(map_rows, table=rows["x"], rows=state["validation"], chunk=chunk)
  logits = jax.vmap(lambda p, s: of_rows(partial(network.logits, p, s)))(params, stats)
  if recipe.criterion == "pu_risk":
    held = state["validation_labelled"], state["validation_unlabelled"]
    values = jax.vmap(lambda g: -held_out_nnpu_risk(g, *held, prior=recipe.prior))(logits)
  else:
    positive = rows["positive"][state["validation"]] > 0
    values = jnp.mean(right(logits, positive), axis=-1)
  chosen = jnp.argmax(values)
  one = jax.tree.map(lambda x: x[chosen], {"params": params, "batch_stats": stats})
  judged = {**keep_best(state, values[chosen], one), "values": values}
  return {name: judged[name] for name in JUDGED}


def right(logits: jax.Array, positive: jax.Array) -> jax.Array:
  """Returns float 0/1: the sign of the logit is the class; a logit of 0 is wrong."""
  return jnp.where(positive, logits > 0, logits < 0).astype(jnp.float32)
