"""The index function: a permutation per epoch, the same on host and device, uniform over seeds."""

import itertools
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from vita_jax.data.index import batches_per_epoch, host_index, index, is_padded, permuted, row_order

BIG = 2**31 - 1


def epoch_rows(seed, epoch, n_rows, batch_size, remainder="pad"):
  per_epoch = batches_per_epoch(n_rows, batch_size, remainder)
  batches = [
    host_index(seed, epoch * per_epoch + i, n_rows=n_rows, batch_size=batch_size, remainder=remainder)
    for i in range(per_epoch)
  ]
  rows, mask = (np.concatenate(x) for x in zip(*batches, strict=True))
  return rows, mask


@pytest.mark.parametrize("n_rows", [*range(1, 40), 63, 64, 65, 100, 127, 1000, 1024, 1797, 4097])
def test_every_epoch_is_a_permutation(n_rows):
  for batch_size in {1, 3, n_rows} if n_rows < 40 else {7, 128}:
    for epoch in (0, 1, 5):
      rows, mask = epoch_rows(11, epoch, n_rows, batch_size)
      np.testing.assert_array_equal(np.sort(rows[mask == 1]), np.arange(n_rows))
      np.testing.assert_array_equal(rows[mask == 0], 0)
      assert is_padded(n_rows=n_rows, batch_size=batch_size, remainder="pad") == (mask == 0).any()
      assert rows.dtype == np.int32 and mask.dtype == np.float32


def test_drop_leaves_out_the_partial_batch_and_pads_nothing():
  rows, mask = epoch_rows(3, 2, 103, 10, "drop")
  assert len(rows) == 100 and len(set(rows.tolist())) == 100 and mask.all()
  left_out = [set(range(103)) - set(epoch_rows(3, e, 103, 10, "drop")[0].tolist()) for e in range(5)]
  assert len(set(map(frozenset, left_out))) == 5


@pytest.mark.parametrize(
  "n_rows,batch_size", [(1, 1), (3, 2), (16, 16), (1797, 128), (BIG, 5), (2**30 + 1, 3)]
)
def test_host_and_device_give_the_same_bits(n_rows, batch_size):
  sizes = dict(n_rows=n_rows, batch_size=batch_size)
  seeds = np.array([0, 1, 77, BIG], np.int32)
  times = np.array([0, 1, 2, 1000, BIG - 1], np.int32)
  compiled = jax.jit(jax.vmap(jax.vmap(lambda s, t: index(s, t, **sizes), (None, 0)), (0, None)))
  rows, mask = compiled(seeds, times)
  assert rows.dtype == jnp.int32 and mask.dtype == jnp.float32
  with warnings.catch_warnings():
    warnings.simplefilter("error")  # numpy warns where scalars overflow
    for (i, s), (j, t) in itertools.product(enumerate(seeds), enumerate(times)):
      for seed, time in ((s, t), (int(s), int(t))):
        host_rows, host_mask = host_index(seed, time, **sizes)
        np.testing.assert_array_equal(rows[i, j], host_rows)
        np.testing.assert_array_equal(mask[i, j], host_mask)
  assert (np.asarray(rows) >= 0).all() and (np.asarray(rows) < n_rows).all()


def test_vmapped_seeds_equal_single_seeds():
  one = jax.jit(lambda s: index(s, 4, n_rows=50, batch_size=8)[0])
  np.testing.assert_array_equal(jax.vmap(one)(jnp.arange(6)), np.stack([one(s) for s in range(6)]))


def test_seed_types_agree():
  expected = host_index(5, 3, n_rows=99, batch_size=9)[0]
  for seed in (np.int64(5), np.uint32(5), jnp.int32(5), jnp.uint32(5), 5 + 2**32):
    np.testing.assert_array_equal(index(seed, 3, n_rows=99, batch_size=9)[0], expected)
  np.testing.assert_array_equal(
    host_index(-1, 0, n_rows=99, batch_size=9)[0], index(jnp.uint32(2**32 - 1), 0, n_rows=99, batch_size=9)[0]
  )


def test_epochs_and_seeds_differ():
  orders = {epoch_rows(seed, epoch, 100, 100)[0].tobytes() for seed in range(20) for epoch in range(20)}
  assert len(orders) == 400


