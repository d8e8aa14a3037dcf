"""SS-GCN on PubMed, 60 labelled nodes, public split.

  python launch/train.py --config=configs/ss_gcn/pubmed.py:partition --config.seeds=10 --workdir=runs/pubmed

The argument is the self-supervised task:
  none           the graph network alone
  cluster        k-means clusters of the features, named by class
  partition      the parts into which METIS cuts the graph
  completion     singular vectors of a node's own features, from its neighbours alone
  random_labels  the control: as many random labels as there are parts
--config.host is gcn, gin, gat, gmnn, graphmix, or the control mlp.
Hardware: 2 CPU cores. Time: 10 seeds under two minutes; cluster: three minutes more for k-means, once.
Peak memory with 10 seeds: 0.7 GB (gcn), 4.1 GB (gat).
Expect test accuracy 79.2 ± 0.2 % with none, 50 seeds; vita_jax/papers/ss_gcn/README.md has all rows.
The graph does not ship with the package: set VITA_DATA_DIR (see vita_jax/data/README.md).
"""

from vita_jax.papers.ss_gcn.recipe import default_config

# host -> task -> (weight λ of the multi-task loss, number of parts or rank)
HOSTS = {
  "gcn": {"cluster": (0.9, 0), "partition": (0.2, 14), "completion": (0.5, 28)},
  "gin": {"cluster": (0.9, 0), "partition": (0.2, 14), "completion": (0.3, 24)},
  "gat": {"cluster": (0.6, 0), "partition": (0.2, 14), "completion": (0.3, 24)},
  "gmnn": {"cluster": (0.7, 0), "partition": (0.9, 8), "completion": (0.35, 12)},
  "graphmix": {"cluster": (0.7, 0), "partition": (0.3, 13), "completion": (0.3, 13)},
}


def get_config(task: str = "none"):
  config = default_config("pubmed", task, HOSTS)
  config.gmnn.optimizer, config.gmnn.learning_rate = "adam", 0.01
  config.graphmix.unlabelled_weight = 1.0
  config.gmnn.normalization = config.graphmix.normalization = "binary_row"
  return config
