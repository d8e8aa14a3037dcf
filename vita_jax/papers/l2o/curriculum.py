"""When training moves on to longer optimizations: the paper's rule as a pure function."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.base.choose import choose

TRAIN, VALIDATE, REBASE = 0, 1, 2  # what comes next
LEAST = 3  # evaluations of a stage before it may end
PATIENCE = ("stop", "continue", "advance")


class Curriculum(NamedTuple):
  """Where a curriculum stands; scalars.

  Attributes:
    stage: int32, index into the list of lengths.
    evaluations: int32, of this stage.
    improved: bool, whether one of them was the best.
    best: float32, lowest validation cost of this stage; +inf at first.
    over: bool, whether training has ended.
  """

  stage: jax.Array
  evaluations: jax.Array
  improved: jax.Array
  best: jax.Array
  over: jax.Array


class Verdict(NamedTuple):
  """What an evaluation leads to: keep the weights, go back to the kept ones, and what comes next."""

  keep: jax.Array
  restore: jax.Array
  next: jax.Array


def start() -> Curriculum:
  """Returns a curriculum before its first evaluation."""
  zero = jnp.zeros((), jnp.int32)
  return Curriculum(zero, zero, jnp.asarray(False), jnp.asarray(jnp.inf, jnp.float32), jnp.asarray(False))


def judge(
  curriculum: Curriculum, cost: jax.Array, *, stages: int, patience: str
) -> tuple[Curriculum, Verdict]:
  """Applies the rule after an evaluation.

  A cost below the best is kept. Otherwise, from the third evaluation of a stage on: if the stage improved
  once, its best weights are restored and the next stage begins (its bar is set by evaluating them again:
  `rebase`); if it never did, training ends. After the last stage training ends, too. With one stage
  (no curriculum) training continues to its budget, keeps the best weights and restores nothing.

  Args:
    curriculum: where it stands.
    cost: float32 scalar; one that is not finite is never the best.
    stages: how many there are.
    patience: "stop" ends as above; "continue" trains on in the same stage instead, until the budget;
      "advance" goes back to the kept weights and on to the next stage, and trains on in the last one.

  Raises:
    ValueError: unknown patience.
  """
  choose("config.patience", patience, PATIENCE)
  better = cost < curriculum.best
  evaluations = curriculum.evaluations + 1
  improved = curriculum.improved | better
  ends = ~better & (evaluations >= LEAST) & (stages > 1)
  last = curriculum.stage == stages - 1
  over = ends & (last | ~improved) if patience == "stop" else jnp.asarray(False)
  restore = ends & ~over & (improved | ~last if patience == "advance" else improved)
  new = Curriculum(
    stage=jnp.where(restore & ~last, curriculum.stage + 1, curriculum.stage),
    evaluations=jnp.where(ends, 0, evaluations),
    improved=improved & ~ends,
    best=jnp.where(better, cost, curriculum.best),
    over=curriculum.over | over,
  )
  return new, Verdict(better, restore, jnp.where(restore, REBASE, TRAIN))


def rebase(curriculum: Curriculum, cost: jax.Array) -> Curriculum:
  """Sets the bar of a new stage: the cost of the restored weights there (+inf if that is not finite)."""
  return curriculum._replace(best=jnp.where(jnp.isfinite(cost), cost, jnp.inf).astype(jnp.float32))
