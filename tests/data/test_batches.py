"""Resident and Stream: the same batches, by whatever way they are read."""

import itertools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data.index import host_index
from vita_jax.data.resident import (
  Resident,
  batch_at,
  check,
  n_batches,
  n_rows,
  n_sweep_batches,
  sweep_batch_at,
)
from vita_jax.data.stream import Stream, batches, read_batch, read_sweep_batch, row_rng

N = 10
ARRAYS = {
  "image": np.arange(N * 6, dtype=np.float32).reshape(N, 2, 3),
  "label": np.arange(N, dtype=np.int32) * 7 % 5,
  "nested": {"weight": np.linspace(0, 1, N, dtype=np.float32)},
}


class Rows:
  """The rows of ARRAYS as a random-access source, counting reads."""

  def __init__(self):
    self.read = []

  def __len__(self):
    return N

  def __getitem__(self, i):
    assert isinstance(i, int)
    self.read.append(i)
    return jax.tree.map(lambda x: x[i], ARRAYS)


class ManyRows(Rows):
  def __getitems__(self, ids):
    return [self[i] for i in ids]


def assert_same(got, expected):
  assert jax.tree.structure(got) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype and a.shape == b.shape


@pytest.mark.parametrize(
  "batch_size,order,remainder",
  [
    (4, "shuffled", "pad"),
    (4, "shuffled", "drop"),
    (5, "shuffled", "pad"),
    (4, "shared", "pad"),
    (4, "rows", "pad"),
    (4, "rows", "drop"),
  ],
)
def test_stream_and_resident_give_the_same_batches(batch_size, order, remainder):
  resident = Resident(ARRAYS, batch_size, order, remainder)
  compiled = jax.jit(lambda arrays, s, t: batch_at(resident, arrays, s, t))
  compiled_sweep = jax.jit(lambda arrays, i: sweep_batch_at(resident, arrays, i))
  for source in (Rows(), ManyRows()):
    stream = Stream(source, batch_size, order, remainder)
    assert n_rows(stream) == n_rows(resident) == N
    assert n_batches(stream) == n_batches(resident) == (3 if (batch_size, remainder) == (4, "pad") else 2)
    for seed, t in itertools.product((0, 3), range(7)):
      batch = read_batch(stream, seed, t)
      assert_same(batch, compiled(ARRAYS, jnp.int32(seed), jnp.int32(t)))
      assert ("mask" in batch) == (batch_size == 4 and remainder == "pad")
      np.testing.assert_array_equal(batch["image"], ARRAYS["image"][batch["index"]])
    for i in range(n_sweep_batches(stream)):
      assert_same(read_sweep_batch(stream, i), compiled_sweep(ARRAYS, i))


def test_orders_mean_what_they_say():
  rows = {
    (order, seed): read_batch(Stream(Rows(), 5, order), seed, 3)["index"]
    for order in ("shuffled", "shared", "rows")
    for seed in (0, 1)
  }
  assert rows["shuffled", 0].tolist() != rows["shuffled", 1].tolist()
  for seed in (0, 1):
    np.testing.assert_array_equal(rows["shared", seed], rows["shuffled", 0])
    np.testing.assert_array_equal(rows["rows", seed], np.arange(5, 10))
    np.testing.assert_array_equal(rows["shuffled", seed], host_index(seed, 3, n_rows=N, batch_size=5)[0])


@pytest.mark.parametrize("remainder", ["pad", "drop"])
def test_a_sweep_sees_every_row_once_in_order(remainder):
  data = Resident(ARRAYS, 4, remainder=remainder)
  sweep = [sweep_batch_at(data, ARRAYS, i) for i in range(n_sweep_batches(data))]
  kept = np.concatenate([b["index"][b["mask"] == 1] for b in sweep])
  np.testing.assert_array_equal(kept, np.arange(N))


def test_whole_batches_are_the_dict_unchanged():
  graph = {"x": jnp.ones((3, 2)), "edges": jnp.zeros((7, 2), jnp.int32), "size": 3}
  data = Resident(graph)
  check(data)
  assert n_batches(data) == n_sweep_batches(data) == 1
  for batch in (batch_at(data, graph, 0, 5), sweep_batch_at(data, graph, 0)):
    assert batch.keys() == graph.keys() and all(batch[k] is graph[k] for k in graph)


