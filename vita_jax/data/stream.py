"""Data that stays on disk (or in a generator of files): rows read on the host, through grain.

Which rows make batch t is decided by `vita_jax.data.index`, the function Resident data uses, so
both kinds give the same batches. grain supplies read threads and worker processes, never order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vita_jax.data.buckets import Buckets, cut, grouped_index
from vita_jax.data.index import host_index, is_padded, row_order


class Stream(NamedTuple):
  """A random-access source of rows, read in batches.

  Attributes:
    source: anything with `__len__` and `__getitem__(int)`, e.g. a TFDS data source or a grain
      MapDataset; `__getitems__(list)` is used where it exists. A row is a dict of numpy values
      (nested dicts allowed). Reads may come from several threads at once.
    batch_size: rows per batch.
    order, remainder: as in `Resident`.
    transform: row -> row, applied to each row after reading (decode, resize, tokenise). Random
      augmentation belongs in the step, where the key is.
    workers: worker processes; 0 reads in threads of this process. With worker processes the
      calling script needs the usual `if __name__ == "__main__":` guard.
    prefetch: batches read ahead (per worker); 0 reads when asked.
    buckets: None, or how shuffled batches are grouped by length and all batches cut to static lengths.
  """

  source: Any
  batch_size: int
  order: str = "shuffled"
  remainder: str = "pad"
  transform: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
  workers: int = 0
  prefetch: int = 2
  buckets: Buckets | None = None


def read_batch(
  data: Stream, seed: int | Sequence[int], t: int, *, part: tuple[slice, ...] = ()
) -> dict[str, Any]:
  """Batch number t as numpy arrays: rows, keys and mask as in `resident.batch_at`.

  With a sequence of seeds (a replicated run) and order "shuffled" every array gets a leading
  replica axis, [n_seeds, batch_size, ...]; the other orders are the same for all replicas and
  never get one. `part` reads only these slices of the leading axes: one process's share.

  Raises:
    ValueError: rows that cannot be stacked (not dicts, unlike keys or shapes).
  """
  sizes = dict(n_rows=len(data.source), batch_size=data.batch_size, remainder=data.remainder)
  grouped = data.buckets is not None and data.buckets.window > 1
  index = (lambda *a, **k: grouped_index(data.buckets, *a, **k)) if grouped else host_index
  if data.order == "rows":
    rows, mask = row_order(t, **sizes, xp=np)
  elif data.order == "shared" or np.ndim(seed) == 0:
    rows, mask = index(0 if data.order == "shared" else seed, t, **sizes)
  else:
    rows, mask = (np.stack(x) for x in zip(*[index(s, t, **sizes) for s in seed], strict=True))
  batch = _cut(data, _read(data, rows[part]), rows)
  return batch | {"mask": mask[part]} if is_padded(**sizes) else batch


def read_sweep_batch(data: Stream, i: int, *, part: tuple[slice, ...] = ()) -> dict[str, Any]:
  """Batch i of one padded pass in row order, as in `resident.sweep_batch_at`; `part` as above."""
  rows, mask = row_order(i, n_rows=len(data.source), batch_size=data.batch_size, xp=np)
  return _cut(data, _read(data, rows[part]), rows) | {"mask": mask[part]}


def batches(
  data: Stream, seeds: int | Sequence[int], start: int = 0, *, part: tuple[slice, ...] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (t, read_batch(data, seeds, t, part=part)) for t = start, start+1, ... without end.

  Reading runs ahead in `data.prefetch` threads, or in `data.workers` processes. To resume,
  pass the next t as `start`: there is no iterator state. Closing the iterator stops the readers.
  """
  import grain  # heavy, and only streams need it

  if start < 0:
    raise ValueError(f"start must be >= 0, got {start}")
  read = _Read(data, seeds if np.ndim(seeds) == 0 else tuple(int(s) for s in seeds), part)
  numbers = grain.MapDataset.range(start, 2**31 - 1).map(read)
  # With worker processes, the threads and the buffer are those of each worker.
  ahead = grain.ReadOptions(num_threads=data.prefetch, prefetch_buffer_size=data.prefetch)
  dataset = numbers.to_iter_dataset(ahead)
  if data.workers:
    dataset = dataset.mp_prefetch(
      grain.MultiprocessingOptions(num_workers=data.workers, per_worker_buffer_size=max(data.prefetch, 1))
    )
  iterator = iter(dataset)
  try:
    yield from iterator
  except Exception as e:
    if type(e).__name__ != "UnparsedFlagAccessError":
      raise
    raise ValueError(
      "worker processes of grain need parsed absl flags: run under absl.app.run, "
      "call absl.flags.FLAGS.mark_as_parsed() first, or set workers=0"
    ) from e
  finally:
    iterator.close()


def first_row(data: Stream) -> Mapping[str, Any]:
  """Row 0 after `transform`; ValueError when the Stream cannot be read or its options are bad."""
  if data.batch_size is None:
    raise ValueError("a Stream needs a batch_size; only Resident data can be passed whole")
  if data.workers < 0 or data.prefetch < 0:
    raise ValueError(f"workers and prefetch must be >= 0, got {data.workers} and {data.prefetch}")
  if len(data.source) == 0:
    raise ValueError("the source of the Stream has no rows")
  return _examples(data, [0])[0]


def _cut(data, batch, rows):
  return batch if data.buckets is None else cut(data.buckets, batch, rows)


class _Read(NamedTuple):
  """t -> (t, batch): a tuple, not a closure, so that worker processes can receive it."""

  data: Stream
  seeds: int | tuple[int, ...]
  part: tuple[slice, ...]

  def __call__(self, t):
    return int(t), read_batch(self.data, self.seeds, int(t), part=self.part)


def _examples(data, ids):
  """The rows with these ids (a list of int), read and transformed: a list of dicts."""
  if hasattr(data.source, "__getitems__"):
    examples = data.source.__getitems__(ids)
  else:
    examples = [data.source[i] for i in ids]
  if data.transform is not None:
    examples = [data.transform(x) for x in examples]
  for x in examples:
    if not isinstance(x, Mapping):
      raise ValueError(
        f"rows of a Stream must be dicts, got {type(x).__name__}; return a dict "
        "from the source or from `transform`"
      )
  return [dict(x) for x in examples]


def _read(data, rows):
  """The rows (int32, any shape) stacked: dict of numpy arrays [*rows.shape, ...] + "index"."""
  # Padding repeats row 0, and replicas may share rows: each row is read once.
  unique, inverse = np.unique(rows, return_inverse=True)
  examples = _examples(data, unique.tolist())
  picked = [examples[j] for j in inverse.ravel()]
  try:
    stacked = jax.tree.map(lambda *xs: np.stack(xs), *picked)
  except ValueError as e:
    found = {str(jax.tree.map(np.shape, x)) for x in examples}
    raise ValueError(
      f"rows cannot be stacked, their keys and shapes differ: {sorted(found)[:2]}; "
      "pad or crop them to one shape in `transform`"
    ) from e
  batch = jax.tree.map(lambda x: x.reshape(rows.shape + x.shape[1:]), stacked)
  return batch | {"index": rows}
