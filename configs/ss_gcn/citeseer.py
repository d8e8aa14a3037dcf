"""SS-GCN on Citeseer, 120 labelled nodes, public split.

  python launch/train.py --config=configs/ss_gcn/citeseer.py:partition --config.seeds=10 --workdir=runs/par

The argument is the self-supervised task:
  none           the graph network alone
  cluster        k-means clusters of the features, named by class
  partition      the parts into which METIS cuts the graph
  completion     singular vectors of a node's own features, from its neighbours alone
  random_labels  the control: as many random labels as there are parts
--config.host is gcn, gin, gat, gmnn, graphmix, or the control mlp.
Hardware: 2 CPU cores. Time: 10 seeds under a minute; cluster: about one minute more for k-means, once.
Peak memory with 10 seeds: 0.5 GB (gcn), 1.2 GB (gat).
Expect test accuracy 70.8 ± 0.7 % with none, 50 seeds; vita_jax/papers/ss_gcn/README.md has all rows.
The graph ships with the package; hyper-parameters are the released code's, per host and task.
"""

from vita_jax.papers.ss_gcn.recipe import default_config

# host -> task -> (weight λ of the multi-task loss, number of parts or rank)
HOSTS = {
  "gcn": {"cluster": (0.9, 0), "partition": (0.8, 14), "completion": (0.7, 24)},
  "gin": {"cluster": (0.6, 0), "partition": (0.9, 11), "completion": (0.5, 48)},
  "gat": {"cluster": (0.3, 0), "partition": (0.5, 8), "completion": (0.7, 24)},
  "gmnn": {"cluster": (0.9, 0), "partition": (0.7, 9), "completion": (0.6, 40)},
  "graphmix": {"cluster": (0.7, 0), "partition": (0.5, 16), "completion": (0.7, 40)},
}


def get_config(task: str = "none"):
  return default_config("citeseer", task, HOSTS)
