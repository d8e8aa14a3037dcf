"""Self-training on graphs (M3S): confident nodes whose cluster agrees join the labelled set."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vita_jax.data.graph_clusters import align_clusters
from vita_jax.nn.kmeans import kmeans

N_ITERATIONS = 30  # of Lloyd's algorithm; a fixed number keeps the program's shape


def confident_candidates(logits: jax.Array, pool_mask: jax.Array, *, per_class: int) -> jax.Array:
  """Chooses the `per_class` most confident nodes of the pool for each predicted class.

  Confidence is the softmax probability p of the predicted class, ranked through its log-odds
  log p/(1-p) (the same order, and no ties where p rounds to 1). Ties go to the lower node.

  Args:
    logits: float [N, C].
    pool_mask: bool or 0/1 float [N], nodes that may be chosen.
    per_class: t, static; a class predicted fewer than t times in the pool gives all of these.

  Returns:
    bool [N], at most t * C nodes, all in the pool.

  Raises:
    ValueError: per_class < 1.
  """
  if per_class < 1:
    raise ValueError(f"per_class={per_class} must be at least 1")
  n_nodes, n_classes = logits.shape
  predicted = jax.nn.one_hot(logits.argmax(-1), n_classes, dtype=bool)
  others = jax.nn.logsumexp(jnp.where(predicted, -jnp.inf, logits), axis=-1)
  log_odds = logits.max(-1) - others
  eligible = predicted & pool_mask.astype(bool)[:, None]
  scores = jnp.where(eligible, log_odds[:, None], -jnp.inf).T
  best, nodes = jax.lax.top_k(scores, min(per_class, n_nodes))
  # A class with too few nodes fills its places with -inf scores: these must not set anything.
  return jnp.zeros(n_nodes, bool).at[nodes].max(best > -jnp.inf)


def aligned_cluster_class(
  key: jax.Array,
  hidden: jax.Array,
  labels: jax.Array,
  label_mask: jax.Array,
  *,
  n_classes: int,
  n_clusters: int,
  mask: jax.Array | None = None,
  assignment: jax.Array | None = None,
) -> jax.Array:
  """Finds the class of each node by clustering embeddings: the class nearest to the node's cluster.

  k-means on `hidden`; each cluster takes the class whose labelled centroid (mean embedding of
  the nodes in `label_mask` of that class) is nearest in L2 (`data.graph_clusters.align_clusters`).

  Args:
    key: PRNG key of the k-means seeding.
    hidden: float [N, d] embeddings.
    labels: int [N]; read inside `label_mask` only.
    label_mask: bool or 0/1 float [N].
    n_classes: C. A class without a labelled node is given to no cluster.
    n_clusters: K, static.
    mask: optional bool or 0/1 float [N], nodes that are clustered (padding out); None = all.
    assignment: optional int [N] in [0, n_clusters): clusters known beforehand (the parts of a graph),
      instead of k-means; their centroids are means of `hidden`. An empty one is given no class.

  Returns:
    int32 [N], values in [0, C).
  """
  if assignment is None:
    centroids, assignment = kmeans(key, hidden, n_clusters=n_clusters, n_iterations=N_ITERATIONS, mask=mask)
  else:
    every = jnp.ones(hidden.shape[0]) if mask is None else mask
    centroids = jnp.nan_to_num(_means(hidden, assignment, every, n_clusters), posinf=0.0)
  class_centroids = _means(hidden, labels, label_mask, n_classes)
  return align_clusters(assignment, centroids, class_centroids).astype(jnp.int32)


def _means(hidden: jax.Array, groups: jax.Array, mask: jax.Array, n_groups: int) -> jax.Array:
  """Computes means of `hidden` [N, d] over the masked nodes of each group: [n_groups, d]; +inf if empty."""
  member = jax.nn.one_hot(groups, n_groups) * mask.astype(jnp.float32)[:, None]
  count = member.sum(0)[:, None]
  sums = jnp.matmul(member.T, hidden, precision=jax.lax.Precision.HIGHEST)
  return jnp.where(count > 0, sums / jnp.maximum(count, 1), jnp.inf)


def enlarge(
  labels: jax.Array,
  label_mask: jax.Array,
  logits: jax.Array,
  hidden: jax.Array,
  key: jax.Array,
  *,
  pool_mask: jax.Array,
  per_class: int,
  n_clusters: int,
  n_classes: int,
  assignment: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Runs one round of M3S: adds confident nodes whose aligned cluster agrees with the prediction.

  A candidate (see `confident_candidates`; pool without the nodes already labelled) is added with
  its predicted class as pseudo-label when `aligned_cluster_class` gives it the same class.
  Clusters are found among the nodes of the pool and the labelled set. Labels that exist never
  change; nodes outside the pool never enter. Works under jit and vmap.

  Args:
    labels: int [N]; read inside `label_mask` only.
    label_mask: bool or 0/1 float [N].
    logits: float [N, C] of the trained network, without dropout.
    hidden: float [N, d] of the same pass.
    key: PRNG key.
    pool_mask: bool or 0/1 float [N], nodes that may receive a pseudo-label.
    per_class: t, most confident nodes taken per class.
    n_clusters: K of k-means, large against C.
    n_classes: C.
    assignment: see `aligned_cluster_class`.

  Returns:
    (labels int [N], label_mask [N]), dtypes as given.

  Source: Sun, Lin, Zhu, AAAI 2020 (M3S), a baseline in section 3 of the paper. The numbers of
  rounds, of nodes per class and of clusters are settings; the paper does not give them.
  """
  labelled = label_mask.astype(bool)
  pool = pool_mask.astype(bool) & ~labelled
  candidates = confident_candidates(logits, pool, per_class=per_class)
  aligned = aligned_cluster_class(
    key,
    hidden,
    labels,
    label_mask,
    n_classes=n_classes,
    n_clusters=n_clusters,
    mask=pool | labelled,
    assignment=assignment,
  )
  predicted = logits.argmax(-1).astype(labels.dtype)
  added = candidates & (aligned == predicted)
  new_labels = jnp.where(added, predicted, labels)
  return new_labels, jnp.where(added, jnp.ones_like(label_mask), label_mask)
