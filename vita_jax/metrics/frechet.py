"""Fréchet distance of two sets of features, each taken as a normal distribution. Host code, float64.

A distance is named after the features it is computed on, e.g. `frechet_efficientnet_lite0`. Only that of
Inception-v3's pool3 features is the FID of Heusel et al. (NeurIPS 2017); there are no such features here.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
  """What is kept of a set of features.

  Attributes:
    mean: float64 [d].
    covariance: float64 [d, d], of n - 1.
    rows: n, how many there were.
  """

  mean: np.ndarray
  covariance: np.ndarray
  rows: int


def feature_moments(features: np.ndarray) -> Moments:
  """Computes mean and covariance of features [n, d].

  Raises:
    ValueError: fewer than two rows, or numbers that are not finite.

  Examples:
    >>> feature_moments(np.array([[0.0, 1.0], [2.0, 1.0]])).covariance.tolist()
    [[2.0, 0.0], [0.0, 0.0]]
  """
  features = checked_features(features)
  centred = features - features.mean(axis=0)
  return Moments(features.mean(axis=0), centred.T @ centred / (len(features) - 1), len(features))


def frechet_distance(
  mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
  """Computes |m_a - m_b|^2 + tr A + tr B - 2 tr (A B)^(1/2) of two normal distributions (a square: no root).

  tr (A B)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric A^(1/2) B A^(1/2), which
  are those of A B: no square root of an unsymmetric matrix, no offset on singular ones.

  Args:
    mean_a: [d].
    covariance_a: [d, d], symmetric and positive semidefinite.
    mean_b: [d].
    covariance_b: [d, d].

  Raises:
    ValueError: shapes that do not fit together.

  Examples:
    >>> frechet_distance(np.zeros(3), np.eye(3), np.array([1.0, 2.0, 2.0]), np.eye(3))
    9.0
  """
  mean_a, a, mean_b, b = (np.asarray(x, np.float64) for x in (mean_a, covariance_a, mean_b, covariance_b))
  shapes = mean_a.shape, a.shape, mean_b.shape, b.shape
  if mean_a.ndim != 1 or shapes != (mean_a.shape, 2 * mean_a.shape, mean_a.shape, 2 * mean_a.shape):
    raise ValueError(f"mean and covariance must be [d] and [d, d] of one d, they are {shapes}")
  values, vectors = np.linalg.eigh(a)
  root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
  product = root @ b @ root
  overlap = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0.0)).sum()
  return float(np.sum((mean_a - mean_b) ** 2) + np.trace(a) + np.trace(b) - 2 * overlap)


def frechet_of_features(a: np.ndarray, b: np.ndarray) -> float:
  """Computes the `frechet_distance` of two sets of features, [n, d] and [m, d].

  With fewer rows than features the same number comes from the features themselves, without the error that
  the eigenvalues of singular matrices bring: for centred rows X / sqrt(n - 1) and Y / sqrt(m - 1), the trace
  of (A B)^(1/2) is the sum of the singular values of X Y^T.

  It is biased: finite sets of one distribution have a distance above 0, the more the fewer they are. Compare
  sets of equal numbers only, and see `kernel_distance`, which has no bias.

  Raises:
    ValueError: unlike numbers of features, fewer than two rows, or numbers that are not finite.

  Warns:
    RuntimeWarning: a set with at most as many rows as features: its covariance is singular.

  Examples:
    >>> rows = np.array([[0.0], [2.0], [4.0]])
    >>> frechet_of_features(rows, rows + 3.0)
    9.0
  """
  a, b = checked_features(a), checked_features(b)
  check_alike(a, b)
  if min(len(a), len(b)) > a.shape[1]:
    one, other = feature_moments(a), feature_moments(b)
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)
  warnings.warn(
    f"Fréchet distance of {len(a)} and {len(b)} rows of {a.shape[1]} features: a covariance of so few rows"
    " is singular, and the distance biased upwards; compare equal numbers only, or use kernel_distance",
    RuntimeWarning,
    stacklevel=2,
  )
  mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
  x, y = (a - mean_a) / np.sqrt(len(a) - 1), (b - mean_b) / np.sqrt(len(b) - 1)
  overlap = np.linalg.svd(x @ y.T, compute_uv=False).sum()
  return float(np.sum((mean_a - mean_b) ** 2) + np.sum(x * x) + np.sum(y * y) - 2 * overlap)


def checked_features(features: np.ndarray) -> np.ndarray:
  """Returns features as float64 [n, d].

  Raises:
    ValueError: another number of axes, fewer than two rows, or numbers that are not finite.
  """
  features = np.asarray(features, np.float64)
  if features.ndim != 2 or len(features) < 2:
    raise ValueError(f"features must be [n, d] with at least two rows, they are {list(features.shape)}")
  if not np.isfinite(features).all():
    rows = int((~np.isfinite(features)).any(axis=1).sum())
    raise ValueError(f"{rows} of {len(features)} rows of features are not finite")
  return features


def check_alike(a: np.ndarray, b: np.ndarray) -> None:
  """Checks that two sets have the same number of features.

  Raises:
    ValueError: they do not.
  """
  if a.shape[1] != b.shape[1]:
    raise ValueError(f"the sets have {a.shape[1]} and {b.shape[1]} features: take both from one network")
