"""How each leaf of the state lies on a mesh: by rules of (path regex, spec), the first match wins."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vita_jax.base.tree import path_name


class Spread(NamedTuple):
  """A rule that cuts each array along one mesh axis; see `spread`."""

  axis: str
  leading: tuple[str, ...] = ()

  def spec(self, shape: tuple[int, ...], mesh: jax.sharding.Mesh) -> P:
    """Returns the layout of one array: its longest axis that the mesh axis divides is cut, or none."""
    size, skip = mesh.shape[self.axis], len(self.leading)
    cuttable = [i for i in range(skip, len(shape)) if shape[i] % size == 0 and shape[i] >= size]
    if not cuttable:
      return P(*self.leading)
    longest = max(cuttable, key=lambda i: shape[i])
    return P(*self.leading, *[None] * (longest - skip), self.axis)


def spread(axis: str) -> Spread:
  """Returns the rule of fully sharded training.

  `("^(params|tx)/", spread("data"))` cuts weights and optimizer state over the devices that share the
  batch; XLA gathers each weight where it is used.
  """
  return Spread(axis)


def with_leading(rule: P | Spread, axis: str) -> P | Spread:
  """Returns the rule for the same leaves with one more axis in front, laid out over mesh axis `axis`."""
  return rule._replace(leading=(axis, *rule.leading)) if isinstance(rule, Spread) else P(axis, *rule)


def state_shardings(mesh: jax.sharding.Mesh, rules: tuple[tuple[str, P | Spread], ...], state: Any) -> Any:
  """Makes a tree of NamedShardings for an abstract state: the first rule whose regex matches the path.

  Raises:
    ValueError: a leaf that no rule matches, or an axis that the mesh does not divide.
  """

  def rule(path, leaf):
    name = path_name(path)
    found = next((spec for regex, spec in rules if re.search(regex, name)), None)
    if found is None:
      raise ValueError(f"no sharding rule matches the state leaf '{name}': add one to Experiment.shard")
    found = found.spec(leaf.shape, mesh) if isinstance(found, Spread) else P(*found[: leaf.ndim])
    for size, axes in zip(leaf.shape, found, strict=False):
      for axis in (axes,) if isinstance(axes, str) else (axes or ()):
        if size % mesh.shape[axis]:
          raise ValueError(f"axis {size} of '{name}' does not divide by mesh axis {axis}={mesh.shape[axis]}")
    return NamedSharding(mesh, found)

  return jax.tree_util.tree_map_with_path(rule, state)
