"""What makes a detector miss: the score of the place where it is surest, to be minimised."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def best_score(scores: jax.Array) -> jax.Array:
  """Returns the disappearance loss of each picture [n]: the highest person score [n, locations].

  For detectors whose person score already tells the class; of one with objectness apart see
  `gated_objectness` and `objectness_times_class`.
  """
  return jnp.max(scores, axis=-1)


def gated_objectness(objectness: jax.Array, classes: jax.Array, *, person: int = 0) -> jax.Array:
  """Returns the released disappearance loss [n]: the highest objectness where the class is a person.

  0 where no location's most likely class is a person. The choice of the class has no gradient.

  Args:
    objectness: float [n, locations] in [0, 1].
    classes: float [n, locations, C], probabilities.
    person: number of the class.
  """
  gate = jnp.argmax(classes, axis=-1) == person
  return jnp.max(jnp.where(gate, objectness, 0.0), axis=-1)


def objectness_times_class(objectness: jax.Array, classes: jax.Array, *, person: int = 0) -> jax.Array:
  """Returns the highest objectness times person probability, [n] (Thys et al., arXiv 1904.08653).

  Smooth where the class of the best location is about to change. Arguments as in `gated_objectness`.
  """
  return jnp.max(objectness * classes[..., person], axis=-1)
