"""What all learned optimizers share: work leaf by leaf, in float32, and give updates back in their dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.tree import named_leaves

Tree = Any
Theta = Mapping[str, Any]


def zeros_like_params(params: Tree, *, features: int = 0, dtype: Any = jnp.float32) -> Tree:
  """Zeros for each leaf: of its shape, or [features, *shape]. Features lead, so that what follows them
  shards as the parameter does and coordinates lie next to each other in memory."""
  shape = lambda x: (features, *jnp.shape(x)) if features else jnp.shape(x)  # noqa: E731
  return jax.tree.map(lambda x: jnp.zeros(shape(x), dtype), params)


def map_leaves(fn: Callable[..., tuple], n_outputs: int, tree: Tree, *rest: Tree) -> tuple[Tree, ...]:
  """`fn(leaf, *rest leaves) -> n_outputs arrays` over the leaves of `tree`, as `n_outputs` trees."""
  leaves, structure = flat(tree)
  others = [structure.flatten_up_to(other) for other in rest]
  outputs = [fn(*args) for args in zip(leaves, *others, strict=True)]
  return tuple(structure.unflatten([o[i] for o in outputs]) for i in range(n_outputs))


def flat(tree: Tree) -> tuple[list[Any], Any]:
  """`jax.tree.flatten`, whose type of a structure is not declared in jax."""
  return jax.tree.flatten(tree)


def linear(w: jax.Array, x: jax.Array) -> jax.Array:
  """`w` [inputs, outputs] applied to the leading axis of `x` [inputs, *shape]: [outputs, *shape]."""
  return jax.lax.dot_general(w, x, (((0,), (0,)), ((), ())))


def per_row(b: jax.Array, x: jax.Array) -> jax.Array:
  """`b` [rows] shaped to broadcast over `x` [rows, *shape]."""
  return b.reshape(b.shape + (1,) * (x.ndim - 1))


def check_theta(theta: Theta, shapes: Theta, *, kind: str) -> Theta:
  """`theta`, if its arrays are those that the optimizer `kind` needs.

  Args:
    theta: a tree of arrays (tracers, too).
    shapes: the same tree of anything with a `shape`.

  Raises:
    ValueError: names the arrays that are missing, unknown or of another shape.
  """
  found, needed = (_shapes(tree) for tree in (theta, shapes))
  if wrong := [f"'{n}' is missing" for n in needed.keys() - found.keys()]:
    raise ValueError(f"theta is not one of {kind}: {', '.join(sorted(wrong))}; its arrays: {_listed(needed)}")
  if wrong := sorted(found.keys() - needed.keys()):
    raise ValueError(f"theta is not one of {kind}: it has no '{wrong[0]}'; its arrays: {_listed(needed)}")
  for name, shape in needed.items():
    if found[name] != shape:
      raise ValueError(f"theta of {kind}: '{name}' has shape {found[name]}, expected {shape}")
  return theta


def _shapes(tree: Tree) -> dict[str, tuple[int, ...]]:
  return {name: np.shape(leaf) for name, leaf in named_leaves(tree).items()}


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
  return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
