"""Batches for positive-unlabelled learning: labelled and unlabelled rows interleaved, or trusted rows alone.

Pure functions of (order seed, epoch, place in the epoch); nothing is drawn one after the other, so a run
resumes from the step alone, and any batch has the same shape.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.data.index import permuted

# Streams of one order seed; each of several networks ("students") has its own.
LABELLED, UNLABELLED, TRUSTED, VALIDATION = range(4)


class Draw(NamedTuple):
  """Rows of a batch.

  `row` int32 [n]: rows of the training table. `item` int32 [n]: places in the list of unlabelled rows.
  `labelled` bool [n]: drawn as a labelled positive (then `item` means nothing). `mask` float32 [n]: 0 for
  padding.
  """

  row: jax.Array
  item: jax.Array
  labelled: jax.Array
  mask: jax.Array


def stream(order: jax.Array, student: jax.Array, kind: int) -> jax.Array:
  """Returns the seed (uint32) of one kind of rows for one student, from the order seed of a run."""
  return order + jnp.uint32(kind) + jnp.uint32(16) * student.astype(jnp.uint32)


def interleaved(place: jax.Array, interleave: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Gives every `interleave`-th place of an epoch, the first one included, to a labelled positive.

  Returns:
    (labelled bool, number among the labelled, number among the unlabelled), each [n], for `place` int32 [n].
  """
  before = place // interleave
  labelled = place % interleave == 0
  return labelled, before, jnp.maximum(place - before - 1, 0)


def fitting_batch_size(n_labelled: int, n_unlabelled: int, *, most: int = 256) -> int:
  """Returns a batch size that suits a table of any size: at most `most`, about four batches in an epoch.

  More than `most` only where so few rows are labelled that a smaller batch could be without any.
  """
  interleave = n_unlabelled // n_labelled + 1
  return max(min(most, n_labelled * interleave // 4), interleave, 2)


def draw_pu(
  place: jax.Array,
  *,
  epoch: jax.Array,
  order: jax.Array,
  student: jax.Array,
  labelled_rows: jax.Array,
  unlabelled_rows: jax.Array,
  interleave: jax.Array,
  trusted_order: jax.Array | None = None,
  n_trusted: jax.Array | int = 0,
  shuffled: jax.Array | bool = True,
) -> Draw:
  """Draws the rows at places [n] of an epoch over labelled and untrusted unlabelled rows.

  Args:
    place: int32 [n], in 0 .. n_labelled * interleave - 1.
    order: uint32 scalar.
    epoch: int32 scalar.
    student: int32 scalar.
    labelled_rows: int32 [n_labelled].
    unlabelled_rows: int32 [n_unlabelled].
    interleave: rows per labelled positive.
    trusted_order: int32 [n_unlabelled], items with the `n_trusted` trusted ones first; None: as they are.
    shuffled: False keeps the unlabelled rows in their order.
  """
  n_labelled, n_unlabelled = labelled_rows.shape[0], unlabelled_rows.shape[0]
  is_labelled, first, second = interleaved(place, interleave)
  # Both orders in one call: a permutation is a few hundred instructions to compile.
  seeds = jnp.stack([stream(order, student, kind) for kind in (LABELLED, UNLABELLED)])
  lengths = jnp.stack([jnp.int32(n_labelled), jnp.asarray(n_unlabelled - n_trusted, jnp.int32)])
  order_of = jax.vmap(partial(permuted, max_rows=n_unlabelled), in_axes=(0, None, 0, 0))
  chosen, item = order_of(seeds, epoch, jnp.stack([first, second]), lengths)
  item = jnp.where(shuffled, item, second)
  if trusted_order is not None:
    item = trusted_order[n_trusted + item]
  row = jnp.where(is_labelled, labelled_rows[chosen], unlabelled_rows[item])
  return Draw(row, item, is_labelled, jnp.ones(place.shape, jnp.float32))


def draw_trusted(
  place: jax.Array,
  *,
  epoch: jax.Array,
  order: jax.Array,
  student: jax.Array,
  unlabelled_rows: jax.Array,
  trusted_order: jax.Array,
  n_trusted: jax.Array,
) -> Draw:
  """Draws the rows at places [n] of an epoch over a trusted set; places from `n_trusted` on are padding."""
  n_unlabelled = unlabelled_rows.shape[0]
  n_rows = jnp.maximum(n_trusted, 1)  # a student without trusted rows draws padding only
  number = permuted(stream(order, student, TRUSTED), epoch, place, n_rows, max_rows=n_unlabelled)
  item = trusted_order[number]
  mask = (place < n_trusted).astype(jnp.float32)
  return Draw(unlabelled_rows[item], item, jnp.zeros(place.shape, bool), mask)


def draw_validation(
  place: jax.Array, *, epoch: jax.Array, order: jax.Array, student: jax.Array, rows: jax.Array
) -> jax.Array:
  """Draws rows int32 [n] of the validation set at places [n] of an epoch, which go round it again and again.

  Every round of every epoch has an order of its own.
  """
  n = rows.shape[0]
  seed = stream(order, student, VALIDATION) + jnp.uint32(64) * epoch.astype(jnp.uint32)  # beyond all streams
  return rows[jax.vmap(lambda p: permuted(seed, p // n, p[None] % n, n, max_rows=n)[0])(place)]
