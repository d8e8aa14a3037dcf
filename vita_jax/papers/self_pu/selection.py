"""The trusted set: the most confident unlabelled rows at both ends, chosen anew at every selection."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

NEGATIVE, POSITIVE = 1, 2  # the sides of a trusted set; 0 is not trusted


class Trusted(NamedTuple):
  """A trusted set over n unlabelled items, of fixed shapes whatever its size.

  Attributes:
    side: int8 [n], 0 | NEGATIVE | POSITIVE.
    order: int32 [n], the items with the trusted ones first; both parts in ascending order.
    probability: float32 [n], σ(g) at the selection that took the item in; 1/2 where it is not trusted.
  """

  side: jax.Array
  order: jax.Array
  probability: jax.Array


def empty_trusted(n: int) -> Trusted:
  """Returns a trusted set of nothing."""
  return Trusted(jnp.zeros(n, jnp.int8), jnp.arange(n, dtype=jnp.int32), jnp.full(n, 0.5, jnp.float32))


def select_trusted(
  logits: jax.Array,
  *,
  side: jax.Array | int,
  eligible: jax.Array | None = None,
  previous: Trusted | None = None,
) -> Trusted:
  """Selects the `side` lowest logits as trusted negatives, the `side` highest as trusted positives.

  Ranked by logit: the order of probabilities, without the ties where these round to 0 or 1; equal logits
  go by item. Static shapes: `side` may be traced.

  Args:
    logits: float [n] of all unlabelled items, from the network in evaluation mode.
    side: rows on each side; at most half of the eligible ones.
    eligible: bool [n], items that may be trusted. None: all.
    previous: None chooses all anew (in and out). Else its members stay ("in" only), and each side is filled
      up to `side` with the most extreme of the others.

  Source: section 2.4; Self-PU's "self-paced" learning.
  """
  n = logits.shape[0]
  open_items = jnp.ones(n, bool) if eligible is None else eligible
  kept = jnp.zeros(n, jnp.int8) if previous is None else previous.side
  open_items &= kept == 0

  order = jnp.argsort(jnp.where(open_items, logits, jnp.inf))
  rank = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
  lacking = {member: side - jnp.sum(kept == member) for member in (NEGATIVE, POSITIVE)}
  lowest = open_items & (rank < lacking[NEGATIVE])
  highest = open_items & (rank >= jnp.sum(open_items) - lacking[POSITIVE])
  new = jnp.where(lowest, NEGATIVE, jnp.where(highest, POSITIVE, 0))
  sides = jnp.where(kept > 0, kept, new.astype(jnp.int8))
  probability = jax.nn.sigmoid(logits).astype(jnp.float32)
  if previous is not None:
    probability = jnp.where(kept > 0, previous.probability, probability)
  order = jnp.argsort(sides == 0).astype(jnp.int32)  # stable
  return Trusted(sides, order, jnp.where(sides > 0, probability, 0.5))


def purity(trusted: Trusted, is_positive: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Computes the share of true positives on the positive side and of true negatives on the negative one.

  Scalars, NaN where the side is empty; `is_positive` bool [n] of all items.
  """
  positives, negatives = trusted.side == POSITIVE, trusted.side == NEGATIVE
  true_positives, true_negatives = jnp.sum(is_positive & positives), jnp.sum(~is_positive & negatives)
  return true_positives / jnp.sum(positives), true_negatives / jnp.sum(negatives)
