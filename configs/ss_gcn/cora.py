"""SS-GCN on Cora, 140 labelled nodes, public split.

  python launch/train.py --config=configs/ss_gcn/cora.py:partition --config.seeds=10 --workdir=runs/cora

The argument is the self-supervised task:
  none           the graph network alone
  cluster        k-means clusters of the features, named by class
  partition      the parts into which METIS cuts the graph
  completion     singular vectors of a node's own features, from its neighbours alone
  random_labels  the control: as many random labels as there are parts
--config.host is gcn, gin, gat, gmnn, graphmix, or the control mlp.
Hardware: 2 CPU cores. Time: 10 seeds under a minute.
Peak memory with 10 seeds: 0.5 GB (gcn).
Expect test accuracy 81.1 ± 0.6 % with none, 50 seeds; vita_jax/papers/ss_gcn/README.md has all rows.
The graph does not ship with the package: set VITA_DATA_DIR (see vita_jax/data/README.md).
"""

from vita_jax.papers.ss_gcn.recipe import default_config

# host -> task -> (weight λ of the multi-task loss, number of parts or rank)
HOSTS = {
  "gcn": {"cluster": (0.5, 0), "partition": (0.7, 14), "completion": (0.3, 48)},
  "gin": {"cluster": (0.7, 0), "partition": (0.6, 9), "completion": (0.3, 36)},
  "gat": {"cluster": (0.6, 0), "partition": (0.5, 9), "completion": (0.5, 24)},
  "gmnn": {"cluster": (0.7, 0), "partition": (0.7, 14), "completion": (0.3, 12)},
  "graphmix": {"cluster": (0.7, 0), "partition": (0.4, 15), "completion": (0.3, 8)},
}


def get_config(task: str = "none"):
  config = default_config("cora", task, HOSTS)
  config.learning_rate = 0.008
  config.weight_decay = 8e-5
  config.gmnn.pretrain_epochs = 100
  return config
