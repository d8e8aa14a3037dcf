"""SS-GCN on a graph of your own.

  python launch/train.py --config=configs/ss_gcn/custom.py:cluster --config.data.path=my.npz --workdir=runs/my

The argument is the self-supervised task:
  none           the graph network alone
  cluster        k-means clusters of the features, named by class
  partition      the parts into which METIS cuts the graph
  completion     singular vectors of a node's own features, from its neighbours alone
  random_labels  the control: as many random labels as there are parts
--config.host is gcn, gin, gat, gmnn, graphmix, or the control mlp.
The npz holds `edges` int [E, 2] (each undirected edge once, u < v, or in both directions), `features`
[N, F] or as CSR `feat_indptr`, `feat_indices`, `feat_data`, `labels` int [N] with -1 for none, and
`train_mask`, `val_mask`, `test_mask` as bool [N] or node numbers; perhaps `edge_weight` [E] and
`directed` = False (vita_jax/data/README.md has all keys).
Numbers of clusters and parts, and the rank of completion, go by the graph's size; λ is Citeseer's. Choose
--config.ss.gcn.weight and --config.ss.gcn.n_outputs by validation accuracy, and --config.normalization=abs,
l2 or none where features may be negative.
Hardware: 2 CPU cores. Time and memory: vita_jax/papers/ss_gcn/README.md has them by size of the graph;
1,797 nodes and 10 seeds take half a minute and 0.5 GB.
Expect what "Use it on your own data" there shows for such a graph.
"""

from vita_jax.papers.ss_gcn.recipe import default_config


def get_config(task: str = "none"):
  return default_config("", task)
