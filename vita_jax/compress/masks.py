"""Masks of a parameter tree: which leaves, applying them, masked optax training, rewinding, bits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.base.tree import path_name

Masks = Mapping[str, jax.Array]  # '/'-joined path -> bool array of the leaf's shape
KERNELS = r"(^|/)kernel$"


def chosen(params: Any, select: str) -> dict[str, Any]:
  """The leaves whose path the regular expression finds, by path.

  Raises:
    ValueError: no leaf is found, or `select` is no regular expression.
  """
  try:
    pattern = re.compile(select)
  except re.error as error:
    raise ValueError(f"select='{select}' is no regular expression: {error}") from error
  leaves = {path_name(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}
  found = {name: x for name, x in leaves.items() if pattern.search(name)}
  if not found:
    raise ValueError(f"select='{select}' finds none of the weights {', '.join(list(leaves)[:4])}, ...")
  return found


def full_masks(params: Any, *, select: str = KERNELS) -> dict[str, jax.Array]:
  """Masks of ones for the leaves that `select` finds: sparsity 0."""
  return {name: jnp.asarray(np.ones(x.shape, bool)) for name, x in chosen(params, select).items()}


def map_named(params: Any, named: Mapping[str, Any], fn: Callable[[Any, Any], Any]) -> Any:
  """The tree with `fn(leaf, named[path])` for every path in `named`.

  Raises:
    ValueError: a path that the tree does not have, or another shape.
  """
  shapes = {path_name(p): jnp.shape(x) for p, x in jax.tree_util.tree_leaves_with_path(params)}
  for name, x in named.items():
    if name not in shapes:
      raise ValueError(f"the mask of '{name}' has no weights: they are {', '.join(list(shapes)[:4])}, ...")
    if jnp.shape(x) != shapes[name]:
      raise ValueError(f"the mask of '{name}' is {jnp.shape(x)}, its weights are {shapes[name]}")

  def one(path, leaf):
    name = path_name(path)
    return fn(leaf, named[name]) if name in named else leaf

  return jax.tree_util.tree_map_with_path(one, params)


def apply_masks(params: Any, masks: Masks) -> Any:
  """m * w: the tree with zeros where a mask is False. Inside a loss, gradients are masked likewise."""
  return map_named(params, masks, lambda x, mask: jnp.where(mask, x, jnp.zeros((), x.dtype)))


def mask_gradients() -> optax.GradientTransformationExtraArgs:
  """An optax transformation that zeroes masked gradients: `update(grads, state, params, masks=masks)`.

  First in a chain, so that pruned weights do not count in a clipped norm and get no moments: what is zero
  stays zero (with decoupled weight decay, too). Training then costs a multiplication more than without a
  mask.
  """

  def update(updates, state, params=None, *, masks: Masks, **extra):
    del params, extra
    return apply_masks(updates, masks), state

  return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def rewind(params: Any, start: Any, *, select: str = "") -> Any:
  """The tree with the leaves that `select` finds (default: all) taken from `start`, a tree like it."""
  pattern = re.compile(select)
  return jax.tree_util.tree_map_with_path(
    lambda path, x, old: old if pattern.search(path_name(path)) else x, params, start
  )


def sparsity(masks: Masks) -> float:
  """The share of pruned weights among those that have a mask: a float, exact."""
  total = sum(int(np.prod(jnp.shape(m))) for m in masks.values())
  return 1.0 - sum(int(np.count_nonzero(np.asarray(m))) for m in masks.values()) / total


def pack(masks: Masks) -> dict[str, jax.Array]:
  """Eight weights a byte along the last axis: bool [..., n] -> uint8 [..., ceil(n / 8)]."""
  return {name: jnp.packbits(m, axis=-1, bitorder="little") for name, m in masks.items()}


def unpack(packed: Mapping[str, jax.Array], params: Any) -> dict[str, jax.Array]:
  """The masks that were packed; `params` is the tree that they belong to."""
  leaves = {path_name(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}
  return {
    name: jnp.unpackbits(x, axis=-1, count=leaves[name].shape[-1], bitorder="little").astype(bool)
    for name, x in packed.items()
  }
