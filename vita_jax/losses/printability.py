"""What keeps a texture smooth and printable: total variation, and the distance from colours a printer has."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

# 30 colours that a printer made, RGB in [0, 1], of the code published with Thys et al., "Fooling automated
# surveillance cameras" (CVPR workshops 2019, arXiv 1904.08653).
PRINTABLE_COLORS = np.array(
  [
    (0.10588, 0.054902, 0.1098),
    (0.48235, 0.094118, 0.16863),
    (0.50196, 0.52549, 0.17647),
    (0.082353, 0.31765, 0.18431),
    (0.47843, 0.61176, 0.51765),
    (0.07451, 0.3098, 0.45882),
    (0.67843, 0.14902, 0.18039),
    (0.086275, 0.14118, 0.26275),
    (0.26667, 0.36863, 0.47843),
    (0.76078, 0.54118, 0.5451),
    (0.73333, 0.49412, 0.27451),
    (0.25882, 0.35294, 0.18039),
    (0.47843, 0.22353, 0.36471),
    (0.27059, 0.086275, 0.11765),
    (0.7098, 0.32157, 0.2),
    (0.27451, 0.13725, 0.29412),
    (0.75294, 0.75686, 0.63137),
    (0.28627, 0.54902, 0.41176),
    (0.47451, 0.2902, 0.15294),
    (0.74902, 0.70196, 0.28627),
    (0.098039, 0.42745, 0.44314),
    (0.50588, 0.65098, 0.65882),
    (0.12549, 0.42745, 0.23529),
    (0.4902, 0.58431, 0.33725),
    (0.26275, 0.49412, 0.26275),
    (0.07451, 0.14902, 0.12549),
    (0.090196, 0.20392, 0.36078),
    (0.68627, 0.15686, 0.30196),
    (0.30196, 0.5451, 0.57647),
    (0.71765, 0.32941, 0.40784),
  ],
  np.float32,
)


def total_variation(image: jax.Array) -> jax.Array:
  """Computes the mean over pixels and channels of the absolute differences of neighbours, both ways summed.

  (sum |x[i, j + 1] - x[i, j] + 1e-6| + sum |x[i + 1, j] - x[i, j] + 1e-6|) / (H W C), as the released code
  of "Can 3D adversarial logos cloak humans?" (arXiv 2006.14655) has it.

  Args:
    image: float [..., H, W, C].

  Returns:
    float [...].

  Examples:
    >>> step = jnp.zeros((256, 256, 3)).at[:, 128:].set(1.0)
    >>> round(float(total_variation(step)), 5)  # 256 * 3 / (3 * 256 * 256), and what the 1e-6 add
    0.00391
  """
  across = jnp.sum(jnp.abs(jnp.diff(image, axis=-2) + 1e-6), axis=(-3, -2, -1))
  down = jnp.sum(jnp.abs(jnp.diff(image, axis=-3) + 1e-6), axis=(-3, -2, -1))
  return (across + down) / (image.shape[-3] * image.shape[-2] * image.shape[-1])


def non_printability(image: jax.Array, colors: jax.Array | np.ndarray = PRINTABLE_COLORS) -> jax.Array:
  """Computes the mean over pixels and channels of the distance to the nearest printable colour.

  sum over pixels of min_p sqrt(|c - p + 1e-6|^2 + 1e-6) / (H W C) (Sharif et al., "Accessorize to a Crime",
  2016, has the product over p; the released code takes the nearest).

  Args:
    image: float [..., H, W, C].
    colors: float [P, C].

  Returns:
    float [...].
  """
  difference = image[..., None, :] - jnp.asarray(colors) + 1e-6
  distance = jnp.min(jnp.sqrt(jnp.sum(difference**2, axis=-1) + 1e-6), axis=-1)
  return jnp.mean(distance, axis=(-2, -1)) / image.shape[-1]
