"""Kernel distance of two sets of features: the squared maximum mean discrepancy. Host code, float64.

The kernel is the polynomial (x . y / d + 1)^3 of Binkowski et al. (Demystifying MMD GANs, ICLR 2018). On
Inception-v3's features it is their KID; name it after the features that it is computed on. Of independent
sets it has no bias: sets of unlike sizes may be compared, and two of one distribution differ by 0 in the
mean, so that single values may be below 0. Where the sets are pairs, such as pictures and the targets of the
same photographs, partners are alike and pull it down: take `paired_kernel_distance`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from vita_jax.metrics.frechet import check_alike, checked_features


class KernelDistance(NamedTuple):
  """A distance with how sure it is.

  Attributes:
    distance: the unbiased estimate; may be below 0.
    error: its standard error over rows.
  """

  distance: float
  error: float


def polynomial_kernel(a: np.ndarray, b: np.ndarray, *, degree: int = 3, offset: float = 1.0) -> np.ndarray:
  """Computes (x . y / d + offset)^degree of all pairs of rows: [n, d] and [m, d] -> float64 [n, m].

  Examples:
    >>> polynomial_kernel(np.ones((1, 4)), np.ones((2, 4))).tolist()
    [[8.0, 8.0]]
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return (a @ b.T / a.shape[1] + offset) ** degree


def kernel_distance(a: np.ndarray, b: np.ndarray, *, degree: int = 3, offset: float = 1.0) -> KernelDistance:
  """Computes the unbiased squared discrepancy of two sets of features, and its standard error.

      sum_{i != j} k(x_i, x_j) / (n (n - 1)) + sum_{i != j} k(y_i, y_j) / (m (m - 1)) - 2 mean k(x_i, y_j)

  The standard error is the jackknife's: from the distances with one row left out, of each set in turn. The
  (n + m)^2 kernels are held at once: of more than about 10,000 rows take `kernel_distance_subsets`.

  Args:
    a: features [n, d], n at least 3.
    b: features [m, d], m at least 3.
    degree: of the kernel.
    offset: of the kernel.

  Raises:
    ValueError: unlike numbers of features, fewer than three rows, or numbers that are not finite.

  Examples:
    >>> rows = np.random.default_rng(0).normal(size=(2, 200, 8))
    >>> found = kernel_distance(rows[0], rows[1] + 0.5)
    >>> found.distance > 4 * found.error > 0
    True
  """
  a, b = checked_features(a), checked_features(b)
  check_alike(a, b)
  if min(len(a), len(b)) < 3:
    raise ValueError(f"a kernel distance needs at least 3 rows of each set, they have {len(a)} and {len(b)}")
  kernel = functools.partial(polynomial_kernel, degree=degree, offset=offset)
  within_a, within_b = (
    _others(kernel(a, a)),
    _others(kernel(b, b)),
  )
  across = kernel(a, b)
  distance = _mean_pairs(within_a) + _mean_pairs(within_b) - 2 * across.mean()
  left_out_a = _without_each(within_a) + _mean_pairs(within_b) - 2 * _means_without_each(across)
  left_out_b = _without_each(within_b) + _mean_pairs(within_a) - 2 * _means_without_each(across.T)
  variance = sum((len(x) - 1) / len(x) * np.sum((x - x.mean()) ** 2) for x in (left_out_a, left_out_b))
  return KernelDistance(float(distance), float(np.sqrt(variance)))