def test_seeds_vmap_and_arrays_are_arguments():
  data = Resident(ARRAYS, 4)
  f = jax.jit(jax.vmap(lambda a, s, t: batch_at(data, a, s, t), (None, 0, None)))
  one = jax.jit(lambda a, s, t: batch_at(data, a, s, t))
  many = f(ARRAYS, jnp.arange(3), 2)
  assert many["image"].shape == (3, 4, 2, 3)
  for s in range(3):
    assert_same(jax.tree.map(lambda x, s=s: x[s], many), one(ARRAYS, s, 2))
  doubled = f(jax.tree.map(lambda x: 2 * x, ARRAYS), jnp.arange(3), 2)
  np.testing.assert_array_equal(doubled["image"], 2 * many["image"])


def test_replicated_streams_have_a_replica_axis_only_when_orders_differ():
  batch = read_batch(Stream(Rows(), 4), [3, 8], 2)
  for i, seed in enumerate((3, 8)):
    assert_same(jax.tree.map(lambda x, i=i: x[i], batch), read_batch(Stream(Rows(), 4), seed, 2))
  shared = read_batch(Stream(Rows(), 4, order="shared"), [3, 8], 2)
  assert_same(shared, read_batch(Stream(Rows(), 4), 0, 2))


def test_each_row_is_read_once():
  source = Rows()
  read_batch(Stream(source, N), [1, 2, 3], 0)
  assert sorted(source.read) == list(range(N))


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_batches_resume_at_any_number(prefetch):
  stream = Stream(Rows(), 4, prefetch=prefetch, transform=lambda row, rng: {"double": 2 * row["image"]})
  iterator = batches(stream, 5, 4)
  for t, (number, batch) in zip(range(4, 12), iterator, strict=False):
    assert number == t
    assert_same(batch, read_batch(stream, 5, t))
    np.testing.assert_array_equal(batch["double"], 2 * ARRAYS["image"][batch["index"]])
  iterator.close()


def _jittered(row, rng):
  return {"image": row["image"] + rng.normal(size=(2, 3)), "drawn": rng.integers(2**31)}


def test_what_a_transform_draws_follows_from_seed_epoch_and_row_alone():
  """Whatever the batch size, the prefetch, the replicas and the step that a run resumes at."""
  expected = {
    (seed, epoch, row): row_rng(seed, epoch, row).normal(size=(2, 3))
    for seed, epoch, row in itertools.product((3, 8), range(3), range(N))
  }
  assert len({x.tobytes() for x in expected.values()}) == len(expected)  # nothing is drawn twice
  for batch_size, prefetch, start in ((4, 0, 0), (4, 3, 2), (3, 1, 5), (10, 2, 1)):
    data = Stream(ManyRows(), batch_size, prefetch=prefetch, transform=_jittered)
    iterator, per_epoch = batches(data, [3, 8], start), n_batches(data)
    for t, batch in itertools.islice(iterator, 3 * per_epoch - start):
      for i, seed in enumerate((3, 8)):
        for row, image in zip(batch["index"][i], batch["image"][i], strict=True):
          drawn = expected[seed, t // per_epoch, int(row)]
          np.testing.assert_array_equal(image, ARRAYS["image"][row] + drawn)
    iterator.close()


def test_without_a_seed_of_its_own_a_row_draws_as_seed_0():
  data = Stream(Rows(), 4, "rows", transform=_jittered)
  expected = [_jittered(Rows()[i], row_rng(0, 0, i))["drawn"] for i in range(4, 8)]
  for batch in (read_sweep_batch(data, 1), read_batch(data, 7, 1)):
    assert batch["drawn"].tolist() == expected


def test_a_part_of_a_batch_draws_what_the_whole_draws():
  data = Stream(Rows(), 4, transform=_jittered)
  whole, part = read_batch(data, [3, 8], 5), read_batch(data, [3, 8], 5, part=(slice(1, 2), slice(1, 3)))
  np.testing.assert_array_equal(part["image"], whole["image"][1:2, 1:3])


def test_errors_of_a_source_reach_the_caller():
  def broken(row, rng):
    raise OSError("disk gone")

  with pytest.raises(OSError, match="disk gone"):
    next(batches(Stream(Rows(), 4, transform=broken), 0))
  with pytest.raises(ValueError, match="start must be >= 0"):
    next(batches(Stream(Rows(), 4), 0, -1))


def test_worker_processes_keep_the_order(tmp_path):
  script = tmp_path / "work.py"
  script.write_text("""
import numpy as np
from absl import flags
from vita_jax.data.stream import Stream, batches, read_batch

if __name__ == "__main__":
  def jittered(row, rng):
    return {"x": row["x"] + rng.normal(size=1)}

  data = Stream([{"x": np.float32([i])} for i in range(10)], 4, workers=2, transform=jittered)
  try:
    next(batches(data, 0))
  except ValueError as e:
    assert "mark_as_parsed" in str(e)
  flags.FLAGS.mark_as_parsed()
  iterator = batches(data, [1, 2], 3)
  for expected in range(3, 9):
    t, batch = next(iterator)
    assert t == expected
    for key, value in read_batch(data, [1, 2], t).items():
      np.testing.assert_array_equal(batch[key], value)
    del batch
  iterator.close()
  print("good")
""")
  done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600, env=_env())
  assert done.returncode == 0 and "good" in done.stdout, done.stderr


