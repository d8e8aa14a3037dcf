"""Which network is the result: by a PU risk on held-out rows, without negatives, or by clean labels.

Never by the test rows.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.losses.pu import nnpu_risk
from vita_jax.papers.self_pu.network import in_chunks
from vita_jax.train.experiment import State, keep_best

CRITERIA = ("pu_risk", "clean_accuracy")
JUDGED = ("best", "kept", "values")  # the fields of a state that `judge` renews


def first_epoch(config: Any) -> int:
  """The first epoch after which a network may be chosen."""
  return max(config.epochs - (config.choose.last_epochs or config.epochs), 0)


def candidates(state: State) -> tuple[Any, Any]:
  """(parameters, statistics), stacked, of those to choose among: the teachers if any, else the students."""
  source = state.get("teachers", state)
  return source["params"], source["batch_stats"]


def start(state: State) -> State:
  """The fields of a state that chooses: `best`, `kept` (one network) and `values` [students]."""
  params, stats = jax.tree.map(lambda x: x[0], candidates(state))
  n = jax.tree.leaves(state["params"])[0].shape[0]
  kept = {"params": params, "batch_stats": stats}
  return {**state, "best": jnp.float32(-jnp.inf), "kept": kept, "values": jnp.zeros(n, jnp.float32)}


def judge(config: Any, network: Any, state: State, rows: Any, chunk: int) -> State:
  """Judges all candidates at the end of an epoch: the fields `JUDGED`, with the best so far kept.

  pu_risk: minus the nnPU risk (sigmoid loss) of the held-out labelled positives against the held-out
  unlabelled rows. clean_accuracy: with the true labels of the validation rows.
  """
  params, stats = candidates(state)
  logits = jax.vmap(lambda p, s: in_chunks(network, p, s, rows["x"], state["validation"], chunk))(
    params, stats
  )
  if config.choose.criterion == "pu_risk":
    held = state["validation_labelled"], state["validation_unlabelled"]
    values = jax.vmap(lambda g: -held_out_risk(g, *held, prior=config.prior))(logits)
  else:
    positive = rows["positive"][state["validation"]] > 0
    values = jnp.mean(right(logits, positive), axis=-1)
  chosen = jnp.argmax(values)
  one = jax.tree.map(lambda x: x[chosen], {"params": params, "batch_stats": stats})
  judged = {**keep_best(state, values[chosen], one), "values": values}
  return {name: judged[name] for name in JUDGED}


def held_out_risk(
  logits: jax.Array, labelled: jax.Array, unlabelled: jax.Array, *, prior: float
) -> jax.Array:
  """nnPU risk of validation logits [n]: `labelled` and `unlabelled` bool [n] may overlap (one sample)."""
  kinds = jnp.concatenate([jnp.ones(logits.shape), jnp.zeros(logits.shape)])
  mask = jnp.concatenate([labelled, unlabelled]).astype(logits.dtype)
  return nnpu_risk(jnp.concatenate([logits, logits]), kinds, prior=prior, mask=mask)


def right(logits: jax.Array, positive: jax.Array) -> jax.Array:
  """float: the sign of the logit is the class; a logit of 0 is wrong."""
  return jnp.where(positive, logits > 0, logits < 0).astype(jnp.float32)