def paired_kernel_distance(
  a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None, *, degree: int = 3, offset: float = 1.0
) -> KernelDistance:
  """Computes the unbiased squared discrepancy of two sets of features whose rows belong together.

      mean over i, j of unlike groups: k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)

  the statistic of Gretton et al. (JMLR 2012, Lemma 6) with every pair of rows of one group left out. So it is
  0 for equal sets, and has no bias whatever partners, and rows of one group, have in common. The standard
  error is the jackknife's over groups.

  Args:
    a: features [n, d].
    b: features [n, d]; row i is the partner of row i of a.
    groups: [n], what rows depend on each other by, e.g. the photograph that a crop is of; None: each pair is
      a group of its own.
    degree: of the kernel.
    offset: of the kernel.

  Raises:
    ValueError: unlike numbers of rows or features, fewer than three groups, or numbers that are not finite.

  Examples:
    >>> rows = np.random.default_rng(0).normal(size=(200, 8))
    >>> paired_kernel_distance(rows, rows).distance, paired_kernel_distance(rows, rows + 0.5).distance > 0.1
    (0.0, True)
  """
  a, b = checked_features(a), checked_features(b)
  check_alike(a, b)
  if len(a) != len(b):
    raise ValueError(f"{len(a)} and {len(b)} rows are no pairs: give as many, or take kernel_distance")
  groups = np.arange(len(a)) if groups is None else np.asarray(groups)
  if groups.shape != (len(a),):
    raise ValueError(f"there are {groups.size} groups for {len(a)} rows: give each row its group")
  names, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
  if len(names) < 3:
    raise ValueError(f"a paired kernel distance needs at least 3 groups, there are {len(names)}")
  kernel = functools.partial(polynomial_kernel, degree=degree, offset=offset)
  across = kernel(a, b)
  parts = np.where(place[:, None] == place, 0.0, kernel(a, a) + kernel(b, b) - across - across.T)
  total, count = parts.sum(), len(a) ** 2 - np.sum(sizes**2)
  own = np.bincount(place, weights=parts.sum(axis=1))
  left_out = (total - 2 * own) / (count - 2 * sizes * (len(a) - sizes))
  n = len(names)
  variance = (n - 1) / n * np.sum((left_out - left_out.mean()) ** 2)
  return KernelDistance(float(total / count), float(np.sqrt(variance)))


def kernel_distance_subsets(
  a: np.ndarray,
  b: np.ndarray,
  *,
  size: int,
  subsets: int = 100,
  seed: int = 0,
  degree: int = 3,
  offset: float = 1.0,
) -> np.ndarray:
  """Computes the distance on random subsets of both sets; their mean and deviation are what KID is told by.

  The deviation tells how much one subset of this size varies, not how sure the mean is: the subsets share
  rows. For that see `kernel_distance`.

  Args:
    a: features [n, d].
    b: features [m, d].
    size: rows of each subset, drawn without replacement, from each set.
    subsets: how many.
    seed: of the draw.
    degree: of the kernel.
    offset: of the kernel.

  Returns:
    float64 [subsets].

  Raises:
    ValueError: as in `kernel_distance`, or a size of less than 2 or more than the rows.

  Examples:
    >>> rows = np.random.default_rng(0).normal(size=(2, 50, 8))
    >>> kernel_distance_subsets(rows[0], rows[1], size=20, subsets=5).shape
    (5,)
  """
  a, b = checked_features(a), checked_features(b)
  check_alike(a, b)
  if not 2 <= size <= min(len(a), len(b)):
    raise ValueError(
      f"size is {size}: it must be from 2 to the rows of the smaller set, {min(len(a), len(b))}"
    )
  rng = np.random.default_rng(seed)
  kernel = functools.partial(polynomial_kernel, degree=degree, offset=offset)
  found = np.empty(subsets)
  for i in range(subsets):
    x, y = a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)]
    within = _mean_pairs(_others(kernel(x, x))) + _mean_pairs(_others(kernel(y, y)))
    found[i] = within - 2 * kernel(x, y).mean()
  return found


def _others(kernel: np.ndarray) -> np.ndarray:
  """The kernel of a set with itself, without that of each row with itself."""
  np.fill_diagonal(kernel, 0.0)
  return kernel


def _mean_pairs(within: np.ndarray) -> float:
  n = len(within)
  return float(within.sum()) / (n * (n - 1))


def _without_each(within: np.ndarray) -> np.ndarray:
  """`_mean_pairs` without row i, for each i."""
  n = len(within)
  return (within.sum() - 2 * within.sum(axis=1)) / ((n - 1) * (n - 2))


def _means_without_each(across: np.ndarray) -> np.ndarray:
  """The mean without row i, for each i."""
  n, m = across.shape
  return (across.sum() - across.sum(axis=1)) / ((n - 1) * m)
