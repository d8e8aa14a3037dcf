"""The rows of SS-GCN that every law is held against (tests/laws)."""

from laws.row import Row
from laws.small_graph import write_small_graph

from vita_jax import papers
from vita_jax.papers.ss_gcn.recipe import HOSTS, OWN, default_config


def _row(task, **overrides):
  tasks = {"cluster": (0.8, 0), "partition": (0.8, 4), "completion": (0.5, 5)}

  def config(folder):
    found = default_config("", task, dict.fromkeys(HOSTS, tasks))
    found.update({"log_every": 4, "cache_dir": str(folder)})
    if overrides.get("host") not in OWN:
      found.epochs = 16
    found.data.path = write_small_graph(folder / "graph.npz")
    found.update_from_flattened_dict(overrides)
    if task == "cluster":
      found.clustering.n_clusters = 12
    return found

  return Row(config, papers.build, {"seed": 2, "data": 1})


ATTACK = {"attack.n_clean": 8, "attack.n_attacked": 5, "attack.links": 2, "attack.words": 3}
GMNN = {"gmnn.pretrain_epochs": 7, "gmnn.epochs": 5, "gmnn.rounds": 1}
GRAPHMIX = {
  "graphmix.epochs": 14,
  "graphmix.passes": 2,
  "graphmix.ramp_start": 4,
  "graphmix.ramp_epochs": 5,
}
ROWS = {
  "ss_gcn_partition": _row("partition"),
  "ss_gcn_completion_best": _row("completion", protocol="best_validation", features="dense")._replace(
    slow=True
  ),
  "ss_gcn_gin_cluster": _row("cluster", host="gin")._replace(slow=True),
  "ss_gcn_gat_released": _row("completion", host="gat", faithful_to_code=True)._replace(slow=True),
  "ss_gcn_gmnn": _row("partition", host="gmnn", **GMNN)._replace(slow=True),
  "ss_gcn_gmnn_completion": _row("completion", host="gmnn", **{**GMNN, "gmnn.rounds": 2})._replace(slow=True),
  "ss_gcn_graphmix": _row("partition", host="graphmix", **GRAPHMIX)._replace(slow=True),
  "ss_gcn_graphmix_cluster": _row("cluster", host="graphmix", **GRAPHMIX)._replace(slow=True),
  "ss_gcn_adversarial": _row("partition", adversarial="nettack", **ATTACK)._replace(slow=True),
  "ss_gcn_pretrain": _row("partition", mechanism="pretrain", **{"pretrain.epochs": 6})._replace(slow=True),
  "ss_gcn_self_training": _row(
    "cluster",
    mechanism="self_training",
    **{"self_training.rounds": 2, "self_training.per_class": 4, "self_training.n_clusters": 8},
  )._replace(slow=True),
}
