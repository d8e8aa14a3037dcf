"""What a student minimises beside the adversarial loss: its distance to the teacher."""

from __future__ import annotations

from functools import partial

import jax

from vita_jax.losses.distil import squared_distance
from vita_jax.losses.perceptual import perceptual_distance
from vita_jax.nn.features import FeatureNet


def teacher_distance(
  net: FeatureNet | None, student: jax.Array, teacher: jax.Array, *, style_weight: float
) -> jax.Array:
  """Computes d(G(x), G0(x)) of pictures in [-1, 1]; no gradient reaches the teacher.

  Without a network the mean squared error over all entries. With one the perceptual distance of the paper's
  code: L1 of its finest map plus `style_weight` times the squared distances of the Gram matrices of all its
  levels. The code takes ImageNet's VGG-16, which is not among the networks here.

  Args:
    net: of `vita_jax.nn.features`, or None.
    student: [n, h, w, 3].
    teacher: the same.
    style_weight: of the Gram matrices.
  """
  if net is None:
    return squared_distance(student, teacher)
  return perceptual_distance(
    partial(_maps, net),
    (student + 1) / 2,
    (teacher + 1) / 2,
    content=net.layers[:1],
    style=net.layers,
    style_weight=style_weight,
  )


def _maps(net: FeatureNet, images: jax.Array) -> dict[str, jax.Array]:
  return net.apply(net.variables, images).maps