def test_a_catalogue_data_set_streams_without_tensorflow(tmp_path):
  script = tmp_path / "catalogue.py"
  script.write_text("""
import sys
import grain
import numpy as np
import tensorflow_datasets as tfds
from vita_jax.data.resident import check, n_batches
from vita_jax.data.stream import Stream, batches

with tfds.testing.mock_data(num_examples=10):
  # Through grain, since the mock's own __getitems__ is broken in tensorflow-datasets 4.9.10.
  source = grain.MapDataset.source(tfds.data_source("mnist", split="train"))
  data = Stream(source, 4, transform=lambda row, rng: {"x": row["image"], "y": np.int32(row["label"])})
  check(data)
  assert n_batches(data) == 3
  iterator = batches(data, 0)
  rows = []
  for _ in range(3):
    _, batch = next(iterator)
    assert batch["x"].shape == (4, 28, 28, 1) and batch["x"].dtype == np.uint8
    assert batch["y"].dtype == np.int32
    rows += batch["index"][batch["mask"] == 1].tolist()
  iterator.close()
assert sorted(rows) == list(range(10))
assert "tensorflow" not in sys.modules
print("good")
""")
  done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600, env=_env())
  assert done.returncode == 0 and "good" in done.stdout, done.stderr


@pytest.mark.parametrize(
  "data,message",
  [
    (Resident({"x": np.zeros(4), "y": np.zeros(5)}, 2), "x: 4, y: 5"),
    (Resident({"x": np.zeros(4), "y": 3.0}, 2), "common leading axis"),
    (Resident({}, 2), "no arrays"),
    (Resident([np.zeros(4)], 2), "must be a dict"),
    (Resident({"x": np.zeros(4), "mask": np.zeros(4)}, 2), "reserved"),
    (Resident({"index": np.zeros(4)}, 2), "reserved"),
    (Resident({"x": np.zeros(4)}, 5), "batch_size 5 > 4 rows"),
    (Resident({"x": np.zeros(4)}, 0), "batch_size"),
    (Resident({"x": np.zeros(0)}, 1), "n_rows"),
    (Resident({"x": np.zeros(4)}, 2, order="random"), "order"),
    (Resident({"x": np.zeros(4)}, 2, remainder="keep"), "remainder"),
    (Stream([{"x": 1}], None), "needs a batch_size"),
    (Stream([{"x": 1}], 2), "batch_size 2 > 1 rows"),
    (Stream([], 2), "no rows"),
    (Stream([3, 4], 2), "must be dicts"),
    (Stream([{"index": 1}], 1), "reserved"),
    (Stream([{"x": 1}], 1, workers=-1), "workers"),
    (Stream([{"x": 1}], 1, transform=lambda row, rng: row["x"]), "must be dicts"),
    (Stream([{"x": 1}], 1, transform=lambda row: row), r"must take \(row, rng\)"),
  ],
)
def test_bad_data_is_refused(data, message):
  with pytest.raises(ValueError, match=message) as error:
    check(data)
  assert "\n" not in str(error.value)


def test_rows_of_unlike_shape_are_named():
  ragged = Stream([{"x": np.zeros(i)} for i in (2, 3)], 2)
  with pytest.raises(ValueError, match=r"cannot be stacked.*\(2,\).*\(3,\)"):
    read_batch(ragged, 0, 0)


def _env():
  import os

  path = os.pathsep.join(p for p in sys.path if p)
  return {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
