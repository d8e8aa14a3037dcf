"""SS-GCN on a graph of your own.

  python launch/train.py --config=configs/ss_gcn/custom.py:cluster --config.data.path=my.npz --workdir=runs/my

The argument is the self-supervised task: none | cluster | partition | completion | random_labels.
The npz holds `edges` int [E, 2] (any direction; duplicates and self-loops are cleaned), `features`
[N, F] or as CSR `feat_indptr`, `feat_indices`, `feat_data`, `labels` int [N] with -1 for none, and
`train_mask`, `val_mask`, `test_mask` as bool [N] or node numbers (vita_jax/data/graphs.py has all rules).
Settings are those of Citeseer; choose --config.ss.gcn.weight and .n_outputs by validation accuracy.
"""

from vita_jax.papers.ss_gcn.recipe import default_config

# host -> task -> (weight λ of the multi-task loss, number of parts or rank)
TASKS = {"cluster": (0.9, 0), "partition": (0.8, 14), "completion": (0.7, 24)}
HOSTS = {"gcn": TASKS, "gin": TASKS, "gat": TASKS}


def get_config(task: str = "none"):
  return default_config("", task, HOSTS)
