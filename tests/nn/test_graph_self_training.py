"""M3S pieces on hand-made logits and blobs with known answers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data.graph_clusters import class_centroids
from vita_jax.nn.graph_self_training import (
  aligned_cluster_class,
  confident_candidates,
  enlarge,
)

N_CLASSES = 3
PER_BLOB = 20


@pytest.fixture(scope="module")
def blobs():
  """Three far blobs, one labelled node each, and logits that favour the true class."""
  rng = np.random.default_rng(0)
  truth = np.repeat(np.arange(N_CLASSES), PER_BLOB)
  hidden = 20 * np.eye(N_CLASSES)[truth] + rng.standard_normal((60, N_CLASSES))
  confidence = rng.uniform(1, 4, 60)
  logits = confidence[:, None] * np.eye(N_CLASSES)[truth]
  labels = np.full(60, -1, np.int32)
  labels[::PER_BLOB] = [0, 1, 2]
  as_jax = functools.partial(jnp.asarray, dtype=jnp.float32)
  return truth, as_jax(hidden), as_jax(logits), jnp.asarray(labels), jnp.asarray(labels >= 0)


def grow(labels, label_mask, logits, hidden, key, pool_mask, per_class=5, n_clusters=9):
  return enlarge(
    labels,
    label_mask,
    logits,
    hidden,
    key,
    pool_mask=pool_mask,
    per_class=per_class,
    n_clusters=n_clusters,
    n_classes=N_CLASSES,
  )


grow_jit = jax.jit(grow, static_argnames=("per_class", "n_clusters"))


def test_candidates_by_hand():
  logits = jnp.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.0, 4.0], [0.0, 9.0], [5.0, 0.0]])
  pool = jnp.array([True, True, True, True, True, False])
  picked = functools.partial(confident_candidates, logits, pool)
  np.testing.assert_array_equal(picked(per_class=1), [1, 0, 0, 0, 1, 0])
  np.testing.assert_array_equal(picked(per_class=2), [1, 1, 0, 1, 1, 0])
  # More asked for than there are: all of the pool, and nothing outside it.
  for per_class in (3, 6, 100):
    np.testing.assert_array_equal(picked(per_class=per_class), pool)


def test_candidates_rank_where_probabilities_round_to_one():
  logits = jnp.array([[40.0, 0.0], [60.0, 0.0], [50.0, 0.0]])
  assert (jax.nn.softmax(logits)[:, 0] == 1).all()
  picked = confident_candidates(logits, jnp.ones(3, bool), per_class=1)
  np.testing.assert_array_equal(picked, [0, 1, 0])


def test_candidates_rank_by_probability_not_by_logit():
  logits = jnp.array([[100.0, 99.0, 99.0], [5.0, 0.0, 0.0]])
  picked = confident_candidates(logits, jnp.ones(2), per_class=1)
  np.testing.assert_array_equal(picked, [0, 1])


def test_candidates_equal_a_sort_in_numpy():
  rng = np.random.default_rng(1)
  logits = rng.standard_normal((200, 5)).astype(np.float32)
  pool = rng.random(200) < 0.6
  probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  expected = np.zeros(200, bool)
  for c in range(5):
    rows = np.flatnonzero(pool & (logits.argmax(1) == c))
    expected[rows[np.argsort(-probability[rows, c])][:7]] = True
  picked = confident_candidates(jnp.asarray(logits), jnp.asarray(pool), per_class=7)
  np.testing.assert_array_equal(picked, expected)


def test_clusters_take_the_class_of_their_blob(blobs):
  truth, hidden, _, labels, label_mask = blobs
  run = jax.jit(functools.partial(aligned_cluster_class, n_classes=N_CLASSES, n_clusters=9))
  for seed in range(5):
    aligned = run(jax.random.key(seed), hidden, labels, label_mask)
    assert aligned.dtype == jnp.int32
    np.testing.assert_array_equal(aligned, truth)
  # One cluster per node: each node takes the class of the nearest labelled centroid itself.
  singles = jax.jit(functools.partial(aligned_cluster_class, n_classes=N_CLASSES, n_clusters=60))(
    jax.random.key(0), hidden, labels, label_mask
  )
  centroids = class_centroids(np.asarray(hidden), np.asarray(labels), label_mask, n_classes=3)
  distance = ((np.asarray(hidden)[:, None] - centroids) ** 2).sum(-1)
  np.testing.assert_array_equal(singles, distance.argmin(1))


def test_a_class_without_labels_is_given_to_no_cluster(blobs):
  _, hidden, _, labels, label_mask = blobs
  without = label_mask & (labels != 1)
  run = jax.jit(functools.partial(aligned_cluster_class, n_classes=N_CLASSES, n_clusters=9))
  aligned = run(jax.random.key(0), hidden, labels, without)
  assert set(np.asarray(aligned).tolist()) == {0, 2}


def test_enlarge_adds_the_most_confident_agreeing_nodes(blobs):
  truth, hidden, logits, labels, label_mask = blobs
  new_labels, new_mask = grow_jit(labels, label_mask, logits, hidden, jax.random.key(0), ~label_mask)
  assert new_labels.dtype == labels.dtype and new_mask.dtype == label_mask.dtype
  expected = np.asarray(label_mask).copy()
  for c in range(N_CLASSES):
    rows = np.flatnonzero(~np.asarray(label_mask) & (truth == c))
    expected[rows[np.argsort(-np.asarray(logits)[rows, c])][:5]] = True
  np.testing.assert_array_equal(new_mask, expected)
  np.testing.assert_array_equal(np.asarray(new_labels)[expected], truth[expected])
  np.testing.assert_array_equal(np.asarray(new_labels)[~expected], -1)


def test_enlarge_refuses_a_confident_node_in_another_cluster(blobs):
  truth, hidden, logits, labels, label_mask = blobs
  # Node 7 sits in blob 0; the network is sure that it is of class 2.
  wrong = logits.at[7].set(jnp.array([0.0, 0.0, 50.0]))
  picked = confident_candidates(wrong, ~label_mask, per_class=5)
  new_labels, new_mask = grow_jit(labels, label_mask, wrong, hidden, jax.random.key(0), ~label_mask)
  assert picked[7] and not new_mask[7] and new_labels[7] == -1
  assert int(new_mask.sum()) == 3 + 14


def test_enlarge_keeps_labels_and_stays_in_the_pool(blobs):
  truth, hidden, logits, labels, label_mask = blobs
  # A labelled node that the network contradicts, and a pool that wrongly contains labelled nodes.
  given = labels.at[0].set(2)
  pool = jnp.arange(60) % 2 == 0
  state = (given, label_mask)
  for stage in range(4):
    before = state
    state = grow_jit(*before, logits, hidden, jax.random.key(stage), pool)
    old = np.asarray(before[1])
    np.testing.assert_array_equal(np.asarray(state[0])[old], np.asarray(before[0])[old])
    assert (np.asarray(state[1]) >= old).all()
  added = np.asarray(state[1] & ~label_mask)
  assert added.any() and not added[~np.asarray(pool)].any()


def test_enlarge_reads_no_label_outside_the_mask(blobs):
  truth, hidden, logits, labels, label_mask = blobs
  true_labels = jnp.asarray(np.where(label_mask, labels, (truth + 1) % 3).astype(np.int32))
  args = (logits, hidden, jax.random.key(0), ~label_mask)
  hidden_labels, mask = grow_jit(labels, label_mask, *args)
  seen_labels, seen_mask = grow_jit(true_labels, label_mask, *args)
  np.testing.assert_array_equal(mask, seen_mask)
  np.testing.assert_array_equal(hidden_labels[mask], seen_labels[mask])


def test_padding_nodes_change_nothing_and_float_masks_stay_float(blobs):
  _, hidden, logits, labels, label_mask = blobs

  def pad(x, value):
    rows = jnp.full((4, *x.shape[1:]), value, x.dtype)
    return jnp.concatenate([x, rows])

  float_mask = label_mask.astype(jnp.float32)
  args = (pad(labels, -1), pad(float_mask, 0), pad(logits, 99), pad(hidden, 1e3))
  new_labels, new_mask = grow_jit(*args, jax.random.key(0), pad(1 - float_mask, 0))
  plain_labels, plain_mask = grow_jit(labels, label_mask, logits, hidden, jax.random.key(0), ~label_mask)
  assert new_mask.dtype == jnp.float32 and not new_mask[60:].any()
  np.testing.assert_array_equal(new_mask[:60].astype(bool), plain_mask)
  np.testing.assert_array_equal(new_labels[:60], plain_labels)


def test_vmap_over_seeds_gives_the_single_runs(blobs):
  _, hidden, logits, labels, label_mask = blobs
  keys = jax.random.split(jax.random.key(0), 3)
  scales = jnp.array([1.0, 2.0, 3.0])[:, None, None]
  noise = jax.random.normal(jax.random.key(1), (3, *logits.shape))
  many_logits, many_hidden = logits * scales + noise, hidden * scales
  many = jax.jit(jax.vmap(grow, in_axes=(None, None, 0, 0, 0, None)))
  all_labels, all_mask = many(labels, label_mask, many_logits, many_hidden, keys, ~label_mask)
  for i in range(3):
    one_labels, one_mask = grow_jit(labels, label_mask, many_logits[i], many_hidden[i], keys[i], ~label_mask)
    np.testing.assert_array_equal(all_mask[i], one_mask)
    np.testing.assert_array_equal(all_labels[i], one_labels)


def test_bad_per_class_is_named():
  with pytest.raises(ValueError, match="per_class=0 must be at least 1"):
    confident_candidates(jnp.ones((3, 2)), jnp.ones(3), per_class=0)


def test_known_clusters_replace_k_means():
  """Two parts, one labelled node each: a candidate is taken only where its part's class agrees."""
  hidden = jnp.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
  parts = jnp.array([0, 0, 1, 1, 1, 1])
  labels, label_mask = jnp.array([0, 0, 0, 1, 0, 0]), jnp.array([1, 0, 0, 1, 0, 0], bool)
  logits = jnp.array([[9.0, 0], [8, 0], [7, 0], [0, 9], [0, 8], [0, 7]])
  new_labels, new_mask = enlarge(
    labels,
    label_mask,
    logits,
    hidden,
    jax.random.key(0),
    pool_mask=jnp.ones(6, bool),
    per_class=3,
    n_clusters=2,
    n_classes=2,
    assignment=parts,
  )
  # Node 2 is confident of class 0 but lies in part 1, whose centroid is nearest to class 1.
  assert new_mask.tolist() == [True, True, False, True, True, True]
  assert new_labels[jnp.array([1, 4, 5])].tolist() == [0, 1, 1]
