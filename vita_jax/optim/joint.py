"""Tensors that are worked on together: many small ones as one vector, which compiles about as fast as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.optim.leaves import AxisName, Tree, as_columns, as_rows, mean_over, sum_over_devices, varying

LARGE = 1 << 17  # entries from which a tensor stays by itself: a copy into a long vector would cost more
ROW = 128  # where means over tensors are taken, each begins at a multiple of this and is followed by zeros
MANY = 8  # tensors in a vector from which a CPU works on it block by block
BLOCK = 4_096  # entries of such a block
LARGE_BLOCKS = range(16_384, 8_192, -1)  # of a large tensor: the first length that divides it


class Joint(NamedTuple):
  """Tensors of one dtype: one stays as it is, several are a vector.

  Attributes:
    shapes: of the tensors.
    axis_name: axes of the mesh along which each is cut, inside `jax.shard_map`.
    row: in a vector each begins at a multiple of this: 1, or `ROW` where `means` and `spread` are called.
  """

  shapes: tuple[tuple[int, ...], ...]
  axis_name: AxisName = ()
  row: int = ROW


def join(joint: Joint, tensors: Sequence[jax.Array]) -> jax.Array:
  """Makes one array of arrays [*shape] or [features, *shape]: the only one, or [n] or [features, n]."""
  if len(joint.shapes) == 1:
    return tensors[0]
  lead = tensors[0].shape[: tensors[0].ndim - len(joint.shapes[0])]
  pieces = []
  for x, shape in zip(tensors, joint.shapes, strict=True):
    pieces.append(x.reshape(*lead, math.prod(shape)))
    if rest := -pieces[-1].shape[-1] % joint.row:
      pieces.append(jnp.zeros((*lead, rest), x.dtype))
  return jnp.concatenate(pieces, axis=-1)


def split(joint: Joint, joined: jax.Array) -> list[jax.Array]:
  """Returns the arrays of which `join` would make `joined`."""
  if len(joint.shapes) == 1:
    return [joined]
  lead, starts = joined.shape[:-1], joint.row * np.cumsum([0, *_row_counts(joint)])
  return [
    jax.lax.slice_in_dim(joined, start, start + math.prod(shape), axis=len(lead)).reshape(*lead, *shape)
    for start, shape in zip(starts.tolist(), joint.shapes, strict=False)
  ]


def means(joint: Joint, joined: jax.Array) -> jax.Array:
  """Computes the mean over each tensor, 0 over nothing.

  Args:
    joint: the tensors.
    joined: arrays [*shape] or [features, *shape], by `join`.

  Returns:
    [tensors] or [features, tensors].
  """
  if len(joint.shapes) == 1:
    lead = joined.ndim - len(joint.shapes[0])
    return mean_over(joined, range(lead, joined.ndim), axis_name=joint.axis_name)[..., None]
  tensor, counts = _tensor_of_row(joint), np.array(_row_counts(joint))
  sizes = np.array([math.prod(shape) for shape in joint.shapes])
  left = sizes[tensor] - ROW * (np.arange(len(tensor)) - (np.cumsum(counts) - counts)[tensor])
  rows = jnp.moveaxis(joined, -1, 0).reshape(len(tensor), ROW, *joined.shape[:-1])
  inside = (np.arange(ROW) < left[:, None]).reshape(*rows.shape[:2], *(1,) * (rows.ndim - 2))
  sums = jax.ops.segment_sum(
    jnp.sum(jnp.where(inside, rows, 0.0), axis=1), tensor, len(counts), indices_are_sorted=True
  )
  total, parts = sum_over_devices(jnp.moveaxis(sums, 0, -1), joint.axis_name)
  sizes = np.maximum(parts * sizes, 1).astype(np.float32)
  return total / sizes.reshape((1,) * (total.ndim - 1) + (-1,))


def spread(joint: Joint, values: jax.Array, joined: jax.Array) -> jax.Array:
  """Returns what broadcasts the values of each tensor, [tensors] or [features, tensors], over `joined`."""
  if len(joint.shapes) == 1:
    return values.reshape(values.shape[:-1] + (1,) * len(joint.shapes[0]))
  of_rows = values[..., _tensor_of_row(joint)][..., None]
  return jnp.broadcast_to(of_rows, (*of_rows.shape[:-1], ROW)).reshape(*values.shape[:-1], joined.shape[-1])


def in_blocks(joint: Joint, fn: Callable[..., tuple], *columns: jax.Array) -> tuple[jax.Array, ...]:
  """Calls a function that treats every coordinate by itself on joined arrays, on a CPU block by block.

  Into such a loop XLA does not draw what joins and splits 60 leaves: else it puts 60 cases into the middle of
  every loop over coordinates, which is slow to compile. Few leaves are worked on at once, since a loop costs
  time where many networks are trained side by side.
  """
  n = columns[0].shape[-1] if columns[0].ndim else 1
  if len(joint.shapes) < MANY or n <= BLOCK or jax.default_backend() != "cpu":
    return fn(*columns)
  count = -(-n // BLOCK)

  def cut(x: jax.Array) -> jax.Array:
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, count * BLOCK - n)])
    return jnp.moveaxis(x.reshape(*x.shape[:-1], count, BLOCK), -2, 0)

  def whole(x: jax.Array) -> jax.Array:
    x = jnp.moveaxis(x, 0, -2)
    return x.reshape(*x.shape[:-2], count * BLOCK)[..., :n]

  found = jax.lax.map(lambda block: fn(*block), tuple(map(cut, columns)))
  return tuple(map(whole, found))


def large_in_blocks(fn: Callable[..., tuple], *arrays: jax.Array) -> tuple[jax.Array, ...]:
  """Calls such a function on a large tensor block by block: what lies between stays in a CPU's caches.

  For functions that read and write more than they compute; an accelerator does it all in one kernel.
  """
  n = arrays[0].size
  length = next((b for b in LARGE_BLOCKS if n % b == 0), 0)
  if n < LARGE or not length or jax.default_backend() != "cpu" or not all(map(lies_whole, arrays)):
    return fn(*arrays)
  found = jax.lax.map(lambda rows: fn(*rows), tuple(x.reshape(-1, length) for x in arrays))
  return tuple(x.reshape(arrays[0].shape) for x in found)


def map_joints(
  fn: Callable[[Joint, list[int], list[tuple]], list[tuple]],
  n_outputs: int,
  tree: Tree,
  *rest: Tree,
  cuts: Sequence[AxisName] = (),
  row: int = ROW,
) -> tuple[Tree, ...]:
  """Maps `fn(joint, numbers of leaves, their rows) -> rows of n_outputs arrays` over what goes together.

  Args:
    fn: see above; a row is a leaf of `tree` and of each of `rest`.
    n_outputs: trees that are returned.
    tree: of arrays or numbers.
    *rest: of its structure.
    cuts: see `joints`.
    row: see `Joint`.
  """
  rows, structure = as_rows(tree, rest)
  outputs: list[Any] = [None] * len(rows)
  for joint, some in joints(rows, cuts, row=row):
    for i, output in zip(some, fn(joint, some, [rows[i] for i in some]), strict=True):
      outputs[i] = output
  return as_columns(outputs, n_outputs, structure)


def map_coordinates(fn: Callable[..., tuple], n_outputs: int, tree: Tree, *rest: Tree) -> tuple[Tree, ...]:
  """Maps `fn(leaf, *rest leaves) -> n_outputs arrays` over leaves, in few graphs.

  `fn` treats every coordinate by itself; it sees leaves that are joined as [n] and, where they have leading
  features, as [features, n].
  """

  def together(joint: Joint, numbers: list[int], rows: list[tuple]) -> list[tuple]:
    del numbers
    columns = [join(joint, column) for column in zip(*rows, strict=True)]
    return list(zip(*(split(joint, x) for x in in_blocks(joint, fn, *columns)), strict=True))

  return map_joints(together, n_outputs, tree, *rest, row=1)


def joints(
  rows: Sequence[tuple], cuts: Sequence[AxisName] = (), *, row: int = ROW
) -> list[tuple[Joint, list[int]]]:
  """Returns which leaves are worked on together, and their numbers.

  Leaves of one dtype with fewer than `LARGE` entries are. A leaf that may be cut over several devices stays
  by itself: to join it with others would communicate. That is known of arrays, of types with Explicit axes,
  and inside `jax.shard_map`; under `jax.jit` on a mesh with Auto axes it is not known, and every leaf stays
  by itself.

  Args:
    rows: for each leaf its arrays, [*shape] first, then [*shape] or [features, *shape].
    cuts: for each leaf the axes of the mesh along which it is cut; by default none.
    row: as in `Joint`.
  """
  groups: dict[Any, list[int]] = {}
  cuts = cuts or [()] * len(rows)
  for i, (leaf, cut) in enumerate(zip(rows, cuts, strict=True)):
    groups.setdefault(_group(leaf, i, cut), []).append(i)
  return [
    (Joint(tuple(rows[i][0].shape for i in some), cuts[some[0]], row), some) for some in groups.values()
  ]


def lies_whole(x: jax.Array) -> bool:
  """Tells whether an array is known not to be cut over devices."""
  if jax.device_count() == 1:
    return True
  if not isinstance(x, jax.core.Tracer):
    return x.sharding.is_fully_replicated
  sharding: Any = jax.typeof(x).sharding
  kinds = set(sharding.mesh.axis_types)
  if kinds == {jax.sharding.AxisType.Manual}:
    return True
  return kinds == {jax.sharding.AxisType.Explicit} and not any(sharding.spec)


def _group(row: tuple, i: int, cut: AxisName) -> Any:
  """What leaves must have in common to be joined; the number `i` itself for one that stays alone."""
  if row[0].size >= LARGE or not all(map(lies_whole, row)):
    return i
  return cut, *((x.dtype, frozenset(varying(x)), _devices(x)) for x in row)


def _devices(x: jax.Array) -> Any:
  return None if isinstance(x, jax.core.Tracer) else frozenset(x.devices())


def _row_counts(joint: Joint) -> list[int]:
  return [-(-math.prod(shape) // joint.row) for shape in joint.shapes]


def _tensor_of_row(joint: Joint) -> np.ndarray:
  """Which tensor each row of a vector belongs to, int [rows]."""
  return np.repeat(np.arange(len(joint.shapes)), _row_counts(joint))
