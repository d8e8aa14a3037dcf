"""The rows of SS-GCN that every law is held against (tests/laws)."""

from laws.row import Row
from laws.small_graph import write_small_graph

from vita_jax import papers
from vita_jax.papers.ss_gcn.recipe import default_config


def _row(task, **overrides):
  tasks = {"cluster": (0.8, 0), "partition": (0.8, 4), "completion": (0.5, 5)}

  def config(folder):
    found = default_config("", task, dict.fromkeys(("gcn", "gin", "gat"), tasks))
    found.update({"epochs": 16, "log_every": 4, "cache_dir": str(folder)})
    found.data.path = write_small_graph(folder / "graph.npz")
    found.update_from_flattened_dict(overrides)
    if task == "cluster":
      found.clustering.n_clusters = 12
    return found

  return Row(config, papers.build, {"seed": 2, "data": 1})


ATTACK = {"attack.n_clean": 8, "attack.n_attacked": 5, "attack.links": 2, "attack.words": 3}
ROWS = {
  "ss_gcn_partition": _row("partition"),
  "ss_gcn_completion_best": _row("completion", protocol="best_validation", features="dense"),
  "ss_gcn_gin_cluster": _row("cluster", host="gin")._replace(slow=True),
  "ss_gcn_gat_released": _row("completion", host="gat", faithful_to_code=True)._replace(slow=True),
  "ss_gcn_adversarial": _row("partition", adversarial="nettack", **ATTACK)._replace(slow=True),
  "ss_gcn_pretrain": _row("partition", mechanism="pretrain", **{"pretrain.epochs": 6})._replace(slow=True),
  "ss_gcn_self_training": _row(
    "cluster",
    mechanism="self_training",
    **{"self_training.rounds": 2, "self_training.per_class": 4, "self_training.n_clusters": 8},
  )._replace(slow=True),
}
