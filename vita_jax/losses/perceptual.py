"""Perceptual distances on the features of any network: content (L1 of maps) and style (Gram matrices).

The network is a function `pyramid(images) -> {layer: [n, *spatial, channels]}`, e.g. of
`vita_jax.nn.features.load`. Its preprocessing is its own affair: GAN Slimming's code hands VGG-16 images in
[0, 1] without ImageNet's mean and deviation, which VGG-16 expects; the networks of `nn.features` get theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from vita_jax.losses.distil import absolute_distance, squared_distance

Pyramid = Callable[[jax.Array], Mapping[str, jax.Array]]
Maps = Mapping[str, jax.Array]


def gram_matrices(features: jax.Array) -> jax.Array:
  """Computes F F^T / (C H W) of every image: [n, *spatial, c] -> [n, c, c].

  Examples:
    >>> gram_matrices(jnp.ones((1, 2, 3, 2)))[0].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
  """
  places = features.reshape(features.shape[0], -1, features.shape[-1])
  grams = jnp.einsum("npc,npd->ncd", places, places, precision=jax.lax.Precision.HIGHEST)
  return grams / (places.shape[1] * places.shape[2])


def content_distance(student: Maps, target: Maps, layers: Sequence[str]) -> jax.Array:
  """Computes the sum over layers of the mean of |F(student) - F(target)|; no gradient reaches the target.

  Raises:
    ValueError: a layer that the pyramid does not have.

  Examples:
    >>> ones = {"a": jnp.ones((1, 2, 2, 3))}
    >>> float(content_distance(ones, {"a": jnp.zeros((1, 2, 2, 3))}, ("a",)))
    1.0
  """
  _check_layers(student, layers)
  return sum((absolute_distance(student[name], target[name]) for name in layers), start=jnp.zeros(()))


def style_distance(student: Maps, target: Maps, layers: Sequence[str]) -> jax.Array:
  """Computes the sum over layers of the mean of (Gram(student) - Gram(target))^2 over images and entries.

  Gatys, Ecker and Bethge (CVPR 2016) and Johnson et al. (ECCV 2016), normalised as in `gram_matrices`. No
  gradient reaches the target.

  Raises:
    ValueError: a layer that the pyramid does not have.

  Examples:
    >>> ones = {"a": jnp.ones((1, 2, 2, 2))}
    >>> float(style_distance(ones, {"a": jnp.zeros((1, 2, 2, 2))}, ("a",)))
    0.25
  """
  _check_layers(student, layers)
  return sum(
    (squared_distance(gram_matrices(student[name]), gram_matrices(target[name])) for name in layers),
    start=jnp.zeros(()),
  )


def perceptual_distance(
  pyramid: Pyramid,
  student: jax.Array,
  target: jax.Array,
  *,
  content: Sequence[str],
  style: Sequence[str],
  content_weight: float = 1.0,
  style_weight: float = 1e5,
) -> jax.Array:
  """Computes content_weight * `content_distance` + style_weight * `style_distance` of two batches of images.

  GAN Slimming's distance of student and teacher, with its weights as defaults; it takes relu1_2 of VGG-16 as
  content and relu1_2, relu2_2, relu3_3, relu4_3 as style. A good style weight depends on the network: the
  Gram matrices of another one have another size.

  Args:
    pyramid: `pyramid(images) -> {layer: [n, *spatial, channels]}`.
    student: images as the pyramid takes them, [n, h, w, 3].
    target: the same, of the teacher or the truth; no gradient reaches it.
    content: layers of the content distance; () for none.
    style: layers of the style distance; () for none.
    content_weight: see above.
    style_weight: see above.

  Returns:
    A scalar, differentiable in the student's images.

  Raises:
    ValueError: a layer that the pyramid does not have.

  Examples:
    >>> def corners(images):
    ...   return {"whole": images, "half": images[:, ::2, ::2]}
    >>> one, zero = jnp.ones((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 3))
    >>> float(perceptual_distance(corners, one, zero, content=("half",), style=()))
    1.0
  """
  found, wanted = pyramid(student), pyramid(jax.lax.stop_gradient(target))
  distance = content_weight * content_distance(found, wanted, content)
  return distance + style_weight * style_distance(found, wanted, style)


def _check_layers(maps: Maps, layers: Sequence[str]) -> None:
  for name in layers:
    if name not in maps:
      raise ValueError(f"the pyramid has no layer '{name}': it has {', '.join(maps)}")
