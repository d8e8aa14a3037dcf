"""Splits rows for positive-unlabelled learning: which are labelled, unlabelled and held out, from a key.

Validation rows leave the training rows first. Unlabelled are all other rows, the labelled ones included: a
labelled positive is a row of the sample, too, and taking it out would lower the prior of the rest. Only
where unlabelled rows were collected separately ("case_control") the labelled ones are not among them.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SCENARIOS = ("single_training_set", "case_control")  # of a user's labels
DRAWN = "drawn"  # labels drawn from the true positives of a single training set


class Sizes(NamedTuple):
  """Numbers of rows: labelled and unlabelled ones to train on, validation rows, labelled ones among these."""

  labelled: int
  unlabelled: int
  validation: int
  validation_labelled: int


def sizes(
  n_rows: int,
  n_positive: int,
  *,
  n_labelled: int,
  validation_rows: int,
  validation_labelled: int,
  scenario: str,
) -> Sizes:
  """Computes the sizes of a split.

  DRAWN labels of `n_positive` true positives: as asked for. A user's labels, `n_positive` of them: validation
  takes its share. `validation_rows` 0 is a fifth of the rows, at most 1,000.

  Raises:
    ValueError: more than half of the rows for validation, fewer rows than asked for, or no labelled ones.
  """
  fifth = min(max(n_rows // 5, 2), 1000)
  if validation_rows > n_rows // 2:
    raise ValueError(
      f"config.validation.rows {validation_rows} is more than half of the {n_rows} rows: take at most"
      f" {n_rows // 2}, or 0 for a fifth ({fifth})"
    )
  validation_rows = validation_rows or fifth
  if scenario != DRAWN:
    validation_labelled = max(1, round(n_positive * validation_rows / n_rows))
    n_labelled = n_positive - validation_labelled
  if not 0 < validation_labelled < validation_rows < n_rows:
    raise ValueError(
      f"config.validation asks for {validation_rows} of {n_rows} rows, {validation_labelled} of them"
      " labelled: labelled and other ones are needed, and rows to train on"
    )
  if not 0 < n_labelled <= n_positive - validation_labelled:
    raise ValueError(
      f"{n_labelled} labelled positives are asked for (config.data.n_labelled) beside {validation_labelled}"
      f" for validation; there are {n_positive} to choose from"
    )
  n_unlabelled = n_rows - validation_rows
  if scenario == "case_control":
    n_unlabelled -= n_labelled
  return Sizes(n_labelled, n_unlabelled, validation_rows, validation_labelled)


def draw_split(
  key: jax.Array, candidates: np.ndarray | jax.Array, found: Sizes, *, scenario: str
) -> dict[str, jax.Array]:
  """Draws a split.

  Args:
    key: PRNG key.
    candidates: bool [N]: rows that may be labelled (DRAWN: the true positives), or that are.
    found: see `sizes`.
    scenario: DRAWN chooses `found.labelled` of the candidates; else they are the user's labels.

  Returns:
    `labelled`, `unlabelled`, `validation`: int32 rows; `validation_labelled`, `validation_unlabelled`: bool
    [validation], what a PU criterion may know of these.
  """
  candidates = jnp.asarray(candidates)
  first, second = jax.random.split(key)

  def some(noise, chosen, n):
    return jnp.argsort(jnp.where(chosen, noise, jnp.inf))[:n].astype(jnp.int32)

  noise = jax.random.uniform(first, candidates.shape)
  if scenario != DRAWN:
    n = found.validation_labelled
    parts = some(noise, candidates, n), some(noise, ~candidates, found.validation - n)
    validation = jnp.concatenate(parts)
  else:
    validation = some(noise, jnp.ones_like(candidates), found.validation)
  held = jnp.zeros_like(candidates).at[validation].set(True)
  labelled = some(jax.random.uniform(second, candidates.shape), candidates & ~held, found.labelled)
  outside = held | (candidates if scenario == "case_control" else False)
  # Positives first, as the released code has them before its first shuffle.
  order = jnp.argsort(2 * outside + ~candidates)
  is_candidate = candidates[validation]
  known = is_candidate & (jnp.cumsum(is_candidate) <= found.validation_labelled)
  return {
    "labelled": labelled,
    "unlabelled": order[: found.unlabelled].astype(jnp.int32),
    "validation": validation,
    "validation_labelled": known,
    "validation_unlabelled": ~known if scenario == "case_control" else jnp.ones_like(known),
  }
