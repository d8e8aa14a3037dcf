"""Two students that teach each other where an example is hard, and teachers that average them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.losses.pu import sigmoid_loss

MINING = ("sample", "batch")


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
  """A student's squared distance to the other's probabilities on hard examples: a scalar.

  sample (the paper): the mean of d_i = (p_i - p'_i)^2 over the batch with rows counted where their own PU
  loss exceeds α d_i; that loss is σ(g) of an unlabelled row and π σ(-g) of a labelled one.
  batch (released): the mean of d_i if it is below α times the batch's nnPU risk, else 0.

  Args:
    logits: float [n], the student's. other: float [n], of the other student on the same rows; held constant.
    nnpu: the batch's nnPU risk, for "batch".
  """
  distance = jnp.square(jax.nn.sigmoid(logits) - jax.nn.sigmoid(jax.lax.stop_gradient(other)))
  if mining == "batch":
    mean = jnp.mean(distance)
    return jnp.where(mean < alpha * nnpu, mean, 0.0)
  own = jnp.where(labelled, prior * sigmoid_loss(logits), sigmoid_loss(-logits))
  return jnp.mean(jnp.where(own > alpha * distance, distance, 0.0))


def consistency_loss(
  logits: jax.Array, teacher: jax.Array, mask: jax.Array | None = None, *, softmax: bool = False
) -> jax.Array:
  """Mean squared distance of a student's probabilities to its teacher's (held constant): a scalar.

  `softmax` takes, as released, a softmax over the single logit instead of a sigmoid: always 1, so that the
  loss and its gradient are 0.
  """
  teacher = jax.lax.stop_gradient(teacher)
  if softmax:
    squash = lambda g: jax.nn.softmax(g[:, None], axis=-1)[:, 0]  # noqa: E731
  else:
    squash = jax.nn.sigmoid
  distance = jnp.square(squash(logits) - squash(teacher))
  if mask is None:
    return jnp.mean(distance)
  return jnp.sum(mask * distance) / jnp.maximum(jnp.sum(mask), 1.0)
