"""Colour-histogram matching: each channel through one curve, so that its values are spread as in another set.

A baseline for style transfer: what can be had by recolouring alone. Learn the curves on training pictures,
`histogram_curves(photos, paintings)`, and apply them to held-out ones; matching a picture to its own target
would see the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def histogram_curves(sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> np.ndarray:
  """Computes the curves that lead the values of one set of pictures to those of another.

  Value v of a channel goes to the value of the targets that has the same share of pixels at or below it,
  between two values linearly (as scikit-image's `match_histograms` does it for two pictures).

  Args:
    sources: pictures, uint8 [h, w, c] of any sizes.
    targets: the same.

  Returns:
    float64 [256, c]; values that no source pixel has are interpolated in share, as all are.

  Raises:
    ValueError: no pictures, others than uint8 [h, w, c], or unlike numbers of channels.

  Examples:
    >>> dark, bright = np.full((2, 2, 3), 10, np.uint8), np.full((2, 2, 3), 200, np.uint8)
    >>> histogram_curves([dark], [bright])[10].tolist()
    [200.0, 200.0, 200.0]
  """
  counted = [_counts(pictures) for pictures in (sources, targets)]
  if counted[0].shape != counted[1].shape:
    raise ValueError(f"the sets have {counted[0].shape[1]} and {counted[1].shape[1]} channels")
  curves = []
  for source, target in zip(counted[0].T, counted[1].T, strict=True):
    values = np.flatnonzero(target)
    shares = np.cumsum(target[values]) / target.sum()
    curves.append(np.interp(np.cumsum(source) / source.sum(), shares, values))
  return np.stack(curves, axis=1)


def apply_curves(curves: np.ndarray, picture: np.ndarray) -> np.ndarray:
  """Returns a picture, uint8 [..., h, w, c], with every value led through the curve of its channel, rounded.

  Args:
    curves: float [256, c], from `histogram_curves`.
    picture: uint8 [..., c].

  Raises:
    ValueError: another dtype, or another number of channels.

  Examples:
    >>> negative = np.repeat(255.0 - np.arange(256)[:, None], 3, axis=1)
    >>> apply_curves(negative, np.array([[[0, 100, 255]]], np.uint8)).tolist()
    [[[255, 155, 0]]]
  """
  if picture.dtype != np.uint8 or picture.shape[-1] != curves.shape[1]:
    raise ValueError(
      f"curves of {curves.shape[1]} channels take uint8 [..., {curves.shape[1]}], this is {picture.dtype}"
      f" {list(picture.shape)}"
    )
  table = np.round(np.clip(curves, 0, 255)).astype(np.uint8)
  return np.stack([table[picture[..., i], i] for i in range(curves.shape[1])], axis=-1)


def _counts(pictures: Sequence[np.ndarray]) -> np.ndarray:
  """How many pixels have each value: int [256, c]."""
  if not len(pictures):
    raise ValueError("there are no pictures whose histogram could be taken")
  total: np.ndarray | int = 0
  for picture in pictures:
    if picture.dtype != np.uint8 or picture.ndim != 3:
      raise ValueError(f"pictures must be uint8 [h, w, c], one is {picture.dtype} {list(picture.shape)}")
    found = [np.bincount(picture[..., i].ravel(), minlength=256) for i in range(picture.shape[-1])]
    total = total + np.stack(found, axis=1)
  return np.asarray(total)
