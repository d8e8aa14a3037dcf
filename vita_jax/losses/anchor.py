"""What keeps weights or features near those that fine-tuning starts from; nothing here needs the old data.

`proxy_kl` of `vita_jax.losses.distil` does the same to outputs.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.base.tree import path_name
from vita_jax.losses.distil import squared_distance

Tree = Any


def l2_sp(params: Tree, start: Tree, *, select: str = "", importance: Tree = None) -> jax.Array:
  """Computes 1/2 sum_j F_j (w_j - w0_j)^2, a float32 scalar; no gradient reaches the start.

  With F = 1, the default, it is L2-SP (Li, Grandvalet and Davoine, ICML 2018); with the diagonal of a Fisher
  matrix, elastic weight consolidation (Kirkpatrick et al., PNAS 2017).

  Args:
    params: the weights.
    start: the weights that fine-tuning started from, a tree like it.
    select: a regular expression: only leaves whose '/'-joined path it finds; default: all.
    importance: F, a tree like the weights; default: ones.

  Raises:
    ValueError: trees or shapes that differ, or no leaf that `select` finds.

  Examples:
    >>> float(l2_sp({"a": jnp.array([1.0, 3.0])}, {"a": jnp.array([1.0, 1.0])}))
    2.0
  """
  _check_like("start", start, params)
  if importance is not None:
    _check_like("importance", importance, params)
  leaves = jax.tree_util.tree_leaves_with_path(params)
  weights = [1.0] * len(leaves) if importance is None else jax.tree.leaves(importance)
  found = [
    jnp.sum(jax.lax.stop_gradient(f) * jnp.square((w - jax.lax.stop_gradient(w0)).astype(jnp.float32)))
    for (path, w), w0, f in zip(leaves, jax.tree.leaves(start), weights, strict=True)
    if re.search(select, path_name(path))
  ]
  if not found:
    raise ValueError(f"select='{select}' finds none of the weights {', '.join(_names(params)[:4])}, ...")
  return 0.5 * jnp.sum(jnp.stack(found))


def feature_l2(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Computes the mean over images and channels of (pooled student - pooled teacher)^2, a scalar.

  No gradient reaches the teacher.

  Args:
    student: features [n, d], or maps [n, *spatial, d], which are first averaged over places.
    teacher: the same of the teacher.

  Raises:
    ValueError: unlike shapes after pooling.

  Examples:
    >>> float(feature_l2(jnp.ones((2, 3, 3, 4)), jnp.zeros((2, 4))))
    1.0
  """
  return squared_distance(*(jnp.mean(x, axis=tuple(range(1, x.ndim - 1))) for x in (student, teacher)))


class PathImportance(NamedTuple):
  """What synaptic intelligence gathers along training (Zenke, Poole and Ganguli, ICML 2017).

  Attributes:
    path: a tree like the weights: how much each of them has lowered the loss, -sum of g dw, float32.
    start: the weights at the beginning.
  """

  path: Tree
  start: Tree


def init_importance(params: Tree) -> PathImportance:
  """Returns zeros, and a copy of the weights to begin with, so that the weights themselves may be donated."""
  zeros = jax.tree.map(lambda w: jnp.zeros(jnp.shape(w), jnp.float32), params)
  return PathImportance(zeros, jax.tree.map(lambda w: jnp.array(w, copy=True), params))


def add_step(importance: PathImportance, gradients: Tree, updates: Tree) -> PathImportance:
  """Adds one step: path <- path - g dw, with the gradients of the task alone and the step that was taken."""
  path = jax.tree.map(lambda p, g, u: p - (g * u).astype(jnp.float32), importance.path, gradients, updates)
  return importance._replace(path=path)


def importance_of_path(importance: PathImportance, params: Tree, *, damping: float = 0.1) -> Tree:
  """Computes max(path, 0) / ((w - w0)^2 + damping), a tree like the weights: the `importance` of `l2_sp`.

  Raises:
    ValueError: a damping that is not above 0.

  Examples:
    >>> begun = init_importance({"a": jnp.array([1.0])})
    >>> moved = add_step(begun, {"a": jnp.array([-2.0])}, {"a": jnp.array([0.3])})
    >>> round(float(importance_of_path(moved, {"a": jnp.array([1.3])})["a"][0]), 4)  # 0.6 / (0.09 + 0.1)
    3.1579
  """
  if not damping > 0:
    raise ValueError(f"damping is {damping}: it must be a finite number, above 0")

  def one(path: jax.Array, start: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.maximum(path, 0.0) / (jnp.square((w - start).astype(jnp.float32)) + damping)

  return jax.tree.map(one, importance.path, importance.start, params)


def _names(tree: Tree) -> list[str]:
  return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _check_like(name: str, tree: Tree, params: Tree) -> None:
  if odd := set(_names(tree)) ^ set(_names(params)):
    raise ValueError(f"{name} is a tree unlike the weights: only one has '{min(odd)}'")
  for path, x, w in zip(_names(params), jax.tree.leaves(tree), jax.tree.leaves(params), strict=True):
    if jnp.shape(x) != jnp.shape(w):
      raise ValueError(f"{name} has '{path}' of shape {jnp.shape(x)}, the weights {jnp.shape(w)}")
