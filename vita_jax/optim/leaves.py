"""What learned optimizers share: work in float32, updates in their dtype, checks of options and of leaves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.keys import Rule, above, at_least, boolean, half_open
from vita_jax.base.tree import named_leaves

Tree = Any
Theta = Mapping[str, Any]

DECAY = half_open(0, 1)
COUNT = Rule("a whole number, at least 1", lambda value: isinstance(value, int) and at_least(1).holds(value))
# Options of the builders that are numbers, of whichever kind.
OPTIONS = {
  "scale": at_least(0),
  "step_scale": at_least(0),
  "magnitude_scale": at_least(0),
  "beta1": DECAY,
  "beta2": DECAY,
  "eps": above(0),
  "odd": boolean,
}
AxisName = str | tuple[str, ...]


def zero_like(x: Any) -> jax.Array:
  """Returns float32 zeros of the shape of a parameter, sharded as it is, whatever surrounds the call.

  Under jit, `jnp.zeros_like` of an array on a mesh with Auto axes is a constant, which XLA puts whole on
  every device; so the zeros are computed from x. From x come also the type under `jax.set_mesh` with Explicit
  axes, and inside `jax.shard_map` the axes over which they vary.
  """
  if isinstance(x, jax.ShapeDtypeStruct):
    return jnp.zeros(x.shape)
  size = jnp.abs(jnp.asarray(x).astype(jnp.float32))
  return 0.0 * jnp.where(jnp.isfinite(size), size, 0.0)


def check_number(name: str, value: Any, rule: Rule) -> None:
  """Checks a number that a function was given; one that is traced passes.

  Raises:
    ValueError: not a real scalar, or one that breaks the rule; the message begins with `name`.
  """
  if isinstance(value, jax.core.Tracer) or (isinstance(value, jax.Array) and not value.is_fully_addressable):
    return
  array = np.asarray(value)
  is_real = jnp.issubdtype(array.dtype, jnp.integer) or jnp.issubdtype(array.dtype, jnp.floating)
  # bfloat16 has an `item` that is a float, too.
  if array.ndim or not is_real or not rule.holds(array.item()):
    schedule = "; wrap the optimizer in optax.inject_hyperparams for a schedule" if callable(value) else ""
    raise ValueError(f"{name} is {value}: it must be {rule.text}{schedule}")


def check_options(kind: str, **options: Any) -> None:
  """Checks numbers that a builder was given against `OPTIONS`; raises as `check_number` does."""
  for name, value in options.items():
    if OPTIONS[name] is not boolean:
      check_number(f"{name} of {kind}", value, OPTIONS[name])
    elif not boolean.holds(value):
      raise ValueError(f"{name} of {kind} is {value}: it must be {boolean.text}")


def check_floats(params: Tree, *, kind: str) -> None:
  """Refuses parameters that an optimizer would silently not move: whole numbers, booleans, complex numbers.

  Raises:
    ValueError: names the leaf and its dtype.
  """
  for name, x in named_leaves(params).items():
    dtype = x.dtype if hasattr(x, "dtype") else jnp.result_type(x)
    if jnp.issubdtype(dtype, jnp.complexfloating):
      raise ValueError(
        f"parameter '{name}' is complex ({dtype}): wrap the optimizer in"
        " optax.contrib.split_real_and_imaginary"
      )
    if not jnp.issubdtype(dtype, jnp.floating):
      raise ValueError(
        f"parameter '{name}' is of dtype {dtype}, and {kind} moves float parameters only: cast it, or leave"
        " it out with optax.partition"
      )


def check_whole(tree: Tree, *, kind: str, axis_name: AxisName = ()) -> None:
  """Refuses parameters that differ between the devices of a `jax.shard_map`: parts of tensors.

  For optimizers that take means over whole tensors: of a part they would be other numbers, silently. (With
  `check_vma=False` JAX does not tell, and nothing is refused.)

  Args:
    tree: of the parameters.
    kind: for the message.
    axis_name: axes along which parts may be cut, since means are then taken along them, too.

  Raises:
    ValueError: names the leaf and the axes.
  """
  for name, x in named_leaves(tree).items():
    if axes := sorted(set(varying(x)) - set(axes_of(axis_name))):
      raise ValueError(
        f"{kind} takes means over whole tensors, but inside jax.shard_map '{name}' is a part, cut along"
        f" {', '.join(axes)}: name these axes (axis_name=...), call it outside, under jax.jit, or use l2o_dm"
        " or rnnprop"
      )


def zeros_like_params(params: Tree, *, features: int = 0, dtype: Any = jnp.float32) -> Tree:
  """Makes zeros for each leaf: of its shape, or [features, *shape], sharded as the leaf (see `zero_like`).

  Features lead, so that what follows them shards as the parameter does and coordinates lie next to each
  other in memory.
  """

  def zeros(x):
    zero = zero_like(x).astype(dtype)
    return jnp.broadcast_to(zero[None], (features, *zero.shape)) if features else zero

  return jax.tree.map(zeros, params)


def as_dtype(state_dtype: Any) -> jnp.dtype:
  """Returns the dtype of a carried state.

  Raises:
    ValueError: not a float dtype; `optax.inject_hyperparams` takes a type for a schedule, but not its name.
  """
  try:  # an array is what such a schedule gave: its dtype is that of the parameters
    dtype = None if isinstance(state_dtype, jax.Array) else jnp.dtype(state_dtype)
  except TypeError:
    dtype = None
  if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
    raise ValueError(
      f"state_dtype is {state_dtype!r}: give the name of a float type, e.g. 'bfloat16' (under"
      " optax.inject_hyperparams a name, not a type, which it takes for a schedule)"
    )
  return dtype


def as_rows(tree: Tree, rest: tuple[Tree, ...]) -> tuple[list[tuple], Any]:
  """Returns the leaves of some trees side by side, as arrays (numbers of Python, too), and the structure."""
  leaves, structure = jax.tree.flatten(tree)
  others = [structure.flatten_up_to(other) for other in rest]  # type: ignore[attr-defined]
  return [tuple(map(jnp.asarray, row)) for row in zip(leaves, *others, strict=True)], structure


def as_columns(outputs: list[tuple], n_outputs: int, structure: Any) -> tuple[Tree, ...]:
  """Returns `n_outputs` trees of rows of as many arrays, the inverse of `as_rows`."""
  return tuple(jax.tree.unflatten(structure, [o[i] for o in outputs]) for i in range(n_outputs))


def axes_of(axis_name: AxisName) -> tuple[str, ...]:
  """Returns axis names as a tuple."""
  return (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)


def mean_over(x: jax.Array, axes: Any = None, *, axis_name: AxisName = ()) -> jax.Array:
  """Computes the mean over axes of an array, and over the devices along mesh axes (in `jax.shard_map`).

  Args:
    x: float32.
    axes: of the array; None for all. The mean over nothing is 0.
    axis_name: of the mesh: x is then one of equal parts, or the same on all devices.
  """
  axes = tuple(range(x.ndim)) if axes is None else tuple(axes)
  total, parts = sum_over_devices(jnp.sum(x, axis=axes), axis_name)
  return total / max(parts * math.prod(x.shape[axis] for axis in axes), 1)


def sum_over_devices(x: jax.Array, axis_name: AxisName) -> tuple[jax.Array, int]:
  """Computes the sum over the devices along mesh axes (in `jax.shard_map`), and returns their number, too."""
  names = axes_of(axis_name)
  if not names:
    return x, 1
  if absent := tuple(name for name in names if name not in varying(x)):
    x = _as_varying(x, absent)
  return jax.lax.psum(x, names), math.prod(map(jax.lax.axis_size, names))


def linear(w: jax.Array, x: jax.Array) -> jax.Array:
  """Applies `w` [inputs, outputs] to the leading axis of `x` [inputs, *shape]: [outputs, *shape]."""
  return jax.lax.dot_general(w, x, (((0,), (0,)), ((), ())))


def per_row(b: jax.Array, x: jax.Array) -> jax.Array:
  """Reshapes `b` [rows] to broadcast over `x` [rows, *shape]."""
  return b.reshape(b.shape + (1,) * (x.ndim - 1))


def check_theta(theta: Theta, shapes: Theta, *, kind: str) -> Theta:
  """Returns `theta` if its arrays are those that the optimizer `kind` needs.

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


def _as_varying(x: jax.Array, names: tuple[str, ...]) -> jax.Array:
  lax: Any = jax.lax
  if hasattr(lax, "pcast"):
    return lax.pcast(x, names, to="varying")
  return lax.pvary(x, names)  # its older name


def varying(x: Any) -> Iterable[str]:
  """Returns the axes of a `jax.shard_map` along which an array differs; none where JAX does not tell."""
  if not isinstance(x, jax.Array):
    return ()
  found: Any = jax.typeof(x)  # its attribute was called `vma` in jax 0.8
  return found.vma if hasattr(found, "vma") else getattr(getattr(found, "mat", None), "varying", ())


def _shapes(tree: Tree) -> dict[str, tuple[int, ...]]:
  return {name: np.shape(leaf) for name, leaf in named_leaves(tree).items()}


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
  return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
