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


def proxy_kl(student_logits: jax.Array, teacher_logits: jax.Array) -> jax.Array:
  """Computes KL(softmax(teacher) || softmax(student)), the mean over images, in nats and float32.

  The proxy of "Automated Synthetic-to-Real Generalization" (ICML 2020), after "Learning without Forgetting"
  (Li and Hoiem, ECCV 2016): at temperature 1, summed over classes, not averaged.

  Args:
    student_logits: float [n, C], of the old head on the student's features.
    teacher_logits: float [n, C], of the frozen teacher; no gradient reaches them.

  Raises:
    ValueError: unlike shapes.

  Examples:
    >>> teacher, student = jnp.log(jnp.array([[0.8, 0.2]])), jnp.log(jnp.array([[0.5, 0.5]]))
    >>> round(float(proxy_kl(student, teacher)), 6)  # 0.8 ln 1.6 + 0.2 ln 0.4
    0.192745
  """
  return soft_label_divergence(student_logits.astype(jnp.float32), teacher_logits.astype(jnp.float32))


def capped_weight(weight: jax.Array | float, value: jax.Array, cap: float | None) -> jax.Array:
  """Computes the weight of a loss term, lowered to cap / value where weight * value is above the cap.

  So the term is at most the cap. The weight is a plain number: no gradient passes through it, and that of the
  term is scaled down.

  Args:
    weight: at least 0.
    value: of the term, before it is weighted.
    cap: above 0; None: the weight as it is.

  Raises:
    ValueError: a negative weight, or a cap that is not above 0.

  Examples:
    >>> float(capped_weight(75.0, jnp.float32(0.2), 9.0)), float(capped_weight(75.0, jnp.float32(0.1), 9.0))
    (45.0, 75.0)
  """
  if isinstance(weight, int | float) and not weight >= 0:
    raise ValueError(f"weight is {weight}: it must be a finite number, at least 0")
  if cap is None:
    return jax.lax.stop_gradient(jnp.asarray(weight, jnp.float32))
  if not cap > 0:
    raise ValueError(f"cap is {cap}: it must be a finite number, above 0, or None")
  value = jax.lax.stop_gradient(value)
  return jax.lax.stop_gradient(jnp.where(weight * value > cap, cap / value, weight))


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
