"""The controls of a ticket: masks of the same size at random, and the same mask on shuffled weights."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.compress.magnitude import count_kept, smallest
from vita_jax.compress.masks import KERNELS, Masks, chosen, full_masks, map_named


def random_masks(
  key: jax.Array, params: Any, sparsity: float, *, select: str = KERNELS, like: Masks | None = None
) -> dict[str, jax.Array]:
  """Draws masks with exactly round(sparsity * n) zeros, uniformly.

  Args:
    key: PRNG key.
    params: any tree of arrays.
    sparsity: in [0, 1).
    select: which leaves, as in `magnitude_masks`.
    like: None: one draw over all leaves together; else masks whose number of zeros in each leaf is copied
      ("layerwise matched", the fairer control), and `sparsity` is not read.

  Raises:
    ValueError: a sparsity outside [0, 1), no leaf chosen, `like` of other leaves.
  """
  if not 0 <= sparsity < 1:
    raise ValueError(f"sparsity is {sparsity}: it must be in [0, 1)")
  weights = chosen(params, select)
  keys = [jax.random.fold_in(key, i) for i in range(len(weights))]
  scores = {
    name: jax.random.bits(k, x.shape, jnp.uint32) for k, (name, x) in zip(keys, weights.items(), strict=True)
  }
  masks = full_masks(params, select=select)
  if like is None:
    return smallest(scores, masks, round(sparsity * sum(x.size for x in scores.values())))
  if other := sorted(set(like) ^ set(scores)):
    raise ValueError(f"the masks in `like` are not of the chosen weights: they differ in '{other[0]}'")
  return {
    name: smallest({name: scores[name]}, {name: masks[name]}, like[name].size - count_kept(like[name]))[name]
    for name in scores
  }


def shuffle_entries(key: jax.Array, params: Any, *, select: str = KERNELS) -> Any:
  """Permutes the entries of each chosen array among themselves; returns the tree.

  Args:
    key: of the permutations.
    params: any tree of arrays.
    select: regular expression of the paths that are chosen.
  """
  weights = chosen(params, select)
  shuffled = {
    name: jax.random.permutation(jax.random.fold_in(key, i), x.ravel()).reshape(x.shape)
    for i, (name, x) in enumerate(weights.items())
  }
  return map_named(params, shuffled, _new)


def shuffle_layers(key: jax.Array, params: Any, *, select: str, layer: str = r"layer_(\d+)") -> Any:
  """Moves the chosen arrays of each layer, as one block, to another layer; returns the tree.

  One permutation of the layers, as in the released code, drawn uniformly; should it be the identity (one in
  six for three layers, and no control at all), each layer takes the arrays of the next.

  Args:
    key: PRNG key.
    params: any tree.
    select: which arrays move; those without a layer in their path stay.
    layer: regular expression whose group is the number of a layer.

  Raises:
    ValueError: fewer than two layers, or layers that do not have the same arrays.
  """
  weights = chosen(params, select)
  by_place: dict[str, dict[int, str]] = {}
  for name in weights:
    if match := re.search(layer, name):
      place = name[: match.start(1)] + "*" + name[match.end(1) :]
      by_place.setdefault(place, {})[int(match[1])] = name
  numbers = sorted({number for place in by_place.values() for number in place})
  if len(numbers) < 2 or any(sorted(place) != numbers for place in by_place.values()):
    raise ValueError("layers can be shuffled where there are two or more with the same arrays")
  order = jax.random.permutation(key, len(numbers))
  same = jnp.all(order == np.arange(len(numbers)))
  order = jnp.where(same, jnp.roll(order, 1), order)
  moved: dict[str, jax.Array] = {}
  for layers in by_place.values():
    stacked = jnp.stack([weights[layers[number]] for number in numbers])
    moved |= {layers[number]: stacked[order[i]] for i, number in enumerate(numbers)}
  return map_named(params, moved, _new)


def _new(old: Any, new: Any) -> Any:
  del old
  return new
