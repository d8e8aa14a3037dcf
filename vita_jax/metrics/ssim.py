"""Structural similarity of pictures (Wang et al., IEEE TIP 2004), and over several scales (Asilomar 2003)."""

from __future__ import annotations

from typing import Any

import numpy as np

from vita_jax.base.choose import choose
from vita_jax.metrics.psnr import same_pictures

WINDOWS = ("gaussian", "uniform")
BORDERS = ("valid", "zeros")
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of the five scales, the finest first
K1, K2 = 0.01, 0.03


def ssim(a: Any, b: Any, *, data_range: float, window: str = "gaussian", border: str = "valid") -> Any:
  """Computes the structural similarity of each picture, 1 where the two are equal.

  At each place, with the weighted means m, variances v and covariance v_ab within the window, C1 =
  (0.01 data_range)^2 and C2 = (0.03 data_range)^2:

      (2 m_a m_b + C1) / (m_a^2 + m_b^2 + C1) * (2 v_ab + C2) / (v_a + v_b + C2),

  then the mean over places and channels.

  Args:
    a: pictures [n, h, w, c].
    b: the same.
    data_range: the largest possible difference: 255 of bytes, 1 of [0, 1], 2 of [-1, 1].
    window: "gaussian": 11 x 11, deviation 1.5, the original; "uniform": 7 x 7, with variances divided by 48
      in place of 49, the default of scikit-image.
    border: "valid": places whose window lies in the picture, as scikit-image has it; "zeros": all places,
      zeros around, as much code for training has it.

  Returns:
    [n]: float64 of NumPy if both are arrays of NumPy, else of JAX; then it is differentiable.

  Raises:
    ValueError: unlike shapes, pictures smaller than the window, or an unknown window or border.

  Examples:
    >>> picture = np.random.default_rng(0).uniform(size=(1, 16, 16, 3))
    >>> ssim(picture, picture, data_range=1.0).round(6).tolist()
    [1.0]
  """
  luminance, structure = _maps(a, b, data_range, window, border)
  return (luminance * structure).mean(axis=(1, 2, 3))


def ms_ssim(a: Any, b: Any, *, data_range: float, scales: tuple[float, ...] = SCALES) -> Any:
  """Computes the structural similarity over several scales, each half the size of the one before.

  The product over scales of s^exponent, s the mean over places and channels of the second factor of `ssim`,
  on the coarsest scale of both factors; negative s count as 0. Scales are made by means of 2 x 2 places (an
  odd last row or column is dropped). With the gaussian window of `ssim`.

  Args:
    a: pictures [n, h, w, c]. Five scales need a side of at least 176 pixels, three of 44, two of 22.
    b: the same.
    data_range: as in `ssim`.
    scales: the exponents, the finest scale first.

  Returns:
    [n], as `ssim`.

  Raises:
    ValueError: unlike shapes, or pictures that are too small.

  Examples:
    >>> picture = np.random.default_rng(0).uniform(size=(1, 44, 44, 3))
    >>> ms_ssim(picture, 1 - picture, data_range=1.0, scales=(0.3, 0.4, 0.3)).tolist()
    [0.0]
  """
  a, b, xp = same_pictures(a, b, data_range)
  least = 11 * 2 ** (len(scales) - 1)
  if min(a.shape[1:3]) < least:
    raise ValueError(
      f"pictures of {a.shape[1]} x {a.shape[2]} are too small for {len(scales)} scales: they need {least}"
      " pixels a side; give fewer scales"
    )
  product = xp.ones(len(a), a.dtype)
  for i, exponent in enumerate(scales):
    luminance, structure = _maps(a, b, data_range, "gaussian", "valid")
    last = i == len(scales) - 1
    similarity = (luminance * structure if last else structure).mean(axis=(1, 2, 3))
    product = product * xp.maximum(similarity, 0.0) ** exponent
    if not last:
      a, b = _halved(a), _halved(b)
  return product


def _maps(a: Any, b: Any, data_range: float, window: str, border: str) -> tuple[Any, Any]:
  """The two factors of the similarity at each place, [n, places, c]."""
  choose("window", window, WINDOWS)
  choose("border", border, BORDERS)
  a, b, xp = same_pictures(a, b, data_range)
  weights = _weights(window)
  if border == "zeros":
    pad = len(weights) // 2
    a, b = (xp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))) for x in (a, b))
  if min(a.shape[1:3]) < len(weights):
    raise ValueError(
      f"pictures of {a.shape[1]} x {a.shape[2]} are smaller than the window, {len(weights)} pixels a side"
    )
  # All five at once: XLA compiles a gradient of many slices slowly.
  mean_a, mean_b, mean_aa, mean_bb, mean_ab = _smoothed(xp.stack([a, b, a * a, b * b, a * b]), weights)
  count = len(weights) ** 2
  unbiased = count / (count - 1) if window == "uniform" else 1.0
  var_a = unbiased * (mean_aa - mean_a**2)
  var_b = unbiased * (mean_bb - mean_b**2)
  covariance = unbiased * (mean_ab - mean_a * mean_b)
  c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
  luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
  return luminance, (2 * covariance + c2) / (var_a + var_b + c2)


def _weights(window: str) -> np.ndarray:
  """float64 [taps] of one axis; sum 1."""
  if window == "uniform":
    return np.full(7, 1 / 7)
  taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
  return taps / taps.sum()


def _smoothed(x: Any, weights: np.ndarray) -> Any:
  """Weighted means over windows that lie in x [k, n, h, w, c], axis after axis."""
  for axis in (2, 3):
    places = x.shape[axis] - len(weights) + 1
    slices = ((slice(None),) * axis + (slice(i, i + places),) for i in range(len(weights)))
    x = sum(float(weight) * x[part] for weight, part in zip(weights, slices, strict=True))
  return x


def _halved(x: Any) -> Any:
  n, height, width, channels = x.shape
  height, width = height // 2, width // 2
  x = x[:, : 2 * height, : 2 * width].reshape(n, height, 2, width, 2, channels)
  return x.mean(axis=(2, 4))
