"""SS-GCN on PubMed, 60 labelled nodes, public split.

  python launch/train.py --config=configs/ss_gcn/pubmed.py:partition --config.seeds=10 --workdir=runs/pubmed

The argument is the self-supervised task: none | cluster | partition | completion | random_labels.
Hardware and time: 2 CPU cores, 10 seeds: under two minutes (cluster: 3 more the first time).
Expect test accuracy 79.2 ± 0.2 % (none; 50 seeds, see vita_jax/papers/ss_gcn/README.md).
The graph does not ship with the package: set VITA_DATA_DIR (see vita_jax/data/README.md).
"""

from vita_jax.papers.ss_gcn.recipe import default_config

# host -> task -> (weight λ of the multi-task loss, number of parts or rank)
HOSTS = {
  "gcn": {"cluster": (0.9, 0), "partition": (0.2, 14), "completion": (0.5, 28)},
  "gin": {"cluster": (0.9, 0), "partition": (0.2, 14), "completion": (0.3, 24)},
  "gat": {"cluster": (0.6, 0), "partition": (0.2, 14), "completion": (0.3, 24)},
}


def get_config(task: str = "none"):
  return default_config("pubmed", task, HOSTS)
