"""Devices as a mesh with the axes `seed`, `data`, `model`, and shardings by (path regex, spec) rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from vita_jax.train.experiment import Experiment

AXES = ("seed", "data", "model")


def use_cpu_devices(n: int) -> None:
  """Makes JAX run on the CPU split into `n` devices; has to be called before JAX is first used."""
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", n)


def make_mesh(layout: Mapping[str, int]) -> jax.sharding.Mesh:
  """A mesh over all devices; the axis given as -1 takes what is left.

  Raises:
    ValueError: the product of the axes is not the number of devices.
  """
  sizes = [int(layout[axis]) for axis in AXES]
  devices, known = jax.device_count(), int(np.prod([s for s in sizes if s != -1]))
  if sizes.count(-1) == 1 and known > 0 and devices % known == 0:
    sizes[sizes.index(-1)] = devices // known
  if -1 in sizes or int(np.prod(sizes)) != devices:
    shown = " x ".join(f"{axis}={layout[axis]}" for axis in AXES)
    raise ValueError(
      f"config.mesh {shown} does not cover the {devices} device(s): their product has to be {devices}"
      " (-1 on one axis fills what is left; --cpu_devices=N splits a CPU)"
    )
  # Auto axes: jax.make_mesh defaults to Explicit, under which gathers and segment sums fail.
  return jax.make_mesh(tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def check_layout(mesh: jax.sharding.Mesh, experiment: Experiment, how: str) -> None:
  """Refuses, before anything is compiled, a layout that an experiment cannot have.

  Raises:
    ValueError: replicas or batches that do not divide by their mesh axis.
  """
  seeds, data = mesh.shape["seed"], mesh.shape["data"]
  replicas = experiment.replicas or 1
  if replicas % seeds:
    raise ValueError(f"config.mesh.seed={seeds} does not divide config.seeds={replicas}")
  if how == "map" and experiment.replicas and seeds > 1:
    raise ValueError(
      "config.replicate='map' runs seeds one after the other: set config.mesh.seed=1 or 'vmap'"
    )
  for stage in experiment.stages:
    size = stage.data.batch_size
    if size is not None and size % data:
      raise ValueError(
        f"config.mesh.data={data} does not divide the batch size {size} of stage '{stage.name}'"
      )


def put(tree: Any, shardings: Any) -> Any:
  """Host arrays that every process has alike as arrays with these shardings (one, or a tree of them).

  Each process sends what its own devices hold; nothing is compared or sent between processes.
  """

  def one(x: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
      return jax.device_put(x, sharding)
    x = np.asarray(x)
    return _from_blocks(x.shape, sharding, lambda index: x[index])

  if isinstance(shardings, NamedSharding):
    return jax.tree.map(lambda x: one(x, shardings), tree)
  return jax.tree.map(one, tree, shardings)


def local_part(sharding: NamedSharding, shape: tuple[int, ...]) -> tuple[slice, ...]:
  """The smallest block of an array [*shape] that holds all that this process's devices need of it."""
  indices = sharding.addressable_devices_indices_map(shape).values()
  bounds = [[part.indices(length)[:2] for part, length in zip(index, shape, strict=True)] for index in indices]
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
  """An array of which each local device gets `block(index)`. By explicit transfers: implicit ones are forbidden."""
  places = sharding.addressable_devices_indices_map(shape)
  blocks = [jax.device_put(block(index), device) for device, index in places.items()]
  return jax.make_array_from_single_device_arrays(shape, sharding, blocks)


def without_axis(tree: Any, axis: str) -> Any:
  """Global arrays, gathered along a mesh axis: what was sharded over it is whole on every device."""

  def target(sharding: NamedSharding) -> NamedSharding:
    kept = lambda names: tuple(n for n in ((names,) if isinstance(names, str) else names or ()) if n != axis)  # noqa: E731
    return NamedSharding(sharding.mesh, P(*(kept(names) or None for names in sharding.spec)))

  shardings = jax.tree.map(lambda x: target(x.sharding), tree)
  return jax.jit(lambda tree: tree, out_shardings=shardings)(tree)


def on_host(tree: Any) -> Any:
  """Arrays as numpy arrays, whole in every process; all processes have to call it."""

  def one(x: jax.Array) -> np.ndarray:
    if not x.is_fully_addressable and not x.is_fully_replicated:
      x = jax.jit(lambda x: x, out_shardings=NamedSharding(x.sharding.mesh, P()))(x)
    return np.asarray(jax.device_get(x))

  return jax.tree.map(one, tree)


def path_name(path: tuple[Any, ...]) -> str:
  """The '/'-joined name of a leaf: dict keys, field names and indices."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def state_shardings(mesh: jax.sharding.Mesh, rules: tuple[tuple[str, P], ...], state: Any) -> Any:
  """A tree of NamedShardings for an abstract state: the first rule whose regex matches the path.

  Raises:
    ValueError: a leaf that no rule matches, or an axis that the mesh does not divide.
  """

  def rule(path, leaf):
    name = path_name(path)
    found = next((spec for regex, spec in rules if re.search(regex, name)), None)
    if found is None:
      raise ValueError(f"no sharding rule matches the state leaf '{name}': add one to Experiment.shard")
    found = P(*found[: leaf.ndim])
    for size, axes in zip(leaf.shape, found, strict=False):
      for axis in (axes,) if isinstance(axes, str) else (axes or ()):
        if size % mesh.shape[axis]:
          raise ValueError(f"axis {size} of '{name}' does not divide by mesh axis {axis}")
    return NamedSharding(mesh, found)

  return jax.tree_util.tree_map_with_path(rule, state)

