"""PR-BCD: links chosen by projected gradient steps through the network itself, on a random block at a time.

Threat model: evasion, white box and adaptive: the attacker follows gradients of the very network that is
attacked, defences and self-supervised training included. Links only. Source: Geisler et al., NeurIPS 2021
(arXiv 2110.14038), algorithm 1; adaptive in the sense of Mujkanovic et al., NeurIPS 2022 (arXiv 2301.13694).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

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

_LEAST = 1e-7  # of a pair's amount: at exactly 0, attention would show it no gradient
_HALVINGS = 40


class Settings(NamedTuple):
  """Of the search; the defaults are the source's.

  Attributes:
    epochs: gradient steps.
    resampling: epochs during which half of the block, at least, is drawn anew; afterwards it stays.
    learning_rate: multiplied by budget / N, and from there on divided by sqrt(epochs of the fixed block + 1).
    block_size: pairs looked at in one epoch; memory grows with it.
    draws: discrete graphs drawn at the end, of which the worst for the network is taken.
  """

  epochs: int = 125
  resampling: int = 100
  learning_rate: float = 1000.0
  block_size: int = 50_000
  draws: int = 20


class _Block(NamedTuple):
  pairs: jax.Array
  amount: jax.Array


@threadpool_limits.wrap(limits=1)  # see defences.low_rank
def pr_bcd(
  logits: Logits,
  space: LinkSpace,
  nodes: npt.ArrayLike,
  labels: npt.ArrayLike,
  *,
  budget: int,
  key: jax.Array,
  direct: bool = True,
  settings: Settings | None = None,
) -> np.ndarray:
  """Chooses links to flip so that nodes are misclassified.

  Args:
    logits: the attacked network; give the same function object again and its program is compiled once.
    space: from `link_space`.
    nodes: int [T], the nodes that are to be misclassified.
    labels: int [T], their classes.
    budget: flips in all.
    key: PRNG key.
    direct: flip links of `nodes[0]` alone, of which there must be no other; all of its N - 1 pairs are then
      looked at in every epoch. False: any pairs, in random blocks.
    settings: see `Settings`.

  Returns:
    int32 [k, 2], k <= budget. A node may lose its last link: `graph_edits.disconnected` tells.

  Raises:
    ValueError: see `check_attacked`; a budget below 1 or above the number of pairs; direct with several
      nodes.
  """
  settings = settings or Settings()
  at, classes = check_attacked(logits, space, nodes, labels)
  n = n_nodes(space)
  if direct and len(at) != 1:
    raise ValueError(f"a direct attack is on one node, got {len(at)}: attack them in turn, or direct=False")
  check_budget(budget, n - 1 if direct else n * (n - 1) // 2)
  first, rest = jax.random.split(key)
  if direct:
    others = np.delete(np.arange(n, dtype=np.int32), at[0])
    pairs = jnp.asarray(np.sort(np.stack([np.full(n - 1, at[0]), others], axis=1), axis=1), jnp.int32)
  else:
    pairs = random_pairs(first, space, settings.block_size)
  found, chosen = _search(logits, settings, not direct, space, at, classes, jnp.float32(budget), rest, pairs)
  return np.asarray(found)[np.asarray(chosen)]


def check_budget(budget: int, n_pairs: int) -> None:
  """Raises ValueError for a budget of flips below 1 or above the number of pairs."""
  if not 1 <= budget <= n_pairs:
    raise ValueError(f"budget {budget} must be between 1 and the {n_pairs} pairs that may be flipped")


def project(amount: jax.Array, budget: jax.Array) -> jax.Array:
  """Projects amounts [B] on `0 <= a <= 1, sum a <= budget` in the Euclidean norm (by bisection).

  Examples:
    >>> project(jnp.array([0.9, 0.9, -1.0]), jnp.float32(1.0)).round(4).tolist()
    [0.5, 0.5, 0.0]
  """

  def halve(_, ends):
    low, high = ends
    middle = (low + high) / 2
    over = jnp.clip(amount - middle, 0, 1).sum() > budget
    return jnp.where(over, middle, low), jnp.where(over, high, middle)

  high = jax.lax.fori_loop(0, _HALVINGS, halve, (amount.min() - 1, amount.max()))[1]
  fits = jnp.clip(amount, 0, 1).sum() <= budget
  return jnp.clip(amount - jnp.where(fits, 0.0, high), 0, 1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _search(logits, settings, sampled, space, nodes, labels, budget, key, pairs):
  """Returns the last block's pairs [B, 2] and which of them are flipped, bool [B]."""

  def loss(amount, pairs):
    return attack_loss(logits(perturbed(space, pairs, amount)), nodes, labels)

  def epoch(carry, t):
    block, best, best_loss = carry
    value, gradient = jax.value_and_grad(loss)(block.amount, block.pairs)
    # The block stays as it was at its best: at the end of resampling, and at the end of all.
    better = value > best_loss
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), block, best)
    best_loss = jnp.maximum(value, best_loss)
    fixed = jnp.maximum(0, t - settings.resampling) + 1.0
    rate = settings.learning_rate * budget / n_nodes(space) / jnp.sqrt(fixed)
    amount = project(block.amount + rate * gradient * (block.amount > 0), budget)
    block = _Block(block.pairs, jnp.where(block.amount > 0, jnp.clip(amount, _LEAST, 1), 0))
    if sampled:
      drawn = _resample(jax.random.fold_in(key, t), space, block)
      more = t < settings.resampling - 1
      block = jax.tree.map(lambda new, old: jnp.where(more, new, old), drawn, block)
    return (
      jax.tree.map(lambda b, x: jnp.where(t == settings.resampling - 1, b, x), best, block),
      best,
      best_loss,
    ), None

  valid = valid_pairs(space, pairs, jnp.zeros(pairs.shape[0]))
  start = _Block(pairs, jnp.where(valid, _LEAST, 0.0))
  carry = (start, start, jnp.float32(-jnp.inf))
  (last, best, best_loss), _ = jax.lax.scan(epoch, carry, jnp.arange(settings.epochs))
  better = loss(last.amount, last.pairs) > best_loss
  block = jax.tree.map(lambda new, old: jnp.where(better, new, old), last, best)
  chosen = _draw(jax.random.fold_in(key, settings.epochs), settings, block, budget, loss)
  return block.pairs, chosen


