"""Unstructured magnitude pruning: exactly as many weights as asked for, the smallest of all or of each array.

Outside jit the smallest are found on the host by numpy's partition, in one copy of the weights. Inside jit by
bisection on the integer view of |w|: counting passes that need no further memory and, over sharded weights,
one sum a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.compress.masks import KERNELS, Masks, chosen, full_masks

SCOPES = ("global", "layer")
SCHEDULES = ("linear", "geometric")


def magnitude_masks(
  params: Any, sparsity: float, *, scope: str = "global", select: str = KERNELS, masks: Masks | None = None
) -> dict[str, jax.Array]:
  """Makes masks that leave out the smallest weights.

  Args:
    params: any tree of float arrays, concrete or traced.
    sparsity: in [0, 1): round(sparsity * n) of the n chosen weights go.
    scope: "global" pools the weights of all chosen leaves; "layer" prunes each leaf by itself.
    select: regular expression on the '/'-joined path of a leaf: which leaves are pruned, and counted.
    masks: what is pruned already. It stays so, and counts.

  Returns:
    path -> bool array. Ties go by the order of paths and entries; magnitudes are compared as float32. Empty
    leaves have empty masks.

  Raises:
    ValueError: a sparsity outside [0, 1) or below that of `masks`, an unknown scope, no leaf chosen or one
      that cannot be pruned (see `chosen`), masks of other leaves, weights that are not finite. (Under jit
      values cannot raise: there NaN and infinity count as the largest weights, and stay.)
  """
  if not 0 <= sparsity < 1:
    raise ValueError(f"sparsity is {sparsity}: it must be in [0, 1)")
  choose("scope", scope, SCOPES)
  weights = chosen(params, select)
  if masks is None:
    masks = full_masks(params, select=select)
  elif other := sorted(set(masks) ^ set(weights)):
    raise ValueError(f"the masks are not of the chosen weights: they differ in '{other[0]}'")
  masks = dict(masks)
  groups = [list(weights)] if scope == "global" else [[name] for name in weights]
  for group in groups:
    size = sum(int(np.prod(weights[name].shape)) for name in group)
    gone = size - sum(count_kept(masks[name]) for name in group)
    more = round(sparsity * size) - gone
    if not isinstance(more, jax.core.Tracer) and more < 0:
      raise ValueError(f"sparsity {sparsity} is below that of the masks, {gone / size:.4g}")
    masks |= prune({name: weights[name] for name in group}, {name: masks[name] for name in group}, more)
  return masks


def prune(weights: Mapping[str, jax.Array], masks: Masks, n: int | jax.Array) -> dict[str, jax.Array]:
  """Removes the n smallest |w| of those that the masks still keep.

  Args:
    weights: path -> float array.
    masks: path -> bool array.
    n: how many more go, an int or a traced int32.

  Raises:
    ValueError: outside jit, a weight that is NaN or infinite: it has no magnitude.
  """
  for name, x in weights.items():
    if not isinstance(x, jax.core.Tracer) and not _all_finite(np.asarray(x)):
      raise ValueError(f"'{name}' has weights that are NaN or infinite: they have no magnitude to prune by")
  return smallest(weights, masks, n, score=_magnitude)


def _all_finite(x: np.ndarray) -> bool:
  """By the least and the largest value: np.isfinite takes as long as the pruning."""
  return not x.size or bool(np.isfinite(x.min()) and np.isfinite(x.max()))


def zeros_after(size: int, steps: int, *, schedule: str = "linear", rate: float = 0.1) -> tuple[int, ...]:
  """Counts how many of `size` weights are pruned after 0, 1, ... `steps` pruning steps.

  "linear" (the released code): each step takes `rate` of the original number, the last one what is left.
  "geometric" (Algorithm 1 of the paper): each takes `rate` of what is left.

  Raises:
    ValueError: an unknown schedule, a rate outside (0, 1), or more linear steps than there are.
  """
  choose("schedule", schedule, SCHEDULES)
  if not 0 < rate < 1:
    raise ValueError(f"the rate of pruning is {rate}: it must be in (0, 1)")
  if schedule == "linear":
    if steps > math.ceil(1 / rate):
      raise ValueError(f"{steps} steps of {rate:g} of the original weights are more than there are")
    return tuple(round(size * min(1.0, j * rate)) for j in range(steps + 1))
  zeros = [0]
  for _ in range(steps):
    zeros.append(zeros[-1] + round(rate * (size - zeros[-1])))
  return tuple(zeros)


def smallest(
  values: Mapping[str, jax.Array],
  masks: Masks,
  n: int | jax.Array,
  *,
  score: Callable[[jax.Array], jax.Array] = lambda x: x,
) -> dict[str, jax.Array]:
  """Makes masks without the n entries of the smallest `score(value)`, uint32, that they held."""
  names = list(values)
  traced = any(isinstance(x, jax.core.Tracer) for x in [n, *values.values(), *masks.values()])
  if not traced:
    return _smallest_on_host(values, masks, int(n), score)
  n, scores = jnp.asarray(n, jnp.int32), {k: score(x) for k, x in values.items()}

  def count(condition: Callable[[str], jax.Array]) -> jax.Array:
    """Over all leaves: int32, since float32 is exact only up to 16.7 million."""
    return jnp.asarray(sum(jnp.sum(masks[k] & condition(k), dtype=jnp.int32) for k in names))

  def set_bit(i, found):
    bit = found | (np.uint32(1) << (np.uint32(31) - i.astype(jnp.uint32)))
    return jnp.where(count(lambda k: scores[k] < bit) < n, bit, found)

  last = jax.lax.fori_loop(0, 32, set_bit, jnp.uint32(0))  # the n-th smallest score
  ties = n - count(lambda k: scores[k] < last)  # how many with just this score go, the first ones
  first_index, total = {}, 0
  for k in names:
    first_index[k], total = total, total + int(np.prod(scores[k].shape))

  def index(k: str) -> jax.Array:
    return first_index[k] + jnp.arange(scores[k].size, dtype=jnp.int32).reshape(scores[k].shape)

  all_go = count(lambda k: scores[k] == last) <= ties

  def halve(bounds):
    low, high = bounds
    middle = low + (high - low) // 2
    enough = count(lambda k: (scores[k] == last) & (index(k) < middle)) >= ties
    return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

  start = jnp.where(all_go, total, 0).astype(jnp.int32), jnp.int32(total)
  _, end = jax.lax.while_loop(lambda bounds: bounds[0] < bounds[1], halve, start)

  def goes(k: str) -> jax.Array:
    return (scores[k] < last) | ((scores[k] == last) & (index(k) < end))

  return {k: jnp.where(n > 0, masks[k] & ~goes(k), masks[k]) for k in names}


def _smallest_on_host(values, masks, n, score):
  held = {k: np.asarray(masks[k]) for k in values}
  if n == 0:
    return {k: jnp.asarray(x) for k, x in held.items()}
  pool = np.empty(sum(map(np.count_nonzero, held.values())), np.uint32)
  if n >= pool.size:
    return {k: jnp.zeros(x.shape, bool) for k, x in held.items()}
  filled = 0
  for k, x in values.items():  # scores are made twice rather than kept: memory is what runs out first
    part = np.asarray(score(x))[held[k]]
    pool[filled : filled + part.size] = part
    filled += part.size
  pool.partition(n - 1)
  last = pool[n - 1]
  ties = n - int(np.count_nonzero(pool[:n] < last))
  result = {}
  for k, x in values.items():
    scores = np.asarray(score(x))
    stays = held[k] & (scores > last)
    tied = np.flatnonzero(held[k] & (scores == last))
    stays.ravel()[tied[ties:]] = True
    ties -= min(ties, len(tied))
    result[k] = jnp.asarray(stays)
  return result


def count_kept(mask):
  """Counts the True entries: an int, or a traced int32."""
  traced = isinstance(mask, jax.core.Tracer)
  return jnp.sum(mask, dtype=jnp.int32) if traced else int(np.count_nonzero(np.asarray(mask)))


def _magnitude(x):
  """|x| as uint32: the bits of non-negative float32 numbers are in the order of the numbers."""
  if isinstance(x, jax.core.Tracer):
    return jax.lax.bitcast_convert_type(jnp.abs(x.astype(jnp.float32)), jnp.uint32)
  return np.abs(np.asarray(x, np.float32)).view(np.uint32)