def test_big_sets_do_not_overflow_and_do_not_repeat():
  batch_size = 1000
  last = batches_per_epoch(BIG, batch_size) - 1
  rows, mask = host_index(1, last, n_rows=BIG, batch_size=batch_size)
  assert mask.sum() == BIG - last * batch_size  # 647 rows, then padding beyond 2**31 - 1
  drawn = np.concatenate(
    [host_index(1, t, n_rows=BIG, batch_size=batch_size)[0] for t in range(50)] + [rows[mask == 1]]
  )
  assert len(np.unique(drawn)) == len(drawn) and drawn.min() >= 0
  # 50,647 uniform draws: the mean is within 5 standard errors of the middle.
  assert abs(drawn.mean() / BIG - 0.5) < 5 / math.sqrt(12 * len(drawn))


@pytest.mark.parametrize("n_rows", [2, 3, 4, 5, 6, 8, 12, 17])
def test_rows_are_uniform_over_seeds_singly_and_in_pairs(n_rows):
  n_seeds = 20_000
  order = np.asarray(
    jax.jit(jax.vmap(lambda s: index(s, 3, n_rows=n_rows, batch_size=n_rows)[0]))(jnp.arange(n_seeds))
  )

  def p_value(counts):
    expected = n_seeds / len(counts)
    return chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1)

  off_diagonal = ~np.eye(n_rows, dtype=bool).ravel()
  for i in range(min(n_rows, 6)):
    assert p_value(np.bincount(order[:, i], minlength=n_rows)) > 1e-5
    for j in {(i + 1) % n_rows, n_rows - 1} - {i}:
      pairs = np.bincount(order[:, i] * n_rows + order[:, j], minlength=n_rows**2)
      assert p_value(pairs[off_diagonal]) > 1e-5
  if n_rows <= 5:  # all n! orders equally likely
    _, counts = np.unique(order, axis=0, return_counts=True)
    assert len(counts) == math.factorial(n_rows) and p_value(counts) > 1e-5


def test_epochs_of_one_seed_are_uniform():
  first = np.asarray(
    jax.jit(jax.vmap(lambda t: index(7, t, n_rows=10, batch_size=10)[0][0]))(jnp.arange(20_000))
  )
  counts = np.bincount(first, minlength=10)
  assert chi2.sf(((counts - 2000) ** 2 / 2000).sum(), 9) > 1e-5


def test_row_order_runs_through_the_rows():
  rows, mask = row_order(5, n_rows=10, batch_size=4)  # third batch of epoch 1
  np.testing.assert_array_equal(rows, [8, 9, 0, 0])
  np.testing.assert_array_equal(mask, [1, 1, 0, 0])


@pytest.mark.parametrize(
  "sizes,message",
  [
    (dict(n_rows=0, batch_size=1), "n_rows"),
    (dict(n_rows=2**31, batch_size=1), "n_rows"),
    (dict(n_rows=4, batch_size=0), "batch_size"),
    (dict(n_rows=4, batch_size=5, remainder="drop"), "drops every row"),
    (dict(n_rows=4, batch_size=2, remainder="keep"), "'pad' or 'drop'"),
  ],
)
def test_bad_sizes_are_refused(sizes, message):
  with pytest.raises(ValueError, match=message):
    index(0, 0, **sizes)


def test_an_order_whose_length_is_known_at_run_time_is_a_permutation_and_agrees_with_index():
  def rows(n, *, epoch=3):
    return np.asarray(run(jnp.uint32(7), jnp.int32(epoch), jnp.arange(1000), jnp.int32(n)))

  run = jax.jit(lambda *args: permuted(*args, max_rows=1000))
  for n in (1, 2, 33, 512, 999, 1000):
    np.testing.assert_array_equal(np.sort(rows(n)[:n]), np.arange(n))
    assert (rows(n)[n:] < n).all()  # places outside count as place 0
  assert (rows(999)[:999] != rows(999, epoch=4)[:999]).mean() > 0.9
  first, _ = index(7, 3, n_rows=1000, batch_size=1000)
  other, _ = index(7, 4, n_rows=1000, batch_size=1000)
  np.testing.assert_array_equal(rows(1000), first)
  np.testing.assert_array_equal(rows(1000, epoch=4), other)
