"""Data held on the device: placed once, batches gathered inside the compiled step.

`n_rows`, `n_batches`, `n_sweep_batches` and `check` take both kinds, Resident and Stream.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from vita_jax.data.index import batches_per_epoch, index, is_padded, row_order
from vita_jax.data.stream import Stream, first_row

_ORDERS = ("shuffled", "shared", "rows")


class Resident(NamedTuple):
  """Rows that fit on the device.

  Attributes:
    arrays: dict of arrays (or pytrees of arrays) with one common leading axis, the rows. With
      batch_size None the values may be any pytree, of any shapes.
    batch_size: rows per batch. None: every batch is the whole dict (full-batch graphs).
    order: "shuffled": one order per seed. "shared": the order of seed 0 for all replicas, which
      understates the variance over seeds. "rows": as stored (evaluation).
    remainder: what happens to the last, partial batch of an epoch: "pad" or "drop".
  """

  arrays: Mapping[str, Any]
  batch_size: int | None = None
  order: str = "shuffled"
  remainder: str = "pad"


def batch_at(data: Resident, arrays: Mapping[str, Any], seed: ArrayLike, t: ArrayLike) -> dict[str, Any]:
  """Gathers batch number t of `seed`; pure and traceable in `arrays`, `seed` and `t`.

  Args:
    data: where sizes and order come from (static).
    arrays: `data.arrays` as placed on the devices; an argument, so that jit never bakes it in.
    seed: int32 or uint32 scalar; read only when data.order is "shuffled".
    t: int32 scalar, batch number counted over all epochs.

  Returns:
    The gathered rows [batch_size, ...] under their own keys, "index" int32 [batch_size] (row
    ids), and, only if some batch is padded, "mask" float32 [batch_size] (0 marks padding, whose
    rows repeat row 0). With batch_size None: the dict `arrays`, unchanged.
  """
  if data.batch_size is None:
    return dict(arrays)
  sizes: dict[str, Any] = {"n_rows": n_rows(data), "batch_size": data.batch_size, "remainder": data.remainder}
  if data.order == "rows":
    rows, mask = row_order(t, **sizes)
  else:
    rows, mask = index(seed if data.order == "shuffled" else 0, t, **sizes)
  batch = _gather(arrays, rows)
  return batch | {"mask": mask} if is_padded(**sizes) else batch


def sweep_batch_at(data: Resident, arrays: Mapping[str, Any], i: ArrayLike) -> dict[str, Any]:
  """Gathers batch i of one pass in row order, the last one padded: for evaluation and sweeps.

  Whatever data.order and data.remainder say, every row comes up exactly once in the batches
  0 .. n_sweep_batches(data)-1; "index" and "mask" are always there. With batch_size None: the
  dict `arrays`, unchanged.
  """
  if data.batch_size is None:
    return dict(arrays)
  rows, mask = row_order(i, n_rows=n_rows(data), batch_size=data.batch_size)
  return _gather(arrays, rows) | {"mask": mask}


def n_rows(data: Resident | Stream) -> int:
  """Counts the rows; ValueError for Resident arrays without one common leading axis."""
  if isinstance(data, Stream):
    return len(data.source)
  lengths = {
    jax.tree_util.keystr(path, simple=True, separator="/"): x.shape[0] if getattr(x, "ndim", 0) else None
    for path, x in jax.tree_util.tree_leaves_with_path(dict(data.arrays))
  }
  if len(set(lengths.values())) != 1 or None in lengths.values():
    found = ", ".join(f"{k}: {v}" for k, v in lengths.items()) or "no arrays"
    raise ValueError(
      f"arrays need one common leading axis, found {found}; fix the arrays, or "
      "use batch_size=None to pass them whole"
    )
  return next(length for length in lengths.values() if length is not None)


def n_batches(data: Resident | Stream) -> int:
  """Counts the batches of one epoch; 1 for a Resident with batch_size None."""
  if data.batch_size is None:
    return 1
  return batches_per_epoch(n_rows(data), data.batch_size, data.remainder)


def n_sweep_batches(data: Resident | Stream) -> int:
  """Counts the batches of one sweep: every row once, the last batch padded whatever data.remainder says."""
  return 1 if data.batch_size is None else batches_per_epoch(n_rows(data), data.batch_size)


def check(data: Resident | Stream) -> None:
  """Refuses data that cannot be batched, before anything is compiled or placed.

  Raises:
    ValueError: arrays that are no dict, unequal leading axes, no rows, keys named "index" or
      "mask", batch_size < 1 or > n_rows, an unknown order or remainder, negative workers or
      prefetch, rows of a Stream that are no dicts (its first row is read).
  """
  if data.order not in _ORDERS:
    raise ValueError(f"order must be one of {', '.join(_ORDERS)}, got {data.order!r}")
  columns = first_row(data) if isinstance(data, Stream) else data.arrays
  if not isinstance(columns, Mapping):
    raise ValueError(f"arrays must be a dict, got {type(columns).__name__}")
  if data.batch_size is None:
    return
  if taken := sorted({"index", "mask"} & set(columns)):
    raise ValueError(
      f"keys {taken} are reserved: batches carry row ids under 'index' and padding "
      "weights under 'mask'; rename yours"
    )
  n_batches(data)
  if data.batch_size > n_rows(data):
    raise ValueError(
      f"batch_size {data.batch_size} > {n_rows(data)} rows; use a batch_size of at most the number of rows"
    )


def _gather(arrays, rows):
  # Rows come from `index`, so they are in bounds: no clamping needed.
  gathered = jax.tree.map(lambda x: jnp.asarray(x).at[rows].get(mode="promise_in_bounds"), dict(arrays))
  return gathered | {"index": rows}
