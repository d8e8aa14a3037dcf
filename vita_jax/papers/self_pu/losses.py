"""What a student learns from: its own rows, the other student where an example is hard, and its teacher."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses import pu
from vita_jax.optim.ramps import ramp_up
from vita_jax.papers.self_pu.recipe import Recipe, Risk

Values = dict[str, jax.Array]


def row_objective(
  settings: Risk, risk: pu.PURisk, logits: jax.Array, labelled: jax.Array, positive: jax.Array
) -> jax.Array:
  """Computes what the rows of a batch are trained on, without distillation and entropy: a scalar.

  Args:
    settings: which risk.
    risk: the parts of the PU risk of this batch.
    logits: float [n].
    labelled: bool [n].
    positive: bool [n], the true classes; only the kind "oracle" reads them.
  """
  if settings.kind == "oracle":  # the true labels of the unlabelled rows: the bound that no PU method has
    losses = pu.binary_cross_entropy(logits, positive.astype(jnp.float32))
    return jnp.sum(jnp.where(labelled, 0.0, losses)) / jnp.maximum(jnp.sum(~labelled), 1)
  if settings.kind == "naive":
    return pu.naive_risk(logits, labelled)
  if settings.kind == "upu":
    return risk.total
  return pu.nnpu_objective_of(risk, beta=settings.beta, gamma=settings.gamma)


def mutual_loss(
  logits: jax.Array,
  other: jax.Array,
  labelled: jax.Array,
  *,
  prior: float | jax.Array,
  nnpu: jax.Array,
  mining: str = "sample",
  alpha: float = 0.1,
) -> jax.Array:
  """Computes a student's squared distance to the other's probabilities on hard examples: a scalar.

  - `mining` "sample" (the paper): the mean of d_i = (p_i - p'_i)^2 over the batch, with rows counted where
    their own PU loss exceeds α d_i; that loss is σ(g) of an unlabelled row and π σ(-g) of a labelled one.
  - `mining` "batch" (released): the mean of d_i if it is below α times the batch's nnPU risk, else 0.

  Args:
    logits: float [n], the student's.
    other: float [n], of the other student on the same rows; held constant.
    labelled: bool [n].
    prior: π.
    nnpu: the batch's nnPU risk, for "batch".
  """
  distance = jnp.square(jax.nn.sigmoid(logits) - jax.nn.sigmoid(jax.lax.stop_gradient(other)))
  if mining == "batch":
    mean = jnp.mean(distance)
    return jnp.where(mean < alpha * nnpu, mean, 0.0)
  own = jnp.where(labelled, prior * pu.sigmoid_loss(logits), pu.sigmoid_loss(-logits))
  return jnp.mean(jnp.where(own > alpha * distance, distance, 0.0))


def consistency_loss(
  logits: jax.Array, teacher: jax.Array, mask: jax.Array | None = None, *, softmax: bool = False
) -> jax.Array:
  """Computes the mean squared distance of a student's probabilities to its teacher's: a scalar.

  Args:
    logits: float [n].
    teacher: float [n], the teacher's logits; they are held constant.
    mask: [n], 0 for rows that are not there; None: ones.
    softmax: takes, as released, a softmax over the single logit instead of a sigmoid: always 1, so that the
      loss and its gradient are 0.
  """
  teacher = jax.lax.stop_gradient(teacher)
  squash = _softmax_of_one if softmax else jax.nn.sigmoid
  distance = jnp.square(squash(logits) - squash(teacher))
  if mask is None:
    return jnp.mean(distance)
  return jnp.sum(mask * distance) / jnp.maximum(jnp.sum(mask), 1.0)


def follow(
  recipe: Recipe,
  epoch: jax.Array,
  total: jax.Array,
  values: Values,
  logits: jax.Array,
  teacher: jax.Array | None,
  mask: jax.Array | None,
) -> tuple[jax.Array, Values]:
  """Adds the consistency with the teacher, if any, ramped up over the epochs, to a loss and its metrics."""
  if teacher is None:
    return total, values
  settings = recipe.distillation
  ramp = ramp_up(epoch, peak=settings.consistency, length=settings.ramp_length, shift=settings.ramp_shift)
  loss = consistency_loss(logits, teacher, mask, softmax="consistency_softmax" in recipe.released)
  return total + ramp * loss, {**values, "consistency": loss}


def _softmax_of_one(logits: jax.Array) -> jax.Array:
  return jax.nn.softmax(logits[:, None], axis=-1)[:, 0]
