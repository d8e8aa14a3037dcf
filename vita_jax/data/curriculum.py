"""A curriculum over pairs: which partners a row may be given, from near ones to far ones or the other way.

For any rows and any distance. The table of candidates is made once on the host; a step draws from it with
static shapes, so that the pace, a traced number, never compiles anything again:

    table = candidates(np.random.default_rng(0), poses, 32, distance=pose_distance)
    share = pacing("easy_to_hard", t / steps)
    partner = draw(key, table, rows, share, kind="easy_to_hard")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose

KINDS = ("random", "easy_to_hard", "anti", "static")
START, FULL = 0.2, 0.5  # the share that is allowed at first, and the progress at which all are
STEPS = (0.1, 0.2, 0.3, 1.0)  # thresholds of the distance, a quarter of the run each


class Candidates(NamedTuple):
  """Partners of each row, by rising distance.

  Attributes:
    index: int32 [N, K], rows; never the row itself.
    distance: float32 [N, K].
  """

  index: Any
  distance: Any


def candidates(
  rng: np.random.Generator,
  rows: Any,
  k: int,
  *,
  distance: Callable[[Any, Any], Any],
  groups: np.ndarray | None = None,
) -> Candidates:
  """Draws k partners for each row, and sorts them by their distance.

  Args:
    rng: of what is drawn.
    rows: [N, ...], what the distance compares.
    k: partners of a row, without repetition.
    distance: `distance(a [m, 1, ...], b [m, K, ...]) -> [m, K]`.
    groups: [N]: partners are of the same group, e.g. the identity; None: all rows are one group.

  Returns:
    Candidates of NumPy.

  Raises:
    ValueError: a group of k rows or fewer; a distance that is not finite.

  Examples:
    >>> found = candidates(
    ...   np.random.default_rng(0), np.arange(5.0), 3, distance=lambda a, b: np.abs(a - b)
    ... )
    >>> found.index.shape, bool((np.diff(found.distance) >= 0).all())
    ((5, 3), True)
  """
  values = np.asarray(rows)
  groups = np.zeros(len(values), np.int64) if groups is None else np.asarray(groups)
  index = np.empty((len(values), k), np.int32)
  for group in np.unique(groups):
    members = np.flatnonzero(groups == group)
    if not 1 <= k < len(members):
      raise ValueError(
        f"{k} partners for each of {len(members)} rows of group {group}: give at least 1 and fewer than there"
        " are rows"
      )
    for i, row in enumerate(members):
      drawn = rng.choice(len(members) - 1, k, replace=False)
      index[row] = members[drawn + (drawn >= i)]  # all but the row itself
  found = np.concatenate(
    [
      np.asarray(distance(values[i : i + 1024, None], values[index[i : i + 1024]]))
      for i in range(0, len(values), 1024)
    ]
  ).astype(np.float32)
  if not np.isfinite(found).all():
    raise ValueError(f"the distance of row {int(np.argmin(np.isfinite(found).all(axis=1)))} is not finite")
  order = np.argsort(found, axis=1, kind="stable")
  return Candidates(np.take_along_axis(index, order, axis=1), np.take_along_axis(found, order, axis=1))


def pacing(kind: str, progress: Any, *, start: float = START, full: float = FULL) -> jax.Array:
  """Returns the share of the candidates that may be drawn: min(1, start + (1 - start) progress / full).

  Of "random" it is 1, of "static" it stays `start`.

  Args:
    kind: one of `KINDS`.
    progress: from 0 to 1 of the run, e.g. t / steps.
    start: share at progress 0.
    full: progress at which the share is 1.

  Raises:
    ValueError: an unknown kind.

  Examples:
    >>> [round(float(pacing("easy_to_hard", p)), 3) for p in (0.0, 0.25, 0.5, 1.0)]
    [0.2, 0.6, 1.0, 1.0]
  """
  choose("curriculum", kind, KINDS)
  progress = jnp.asarray(progress, jnp.float32)
  if kind == "random":
    return jnp.ones_like(progress)
  if kind == "static":
    return jnp.full_like(progress, start)
  return jnp.minimum(1.0, start + (1 - start) * progress / full)


def share_within(table: Candidates, rows: jax.Array, limit: Any) -> jax.Array:
  """Returns the share of each row's candidates that are at most `limit` away, one candidate at least."""
  near = jnp.sum(jnp.asarray(table.distance)[rows] <= limit, axis=-1)
  return jnp.maximum(near, 1) / table.distance.shape[1]


def limit_at(progress: Any, *, limits: tuple[float, ...] = STEPS) -> jax.Array:
  """Returns the distance that is allowed at a progress from 0 to 1: `limits` for equal parts of the run."""
  part = jnp.floor(jnp.asarray(progress, jnp.float32) * len(limits)).astype(jnp.int32)
  return jnp.asarray(limits, jnp.float32)[jnp.clip(part, 0, len(limits) - 1)]


def draw(key: jax.Array, table: Candidates, rows: jax.Array, share: Any, *, kind: str) -> jax.Array:
  """Draws a partner for each row, uniform among the nearest ceil(share K) candidates ("anti": the farthest).

  Args:
    key: of what is drawn.
    table: of `candidates`.
    rows: int [n].
    share: of `pacing`, or [n] of `share_within`; in (0, 1].
    kind: one of `KINDS`.

  Returns:
    int32 [n].

  Raises:
    ValueError: an unknown kind.
  """
  choose("curriculum", kind, KINDS)
  index = jnp.asarray(table.index)
  count = index.shape[1]
  allowed = jnp.clip(jnp.ceil(jnp.asarray(share) * count - 1e-4), 1, count)  # 0.2 * 5 is a little above 1
  column = jnp.floor(jax.random.uniform(key, rows.shape) * allowed).astype(jnp.int32)
  column = jnp.minimum(column, allowed.astype(jnp.int32) - 1)  # float32 may round up to it
  return index[rows, count - 1 - column if kind == "anti" else column]
