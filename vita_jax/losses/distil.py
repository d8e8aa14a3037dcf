"""Distances of a student to its teacher: outputs, soft labels, and features through 1x1 adapters.

No gradient reaches the teacher: every function stops it.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

Adapters = Mapping[str, jax.Array]  # layer -> kernel [channels of the student, channels of the teacher]


def squared_distance(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Computes the mean of (student - teacher)^2 over all entries; both of one shape.

  Raises:
    ValueError: unlike shapes.

  Examples:
    >>> float(squared_distance(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
    2.0
  """
  return jnp.mean(jnp.square(_difference(student, teacher)))


def absolute_distance(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Computes the mean of |student - teacher| over all entries; both of one shape.

  Raises:
    ValueError: unlike shapes.

  Examples:
    >>> float(absolute_distance(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
    1.0
  """
  return jnp.mean(jnp.abs(_difference(student, teacher)))


def soft_label_divergence(student: jax.Array, teacher: jax.Array, *, temperature: float = 1.0) -> jax.Array:
  """Computes T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over rows, in nats.

  The factor T^2 keeps the size of the gradients as T grows (Hinton, Vinyals and Dean, arXiv 1503.02531).

  Args:
    student: logits, float [..., C].
    teacher: logits, float [..., C].
    temperature: T > 0.

  Raises:
    ValueError: unlike shapes.

  Examples:
    >>> logits = jnp.array([[0.0, jnp.log(3.0)]])
    >>> round(float(soft_label_divergence(jnp.zeros((1, 2)), logits)), 4)  # ln 2 + .25 ln .25 + .75 ln .75
    0.1308
  """
  _check_shapes(student, teacher)
  wanted = jax.nn.log_softmax(jax.lax.stop_gradient(teacher) / temperature)
  found = jax.nn.log_softmax(student / temperature)
  return temperature**2 * jnp.mean(jnp.sum(jnp.exp(wanted) * (wanted - found), axis=-1))


def init_adapters(key: jax.Array, channels: Mapping[str, tuple[int, int]]) -> dict[str, jax.Array]:
  """Draws the kernels of 1x1 convolutions that lead the student's channels to the teacher's.

  Args:
    key: a PRNG key.
    channels: layer -> (channels of the student, channels of the teacher).

  Returns:
    layer -> float32 [student's, teacher's], normal with variance 1 / student's. To be trained with the
    student, and thrown away with the teacher.

  Examples:
    >>> adapters = init_adapters(jax.random.key(0), {"block_3": (8, 24)})
    >>> adapters["block_3"].shape
    (8, 24)
  """
  keys = jax.random.split(key, len(channels))
  return {
    name: jax.random.normal(k, channels[name], jnp.float32) * channels[name][0] ** -0.5
    for name, k in zip(sorted(channels), keys, strict=True)
  }


def feature_distance(
  adapters: Adapters, student: Mapping[str, jax.Array], teacher: Mapping[str, jax.Array]
) -> jax.Array:
  """Computes the mean over layers of the squared distance of adapted student features to the teacher's.

  As GAN Compression has it (Li et al., CVPR 2020, section 3.1), with means in place of sums.

  Args:
    adapters: from `init_adapters`: the layers that are compared.
    student: layer -> float [n, *spatial, channels]; it may hold more layers.
    teacher: the same of the teacher: like in places, unlike in channels.

  Raises:
    ValueError: a layer that one of the two does not have, or that does not fit its adapter.

  Examples:
    >>> ones = {"a": jnp.ones((1, 2, 2, 4))}
    >>> float(feature_distance({"a": jnp.full((4, 3), 0.5)}, ones, {"a": jnp.zeros((1, 2, 2, 3))}))
    4.0
  """
  distances = []
  for name, kernel in adapters.items():
    for who, maps in (("student", student), ("teacher", teacher)):
      if name not in maps:
        raise ValueError(f"the {who} has no features '{name}': it has {', '.join(sorted(maps))}")
    if student[name].shape[-1] != kernel.shape[0]:
      found = student[name].shape[-1]
      raise ValueError(
        f"features '{name}' of the student have {found} channels, its adapter {kernel.shape[0]}"
      )
    distances.append(squared_distance(student[name] @ kernel.astype(student[name].dtype), teacher[name]))
  return jnp.mean(jnp.stack(distances))


def _difference(student: jax.Array, teacher: jax.Array) -> jax.Array:
  _check_shapes(student, teacher)
  return student - jax.lax.stop_gradient(teacher)


def _check_shapes(student: jax.Array, teacher: jax.Array) -> None:
  if student.shape != teacher.shape:  # numbers of other places would be broadcast
    raise ValueError(
      f"student and teacher must be of one shape, they are {student.shape} and {teacher.shape}"
    )
