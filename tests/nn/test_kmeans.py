"""JAX k-means: parity with scikit-learn, seeding, masks, empty clusters, jit and vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.nn.kmeans import kmeans, nearest_centroid, plus_plus


def blobs(seed=0, n=40, k=4, d=3, spread=0.1, offset=0.0):
  rng = np.random.default_rng(seed)
  centers = offset + 5 * np.eye(k, d) + 10 * np.eye(k, d, 1)
  truth = np.repeat(np.arange(k), n)
  return (centers[truth] + spread * rng.standard_normal((k * n, d))).astype(np.float32), truth


def same_grouping(a, b):
  return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a)) == len(set(b))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_lloyd_equals_scikit_learn_from_the_same_start(offset):
  cluster = pytest.importorskip("sklearn.cluster")
  rng = np.random.default_rng(3)
  x = (offset + rng.standard_normal((300, 5))).astype(np.float32)
  init = x[:12]
  theirs = cluster.KMeans(12, init=init, n_init=1, algorithm="lloyd", tol=0, max_iter=300).fit(x)
  assert theirs.n_iter_ < 300
  centroids, assignment = kmeans(
    jax.random.key(0), jnp.asarray(x), n_clusters=12, n_iterations=theirs.n_iter_, init=init
  )
  # At 1000 a float32 has 6e-5 left.
  np.testing.assert_allclose(centroids, theirs.cluster_centers_, atol=2e-5 if offset == 0 else 3e-4)
  np.testing.assert_array_equal(assignment, theirs.labels_)
  inertia = ((x - np.asarray(centroids)[np.asarray(assignment)]) ** 2).sum()
  np.testing.assert_allclose(inertia, theirs.inertia_, rtol=1e-4)


def test_blobs_are_found_from_plus_plus_seeds():
  x, truth = blobs()
  centroids, assignment = kmeans(jax.random.key(1), jnp.asarray(x), n_clusters=4, n_iterations=5)
  assert assignment.dtype == jnp.int32 and centroids.shape == (4, 3)
  assert same_grouping(np.asarray(assignment), truth)
  for k in range(4):
    np.testing.assert_allclose(centroids[k], x[np.asarray(assignment) == k].mean(0), atol=1e-5)


def test_plus_plus_draws_rows_by_squared_distance():
  # First the row at 0 (weights pick it), then 1 or 3 with odds 1 : 9.
  x = jnp.array([[0.0], [1.0], [3.0]])
  keys = jax.random.split(jax.random.key(0), 4000)
  seeds = jax.jit(jax.vmap(lambda key: plus_plus(key, x, jnp.ones(3), n_clusters=2)))
  picks = seeds(keys)[..., 0]
  after_zero = np.asarray(picks[picks[:, 0] == 0, 1])
  np.testing.assert_allclose((after_zero == 3).mean(), 0.9, atol=0.03)
  np.testing.assert_allclose(len(after_zero) / 4000, 1 / 3, atol=0.03)


def test_inertia_never_rises():
  x = jnp.asarray(np.random.default_rng(0).standard_normal((200, 4)), jnp.float32)
  one_iteration = jax.jit(functools.partial(kmeans, n_clusters=9, n_iterations=1))
  centroids, inertia = x[:9], []
  for _ in range(8):
    centroids, assignment = one_iteration(jax.random.key(0), x, init=centroids)
    inertia.append(float(((x - centroids[assignment]) ** 2).sum()))
  assert np.all(np.diff(inertia) <= 1e-3) and inertia[-1] < 0.95 * inertia[0]


def test_masked_rows_do_not_move_centroids_but_are_assigned():
  x, _ = blobs()
  far = np.concatenate([x, np.full((7, 3), 500.0, np.float32)])
  mask = jnp.arange(len(far)) < len(x)
  run = jax.jit(functools.partial(kmeans, n_clusters=4, n_iterations=5))
  for start in range(5):
    centroids, assignment = run(jax.random.key(start), jnp.asarray(far), mask=mask)
    assert np.abs(centroids).max() < 20
    assert assignment.shape == (len(far),)
    np.testing.assert_array_equal(assignment, nearest_centroid(jnp.asarray(far), centroids))


def test_an_empty_cluster_keeps_its_centroid():
  x = jnp.array([[0.0], [1.0], [10.0], [11.0]])
  init = jnp.array([[0.0], [10.0], [1e4]])
  centroids, assignment = kmeans(jax.random.key(0), x, n_clusters=3, n_iterations=3, init=init)
  np.testing.assert_allclose(centroids[:, 0], [0.5, 10.5, 1e4], rtol=1e-6)
  np.testing.assert_array_equal(assignment, [0, 0, 1, 1])


def test_fewer_distinct_rows_than_clusters_stays_finite():
  x = jnp.ones((6, 2)).at[:2].set(3.0)
  centroids, assignment = kmeans(jax.random.key(0), x, n_clusters=4, n_iterations=3)
  assert np.isfinite(centroids).all()
  np.testing.assert_allclose(np.asarray(centroids)[np.asarray(assignment)], x, atol=1e-6)


def test_jit_and_vmap_give_the_single_run():
  x = jnp.stack([jnp.asarray(blobs(seed)[0]) for seed in range(3)])
  keys = jax.random.split(jax.random.key(0), 3)
  run = functools.partial(kmeans, n_clusters=4, n_iterations=5)
  centroids, assignment = jax.jit(jax.vmap(run))(keys, x)
  for i in range(3):
    one_centroids, one_assignment = jax.jit(run)(keys[i], x[i])
    np.testing.assert_array_equal(assignment[i], one_assignment)
    np.testing.assert_allclose(centroids[i], one_centroids, atol=1e-5)


def test_bfloat16_rows_are_clustered_in_float32():
  x, truth = blobs()
  centroids, assignment = kmeans(
    jax.random.key(1), jnp.asarray(x, jnp.bfloat16), n_clusters=4, n_iterations=5
  )
  assert centroids.dtype == jnp.float32 and same_grouping(np.asarray(assignment), truth)


@pytest.mark.parametrize(
  "x, options, message",
  [
    (jnp.ones(4), {"n_clusters": 2, "n_iterations": 1}, r"need \[N, d\]"),
    (jnp.ones((4, 1)), {"n_clusters": 5, "n_iterations": 1}, "between 1 and the 4 rows"),
    (jnp.ones((4, 1)), {"n_clusters": 2, "n_iterations": -1}, "must not be negative"),
    (jnp.ones((4, 1)), {"n_clusters": 2, "n_iterations": 1, "init": jnp.ones((3, 1))}, "init has"),
  ],
)
def test_bad_input_is_named(x, options, message):
  with pytest.raises(ValueError, match=message):
    kmeans(jax.random.key(0), x, **options)
