"""The rows of a representation: scaled without loss, and which of them are the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.tables import without_offset

ROUNDING = 8 * np.finfo(np.float64).eps  # relative; a column that varies by no more is constant
MOST_POWER = 1100  # of two, over any of float64
NEAR = 1e-6  # Euclidean distance of standardised rows below which they are one record
LEAST_RECORDS = 50  # distinct rows: of fewer, a test part (a fifth) would have under ten
LARGEST_GROUP = 20  # rows: that many equal ones are one record, however few others there are
LARGEST_SHARE = 0.1  # of all rows: a larger group would be half of a test part


class Inputs(NamedTuple):
  """What attackers read: the same rows, scaled in three ways, [n, m] each.

  Attributes:
    exact: float64, every column centred and of unit variance. Trees read it: they compare values only.
    standardised: the same in float32.
    raw: float32, every column centred, and one scale for all: columns keep their sizes beside each other.
  """

  exact: np.ndarray
  standardised: np.ndarray
  raw: np.ndarray


def check_matrix(z: Any) -> np.ndarray:
  """Returns a representation as float64 [n, m]; nothing is rounded before it is centred.

  Of whole numbers far from zero each column is counted from its least value.

  Raises:
    ValueError: not a matrix of finite numbers.
  """
  z = np.asarray(z)
  if z.dtype.kind not in "iufb" or z.ndim != 2 or not np.isfinite(z).all():
    raise ValueError(
      f"a representation must be a finite matrix [rows, width], found the shape {z.shape} of {z.dtype}"
    )
  return without_offset(z)[0]


def scale(z: np.ndarray, rows: np.ndarray | None = None) -> Inputs:
  """Centres and scales in float64, before anything is cast to float32.

  Args:
    z: float64 [n, m].
    rows: whose means and standard deviations are taken; None: all.
  """
  known = z if rows is None else z[rows]
  # A power of two per column changes no digit, and keeps sums and squares of any numbers finite.
  size = np.frexp(np.abs(known).max(axis=0, initial=0.0))[1]
  z, known = np.ldexp(z, -size), np.ldexp(known, -size)
  centre = known.mean(axis=0)
  deviation = (known - centre).std(axis=0)
  constant = deviation <= ROUNDING * np.abs(known).max(axis=0, initial=0.0)
  centred = np.where(constant, 0.0, z - centre)
  exact = centred / np.where(constant, 1.0, deviation)
  # Of the raw columns, too, the largest has the size 1: `beside` is each one's power of two beside it.
  beside = size - size[~constant].max(initial=-MOST_POWER)
  largest = max(
    np.where(constant, 0.0, np.ldexp(deviation, beside)).max(initial=0.0), np.finfo(np.float64).tiny
  )
  return Inputs(exact, exact.astype(np.float32), (np.ldexp(centred, beside) / largest).astype(np.float32))


def same_rows(x: np.ndarray, *, distance: float = NEAR) -> np.ndarray:
  """Numbers groups of rows that are equal or nearly so; int32 [n], counted from 0.

  A group is a row and the later rows that are closer to it than `distance` and in no group yet: rows are
  not chained, so that a group never extends beyond `distance` from its first row.

  Args:
    x: float64 [n, m], standardised.
    distance: Euclidean.
  """
  _, first, inverse = np.unique(x, axis=0, return_index=True, return_inverse=True)
  inverse = inverse.reshape(-1)
  distinct = x[first]
  # Rows that are close are close along any direction: only neighbours along one are compared.
  direction = np.random.default_rng(0).normal(size=x.shape[1])
  along = distinct @ (direction / np.linalg.norm(direction))
  order = np.argsort(along, kind="stable")
  near: dict[int, list[int]] = {}
  for step in range(1, len(order)):
    (close,) = np.nonzero(along[order[step:]] - along[order[:-step]] < distance)
    if not len(close):
      break
    one, other = order[close], order[close + step]
    hit = np.linalg.norm(distinct[one] - distinct[other], axis=1) < distance
    for a, b in zip(one[hit].tolist(), other[hit].tolist(), strict=True):
      near.setdefault(a, []).append(b)
      near.setdefault(b, []).append(a)
  group = np.full(len(distinct), -1)
  for place in np.argsort(first).tolist():
    if group[place] < 0:
      group[place] = place
      for neighbour in near.get(place, ()):
        if group[neighbour] < 0:
          group[neighbour] = place
  return np.unique(group[inverse], return_inverse=True)[1].astype(np.int32)


def record_groups(x: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
  """Groups rows that are one record, as far as the rows can tell.

  Equal rows are taken apart only where too few distinct ones would remain to split: if there are fewer than
  50 distinct rows, groups of more than 20; and any group of more than 20 rows and a tenth of all. These are
  values of a representation that has few: on one side, no attacker could learn what they tell. But attackers
  may then know records that they are asked about: what they find is an upper figure.

  Args:
    x: float64 [n, m], standardised.

  Returns:
    Groups int32 [n], counted from 0; and `rows` and `groups` that are together, the rows of the `largest` of
    these groups, and `rows_apart` of values.
  """
  groups = same_rows(x)
  sizes = np.bincount(groups)
  too_large = LARGEST_GROUP if len(sizes) < LEAST_RECORDS else max(LARGEST_GROUP, LARGEST_SHARE * len(x))
  large = (sizes > too_large)[groups]
  together = (sizes[groups] > 1) & ~large
  told = {
    "rows": int(together.sum()),
    "groups": len(np.unique(groups[together])),
    "largest": int(sizes[groups[together]].max(initial=1)),
    "rows_apart": int(large.sum()),
  }
  alone = np.where(large, len(sizes) + np.arange(len(x)), groups)
  return np.unique(alone, return_inverse=True)[1].astype(np.int32), told