def _resample(key: jax.Array, space: LinkSpace, block: _Block) -> _Block:
  """Draws all pairs anew but the half with the largest amounts, where these are above the least."""
  count = block.amount.shape[0]
  rank = jnp.zeros(count, jnp.int32).at[jnp.argsort(-block.amount)].set(jnp.arange(count, dtype=jnp.int32))
  kept = (rank < count // 2) & (block.amount > _LEAST)
  pairs = jnp.where(kept[:, None], block.pairs, random_pairs(key, space, count))
  amount = jnp.where(kept, block.amount, _LEAST)
  return _Block(pairs, jnp.where(valid_pairs(space, pairs, amount), amount, 0.0))


def _draw(key, settings, block, budget, loss):
  """Returns the most harmful of some discrete choices: the largest amounts, and Bernoulli draws that fit."""
  count = block.amount.shape[0]
  order = jnp.argsort(-block.amount)
  rank = jnp.zeros(count, jnp.int32).at[order].set(jnp.arange(count, dtype=jnp.int32))
  largest = (rank < budget) & (block.amount > 0)

  def draw(i):
    drawn = jax.random.uniform(jax.random.fold_in(key, i), (count,)) < block.amount
    chosen = jnp.where((i == 0) | (drawn.sum() > budget), largest, drawn)
    return loss(chosen.astype(jnp.float32), block.pairs), chosen

  def better(i, found):
    new = draw(i)
    return jax.tree.map(lambda a, b: jnp.where(new[0] > found[0], a, b), new, found)

  return jax.lax.fori_loop(1, settings.draws, better, draw(0))[1]
