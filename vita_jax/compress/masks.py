"""Masks of a parameter tree: which leaves, applying them, rewinding, bits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.tree import path_name

Masks = Mapping[str, jax.Array]  # '/'-joined path -> bool array of the leaf's shape
KERNELS = r"(^|/)kernel$"


def name_of(path: tuple[Any, ...]) -> str:
  """Returns the '/'-joined path of a leaf; the value of a flax.nnx variable has the path of the variable.

  So a state of nnx has the same paths as its pure form, which optimizers see.
  """
  is_value = path and isinstance(path[-1], jax.tree_util.GetAttrKey) and path[-1].name == "value"
  return path_name(path[:-1] if is_value else path)


def leaves_by_path(tree: Any) -> dict[str, Any]:
  """Returns '/'-joined path -> leaf.

  Raises:
    ValueError: two leaves of one path, as of {"a/b": x, "a": {"b": y}}: no mask could tell them apart.
  """
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  found = {name_of(path): x for path, x in leaves}
  if len(found) < len(leaves):
    names = [name_of(path) for path, _ in leaves]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f"two weights have the path '{twice}': rename a key that contains '/' or is a number")
  return found


def chosen(params: Any, select: str) -> dict[str, Any]:
  """Returns the leaves whose path the regular expression finds, by path.

  Raises:
    ValueError: no leaf is found; one is a scalar or not of floats, which cannot be pruned; `select` is not a
      regular expression; or see `leaves_by_path`.
  """
  try:
    pattern = re.compile(select)
  except re.error as error:
    raise ValueError(f"select='{select}' is not a regular expression: {error}") from error
  leaves = leaves_by_path(params)
  found = {name: x for name, x in leaves.items() if pattern.search(name)}
  if not found:
    raise ValueError(f"select='{select}' finds none of the weights {', '.join(list(leaves)[:4])}, ...")
  for name, x in found.items():
    if jnp.ndim(x) == 0 or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
      what = "a scalar" if jnp.ndim(x) == 0 else f"of {jnp.result_type(x)}"
      raise ValueError(f"select='{select}' finds '{name}', which is {what}: only arrays of floats are pruned")
  return found


def full_masks(params: Any, *, select: str = KERNELS) -> dict[str, jax.Array]:
  """Makes masks of ones for the leaves that `select` finds: sparsity 0."""
  return {name: jnp.asarray(np.ones(x.shape, bool)) for name, x in chosen(params, select).items()}


def map_named(params: Any, named: Mapping[str, Any], fn: Callable[[Any, Any], Any]) -> Any:
  """Returns the tree with `fn(leaf, named[path])` for every path in `named`.

  Raises:
    ValueError: a path that the tree does not have, or another shape.
  """
  leaves = leaves_by_path(params)
  for name, x in named.items():
    if name not in leaves:
      raise ValueError(f"the mask of '{name}' has no weights: they are {', '.join(list(leaves)[:4])}, ...")
    if jnp.shape(x) != jnp.shape(leaves[name]):
      raise ValueError(f"the mask of '{name}' is {jnp.shape(x)}, its weights are {jnp.shape(leaves[name])}")

  def one(path: tuple[Any, ...], leaf: Any) -> Any:
    name = name_of(path)
    return fn(leaf, named[name]) if name in named else leaf

  return jax.tree_util.tree_map_with_path(one, params)


def apply_masks(params: Any, masks: Masks) -> Any:
  """Computes m * w: the tree with zeros where a mask is False. Inside a loss, gradients are masked likewise.

  A weight that is NaN or infinite is zero after it, too.

  Raises:
    ValueError: a mask that is not boolean, or see `map_named`.
  """
  for name, mask in masks.items():
    if jnp.result_type(mask) != jnp.bool_:
      raise ValueError(f"the mask of '{name}' is {jnp.result_type(mask)}: masks are boolean, True stays")
  return map_named(params, masks, _where)


def _where(x: Any, mask: Any) -> jax.Array:
  return jnp.where(mask, x, jnp.zeros((), x.dtype))


def rewind(params: Any, start: Any, *, select: str = "") -> Any:
  """Returns the tree with the leaves that `select` finds (default: all) taken from `start`, one like it."""
  pattern = re.compile(select)
  return jax.tree_util.tree_map_with_path(
    lambda path, x, old: old if pattern.search(name_of(path)) else x, params, start
  )


def sparsity(masks: Masks) -> float:
  """Computes the share of pruned weights among those that have a mask: a float, exact.

  Raises:
    ValueError: no weight has a mask.
  """
  total = sum(int(np.prod(jnp.shape(m))) for m in masks.values())
  if not total:
    raise ValueError("there are no masked weights: their sparsity is not defined")
  return 1.0 - sum(int(np.count_nonzero(np.asarray(m))) for m in masks.values()) / total


def pack(masks: Masks) -> dict[str, jax.Array]:
  """Packs eight weights into a byte along the last axis: bool [..., n] -> uint8 [..., ceil(n / 8)].

  Raises:
    ValueError: the mask of a scalar.
  """
  for name, mask in masks.items():
    if jnp.ndim(mask) == 0:
      raise ValueError(f"the mask of '{name}' is of a scalar: only arrays are pruned")
  return {name: jnp.packbits(m, axis=-1, bitorder="little") for name, m in masks.items()}


def unpack(packed: Mapping[str, jax.Array], params: Any) -> dict[str, jax.Array]:
  """Returns the masks that were packed; `params` is the tree that they belong to."""
  leaves = leaves_by_path(params)
  return {name: _unpacked(bits, leaves[name].shape) for name, bits in packed.items()}


def _unpacked(bits: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  if not bits.size:
    return jnp.zeros(shape, bool)
  return jnp.unpackbits(bits, axis=-1, count=shape[-1], bitorder="little").astype(bool)
