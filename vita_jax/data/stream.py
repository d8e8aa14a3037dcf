"""Data that stays on disk (or in a generator of files): rows read on the host, through grain.

Which rows make batch t is decided by `vita_jax.data.index`, the function Resident data uses, so
both kinds give the same batches. grain supplies read threads and worker processes, never order.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vita_jax.data.buckets import Buckets, cut, grouped_index
from vita_jax.data.index import batches_per_epoch, host_index, is_padded, row_order

Transform = Callable[[Any, np.random.Generator], Mapping[str, Any]]


class Stream(NamedTuple):
  """A random-access source of rows, read in batches.

  Attributes:
    source: anything with `__len__` and `__getitem__(int)`, e.g. a TFDS data source or a grain
      MapDataset; `__getitems__(list)` is used where it exists. A row is a dict of numpy values
      (nested dicts allowed). Reads may come from several threads at once.
    batch_size: rows per batch.
    order, remainder: as in `Resident`.
    transform: `transform(row, rng) -> row`, applied to each row after reading (decode, crop, resize,
      tokenise); it must not change its row in place. `rng` is `row_rng(seed, epoch, row id)`, so that a
      random crop depends on nothing else: not on workers, prefetch, batch size or a resume. Sweeps and
      evaluations draw as seed 0 in epoch 0 does; give an eval a Stream whose transform draws nothing.
    workers: worker processes; 0 reads in threads of this process. With worker processes the
      calling script needs the usual `if __name__ == "__main__":` guard.
    prefetch: batches read ahead (per worker); 0 reads when asked.
    buckets: None, or how shuffled batches are grouped by length and all batches cut to static lengths.
  """

  source: Any
  batch_size: int
  order: str = "shuffled"
  remainder: str = "pad"
  transform: Transform | None = None
  workers: int = 0
  prefetch: int = 2
  buckets: Buckets | None = None


def row_rng(seed: int, epoch: int, row: int) -> np.random.Generator:
  """Returns the generator that `Stream.transform` gets: Philox, its key made of all three numbers.

  Args:
    seed: 0 .. 2**32-1, of the run or of the replica; 0 where data.order is not "shuffled".
    epoch: 0 .. 2**31-1.
    row: 0 .. 2**31-1.
  """
  return np.random.Generator(np.random.Philox(key=np.array([seed | epoch << 32, row], np.uint64)))


def read_batch(
  data: Stream, seed: int | Sequence[int], t: int, *, part: tuple[slice, ...] = ()
) -> dict[str, Any]:
  """Reads batch number t as numpy arrays: rows, keys and mask as in `resident.batch_at`.

  With a sequence of seeds (a replicated run) and order "shuffled" every array gets a leading
  replica axis, [n_seeds, batch_size, ...]; the other orders are the same for all replicas and
  never get one. `part` reads only these slices of the leading axes: one process's share.

  Raises:
    ValueError: rows that cannot be stacked (not dicts, unlike keys or shapes).
  """
  sizes: dict[str, Any] = {
    "n_rows": len(data.source),
    "batch_size": data.batch_size,
    "remainder": data.remainder,
  }
  index: Callable[..., Any] = host_index
  if data.buckets is not None and data.buckets.window > 1:
    index = functools.partial(grouped_index, data.buckets)
  seeds = np.asarray(seed if data.order == "shuffled" else 0, np.int64)
  if data.order == "rows":
    rows, mask = row_order(t, **sizes, xp=np)
  elif seeds.ndim == 0:
    rows, mask = index(int(seeds), t, **sizes)
  else:
    rows, mask = (np.stack(x) for x in zip(*[index(int(s), t, **sizes) for s in seeds], strict=True))
  owners = np.broadcast_to(seeds[..., None], rows.shape)
  epoch = int(t) // batches_per_epoch(**sizes)
  batch = _cut(data, _read(data, rows[part], owners[part], epoch), rows)
  return batch | {"mask": mask[part]} if is_padded(**sizes) else batch


def read_sweep_batch(data: Stream, i: int, *, part: tuple[slice, ...] = ()) -> dict[str, Any]:
  """Reads batch i of one padded pass in row order, as in `resident.sweep_batch_at`; `part` as above."""
  rows, mask = row_order(i, n_rows=len(data.source), batch_size=data.batch_size, xp=np)
  owners = np.zeros_like(rows, np.int64)
  return _cut(data, _read(data, rows[part], owners[part], 0), rows) | {"mask": mask[part]}


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
  read = _Read(data, tuple(int(s) for s in seeds) if isinstance(seeds, Sequence) else seeds, part)
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
  """Returns row 0 after `transform`.

  Raises:
    ValueError: the Stream cannot be read, its options are bad, or `transform` does not take (row, rng).
  """
  if data.batch_size is None:
    raise ValueError("a Stream needs a batch_size; only Resident data can be passed whole")
  if data.workers < 0 or data.prefetch < 0:
    raise ValueError(f"workers and prefetch must be >= 0, got {data.workers} and {data.prefetch}")
  if len(data.source) == 0:
    raise ValueError("the source of the Stream has no rows")
  if data.transform is not None and not _takes_two(data.transform):
    raise ValueError("Stream.transform must take (row, rng): a row and a NumPy Generator for random choices")
  return _transformed(data, _rows(data, [0])[0], 0, 0, 0)


def _cut(data, batch, rows):
  return batch if data.buckets is None else cut(data.buckets, batch, rows)


class _Read(NamedTuple):
  """t -> (t, batch): a tuple, not a closure, so that worker processes can receive it."""

  data: Stream
  seeds: int | tuple[int, ...]
  part: tuple[slice, ...]

  def __call__(self, t):
    return int(t), read_batch(self.data, self.seeds, int(t), part=self.part)


def _takes_two(transform: Transform) -> bool:
  try:
    inspect.signature(transform).bind(None, None)
  except TypeError:
    return False
  except ValueError:  # some functions written in C tell no signature
    return True
  return True


def _rows(data: Stream, ids: list[int]) -> list[Any]:
  """The rows with these ids as the source has them."""
  if hasattr(data.source, "__getitems__"):
    return data.source.__getitems__(ids)
  return [data.source[i] for i in ids]


def _transformed(data: Stream, row: Any, seed: int, epoch: int, number: int) -> dict[str, Any]:
  if data.transform is not None:
    row = data.transform(row, row_rng(seed, epoch, number))
  if not isinstance(row, Mapping):
    raise ValueError(
      f"rows of a Stream must be dicts, got {type(row).__name__}; return a dict "
      "from the source or from `transform`"
    )
  return dict(row)


def _read(data: Stream, rows: np.ndarray, owners: np.ndarray, epoch: int) -> dict[str, Any]:
  """The rows (int32, any shape) stacked: dict of numpy arrays [*rows.shape, ...] + "index".

  `owners` has the seed that draws for each row.
  """
  # Padding repeats row 0, and replicas may share rows: each row is read once, and transformed once per seed.
  ids = np.unique(rows).tolist()
  sources = dict(zip(ids, _rows(data, ids), strict=True))
  pairs = list(zip(owners.ravel().tolist(), rows.ravel().tolist(), strict=True))
  if data.transform is None:
    pairs = [(0, number) for _, number in pairs]
  made = {(seed, i): _transformed(data, sources[i], seed, epoch, i) for seed, i in dict.fromkeys(pairs)}
  picked = [made[pair] for pair in pairs]
  try:
    stacked = jax.tree.map(lambda *xs: np.stack(xs), *picked)
  except ValueError as e:
    found = {str(jax.tree.map(np.shape, x)) for x in picked}
    raise ValueError(
      f"rows cannot be stacked, their keys and shapes differ: {sorted(found)[:2]}; "
      "pad or crop them to one shape in `transform`"
    ) from e
  batch = jax.tree.map(lambda x: x.reshape(rows.shape + x.shape[1:]), stacked)
  return batch | {"index": rows}
