"""A small graph with planted classes, as a user's npz file: 3 classes of 40 nodes that mostly link within."""

import numpy as np


def write_small_graph(path, *, n_per_class=40, n_classes=3, n_features=24, seed=0):
  """Writes the npz and returns its path as a string."""
  random = np.random.default_rng(seed)
  n_nodes = n_per_class * n_classes
  labels = np.arange(n_nodes) % n_classes
  same = labels[:, None] == labels[None]
  linked = np.triu(random.random((n_nodes, n_nodes)) < np.where(same, 0.15, 0.01), 1)
  likely = np.eye(n_classes).repeat(n_features // n_classes, axis=1)[labels]
  features = (random.random((n_nodes, n_features)) < 0.05 + 0.3 * likely).astype(np.float32)
  order = random.permutation(n_nodes)
  np.savez(
    path,
    edges=np.argwhere(linked),
    features=features,
    labels=labels,
    train_mask=order[:30],
    val_mask=order[30:60],
    test_mask=order[60:],
  )
  return str(path)
