"""Explicit transfers between the host and the devices of a mesh, which may belong to several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P


def put(x: Any, sharding: NamedSharding) -> jax.Array:
  """A host array that every process has alike as an array with this sharding.

  Each process sends what its own devices hold; nothing is compared or sent between processes.
  """
  if sharding.is_fully_addressable:
    return jax.device_put(x, sharding)
  x = np.asarray(x)
  return _from_blocks(x.shape, sharding, lambda index: x[index])


def local_part(sharding: NamedSharding, shape: tuple[int, ...]) -> tuple[slice, ...]:
  """The smallest block of an array [*shape] that holds all that this process's devices need of it."""
  indices = sharding.addressable_devices_indices_map(shape).values()
  bounds = [
    [part.indices(length)[:2] for part, length in zip(index or (), shape, strict=True)] for index in indices
  ]
  return tuple(slice(min(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*bounds, strict=True))


def put_rows(tree: Any, sharding: NamedSharding, shape: tuple[int, ...]) -> Any:
  """Arrays of rows [*shape, ...] with this sharding, from this process's `local_part` of them."""
  if sharding.is_fully_addressable:
    return jax.device_put(tree, sharding)
  offsets = [part.start for part in local_part(sharding, shape)]

  def one(x: np.ndarray) -> jax.Array:
    def block(index: tuple[slice, ...]) -> np.ndarray:
      bounds = zip((i.indices(n) for i, n in zip(index, shape, strict=False)), offsets, strict=True)
      return x[tuple(slice(first - offset, last - offset) for (first, last, _), offset in bounds)]

    return _from_blocks((*shape, *x.shape[len(shape) :]), sharding, block)

  return jax.tree.map(one, tree)


def _from_blocks(shape: tuple[int, ...], sharding: NamedSharding, block: Callable) -> jax.Array:
  """An array of which each local device gets `block(index)`; what JAX has for it transfers implicitly."""
  places = sharding.addressable_devices_indices_map(shape)
  blocks = [jax.device_put(block(index), device) for device, index in places.items()]
  return jax.make_array_from_single_device_arrays(shape, sharding, blocks)


def without_axis(tree: Any, axis: str) -> Any:
  """Global arrays, gathered along a mesh axis: what was sharded over it is whole on every device."""

  def target(sharding: NamedSharding) -> NamedSharding:
    listed = ((names,) if isinstance(names, str) else names or () for names in sharding.spec)
    kept = (tuple(name for name in names if name != axis) for names in listed)
    return NamedSharding(sharding.mesh, P(*(names or None for names in kept)))

  shardings = jax.tree.map(lambda x: target(x.sharding), tree)
  return jax.jit(lambda tree: tree, out_shardings=shardings)(tree)


def on_host(tree: Any) -> Any:
  """Arrays as numpy arrays, whole in every process; all processes must call it."""

  def one(x: Any) -> np.ndarray:
    if not x.is_fully_addressable and not x.is_fully_replicated:
      x = jax.jit(lambda x: x, out_shardings=NamedSharding(x.sharding.mesh, P()))(x)
    return np.asarray(jax.device_get(x))

  return jax.tree.map(one, tree)
