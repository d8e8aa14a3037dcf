"""One gradient step on a node's binary features: those whose flips the network feels most.

Threat model: evasion, white box: gradients of the attacked network. Source: Goodfellow, Shlens, Szegedy,
ICLR 2015, for features that are 0 or 1, where a step of the sign is a flip.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from vita_jax.attacks.graph_edits import Flips
from vita_jax.attacks.space import Logits, attack_loss, check_attacked, with_row


def fgsm_features(
  logits: Logits,
  graph: GraphsTuple,
  target: int,
  label: int,
  *,
  n_words: int,
  row: np.ndarray | None = None,
) -> Flips:
  """Chooses the features of a node whose flips raise the loss most to first order, largest first.

  Args:
    logits: the attacked network; it reads `graph.nodes["features"]`, raw, float32 [N, F], or those of the
      target from `graph.globals` (`space.RowChange`).
    graph: from `network_graph`.
    target: the node.
    label: its class.
    n_words: flips at most; features whose flip lowers the loss are never taken.
    row: the target's raw features [F]; None: those of `graph.nodes`.

  Raises:
    ValueError: see `check_attacked`; or the target's features are not 0 or 1.
  """
  check_attacked(logits, graph, [target], [label])
  present = np.asarray(graph.nodes["features"][target] if row is None else row, np.float32)
  if not np.isin(present, (0, 1)).all():
    raise ValueError("feature flips need binary features: attack links only, or binarise them")
  gain = np.asarray(_gradient(logits, graph, jnp.int32(target), jnp.int32(label), present)) * (
    1 - 2 * present
  )
  order = np.argsort(-gain, kind="stable")[:n_words]
  return Flips(target, np.zeros(0, np.int32), order[gain[order] > 0].astype(np.int32))


@functools.partial(jax.jit, static_argnums=0)
def _gradient(logits, graph, target, label, present):
  def loss(row):
    changed = with_row(graph, target, row)
    return attack_loss(logits(changed), target[None], label[None])

  return jax.grad(loss)(present)
