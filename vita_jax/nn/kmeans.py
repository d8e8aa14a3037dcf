"""Lloyd's k-means with fixed shapes, for clustering inside compiled programs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

HIGHEST = jax.lax.Precision.HIGHEST  # the default of GPUs and TPUs rounds inputs of a matmul


def plus_plus(key: jax.Array, x: jax.Array, weight: jax.Array, *, n_clusters: int) -> jax.Array:
  """Draws starting centroids (k-means++): each further one is a row drawn by its squared distance.

  Args:
    key: PRNG key.
    x: float [N, d].
    weight: float [N]; rows of weight 0 are never drawn.
    n_clusters: k.

  Returns:
    float [k, d], rows of x. With fewer than k distinct rows some rows are drawn again.
  """

  def add(i, carry):
    centroids, nearest = carry
    score = nearest * weight
    score = jnp.where(score.sum() > 0, score, weight)
    row = x[jax.random.categorical(jax.random.fold_in(key, i), jnp.log(score))]
    return centroids.at[i].set(row), jnp.minimum(nearest, ((x - row) ** 2).sum(-1))

  first = x[jax.random.categorical(jax.random.fold_in(key, 0), jnp.log(weight))]
  centroids = jnp.zeros((n_clusters, x.shape[1]), x.dtype).at[0].set(first)
  nearest = ((x - first) ** 2).sum(-1)
  centroids, _ = jax.lax.fori_loop(1, n_clusters, add, (centroids, nearest))
  return centroids


def nearest_centroid(x: jax.Array, centroids: jax.Array) -> jax.Array:
  """Returns int32 [N]: the index of the nearest row of centroids [k, d] to each row of x [N, d] (L2)."""
  # |x|^2 is the same for all centroids and left out.
  score = (centroids**2).sum(-1) - 2 * jnp.matmul(x, centroids.T, precision=HIGHEST)
  return score.argmin(-1).astype(jnp.int32)


def kmeans(
  key: jax.Array,
  x: jax.Array,
  *,
  n_clusters: int,
  n_iterations: int,
  init: jax.Array | None = None,
  mask: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Runs Lloyd's algorithm: `n_iterations` times, assign rows to centroids, then average.

  Pure, fixed shapes: works under jit and vmap, O(N k) memory. Plain k-means++ seeding, one start
  (scikit-learn tries several rows per draw). A cluster left without rows keeps its centroid
  (scikit-learn moves it to a far row). Sums are matmuls with one-hot rows rather than scatters,
  so the result is the same bits on every run, on GPUs too.

  Args:
    key: PRNG key; unused when `init` is given.
    x: float [N, d]; computed in float32 at least.
    n_clusters: k, static.
    n_iterations: static; assignments at a fixed point stay there.
    init: optional float [k, d] starting centroids instead of k-means++.
    mask: optional bool or 0/1 float [N]; rows with 0 do not move centroids, but are assigned.

  Returns:
    (centroids [k, d], assignment int32 [N] to the nearest of these centroids).

  Raises:
    ValueError: x is not [N, d], k is not in [1, N], n_iterations < 0, or init is not [k, d].
  """
  if x.ndim != 2:
    raise ValueError(f"x has shape {x.shape}, need [N, d]")
  if not 1 <= n_clusters <= x.shape[0]:
    raise ValueError(f"n_clusters={n_clusters} must be between 1 and the {x.shape[0]} rows")
  if n_iterations < 0:
    raise ValueError(f"n_iterations={n_iterations} must not be negative")
  if init is not None and init.shape != (n_clusters, x.shape[1]):
    raise ValueError(f"init has shape {init.shape}, need {(n_clusters, x.shape[1])}")
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  weight = jnp.ones(x.shape[0], x.dtype) if mask is None else mask.astype(x.dtype)
  # Distances are expanded into products, which lose digits when the data lie far from 0.
  mean = (weight[:, None] * x).sum(0) / jnp.maximum(weight.sum(), 1)
  x = x - mean
  if init is None:
    centroids = plus_plus(key, x, weight, n_clusters=n_clusters)
  else:
    centroids = init.astype(x.dtype) - mean

  def lloyd(_, centroids):
    member = jax.nn.one_hot(nearest_centroid(x, centroids), n_clusters, dtype=x.dtype)
    member = member * weight[:, None]
    count = member.sum(0)[:, None]
    sums = jnp.matmul(member.T, x, precision=HIGHEST)
    return jnp.where(count > 0, sums / jnp.maximum(count, 1), centroids)

  centroids = jax.lax.fori_loop(0, n_iterations, lloyd, centroids)
  return centroids + mean, nearest_centroid(x, centroids)
