"""GR-BCD: links flipped for good where the gradient is largest, a few in each epoch, on fresh random blocks.

Threat model: as `attacks.pr_bcd`; on the graph as a whole, with a budget for all nodes together. Source:
Geisler et al., NeurIPS 2021 (arXiv 2110.14038), section 3.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from vita_jax.attacks.pr_bcd import check_budget
from vita_jax.attacks.space import (
  LinkSpace,
  Logits,
  attack_loss,
  check_attacked,
  n_nodes,
  perturbed,
  random_pairs,
  valid_pairs,
)


@threadpool_limits.wrap(limits=1)  # see defences.low_rank
def gr_bcd(
  logits: Logits,
  space: LinkSpace,
  nodes: npt.ArrayLike,
  labels: npt.ArrayLike,
  *,
  budget: int,
  key: jax.Array,
  epochs: int = 125,
  block_size: int = 50_000,
) -> np.ndarray:
  """Chooses exactly `budget` links to flip so that many of the nodes are misclassified.

  Args:
    logits: see `pr_bcd`, as for the next three and for `key`.
    space: the graph.
    nodes: whose loss is raised.
    labels: their classes.
    budget: flips in all, spread evenly over the epochs; the first ones take what is left over.
    epochs: gradient steps; as many as the budget, where that is smaller.
    key: of the blocks that are drawn.
    block_size: pairs looked at in one epoch; at least as many as are flipped in one.

  Returns:
    int32 [budget, 2]; fewer only where a block had too few new pairs.

  Raises:
    ValueError: see `check_attacked`; a budget that is not in 1 .. N (N - 1) / 2, or a block smaller than an
      epoch's flips.
  """
  n = n_nodes(space)
  check_budget(budget, n * (n - 1) // 2)
  steps = np.array([len(part) for part in np.array_split(np.arange(budget), min(epochs, budget))], np.int32)
  if steps[0] > block_size:
    raise ValueError(f"block_size {block_size} is below the {steps[0]} flips of an epoch: raise it")
  at, classes = check_attacked(logits, space, nodes, labels)
  found, used = _search(logits, block_size, int(steps[0]), space, at, classes, key, steps)
  return np.asarray(found)[np.asarray(used)]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _search(logits, block_size, most, space, nodes, labels, key, steps):
  """Returns pairs [epochs * most, 2] and which of these places are flips, bool."""
  n = n_nodes(space)

  def epoch(carry, inputs):
    chosen, used = carry
    t, count = inputs
    block = random_pairs(jax.random.fold_in(key, t), space, block_size)
    codes = jnp.where(used, chosen[:, 0] * n + chosen[:, 1], -1)
    valid = valid_pairs(space, block, jnp.zeros(block_size))
    valid &= ~jnp.isin(block[:, 0] * n + block[:, 1], codes)

    def loss(amount):
      pairs = jnp.concatenate([chosen, block])
      amounts = jnp.concatenate([used.astype(jnp.float32), amount])
      return attack_loss(logits(perturbed(space, pairs, amounts)), nodes, labels)

    gradient = jax.grad(loss)(jnp.full(block_size, 1e-7) * valid)
    gain, best = jax.lax.top_k(jnp.where(valid, gradient, -jnp.inf), most)
    place = t * most + jnp.arange(most)
    flipped = (jnp.arange(most) < count) & (gain > -jnp.inf)
    return (chosen.at[place].set(block[best]), used.at[place].set(flipped)), None

  n_places = steps.shape[0] * most
  start = jnp.zeros((n_places, 2), jnp.int32), jnp.zeros(n_places, bool)
  return jax.lax.scan(epoch, start, (jnp.arange(steps.shape[0]), steps))[0]
