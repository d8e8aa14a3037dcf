"""The configuration that all SS-GCN experiments share."""

from __future__ import annotations

from collections.abc import Mapping

import ml_collections

from vita_jax.base.choose import choose
from vita_jax.train.config import base_config

TASKS = ("none", "cluster", "partition", "completion", "random_labels")
MECHANISMS = ("multitask", "pretrain", "self_training")
HOSTS = ("gcn", "gin", "gat")
AT_LEAST = {
  "epochs": 1,
  "hidden": 1,
  "learning_rate": 0,
  "weight_decay": 0,
  "labels_seed": 0,
  "pretrain.epochs": 1,
  "self_training.rounds": 1,
  "self_training.per_class": 1,
  "self_training.n_clusters": 1,
}


def default_config(
  data: str, task: str, hosts: Mapping[str, Mapping[str, tuple[float, int]]]
) -> ml_collections.ConfigDict:
  """The released code's settings for one graph and one self-supervised task.

  Args:
    data: a name for `data.load_graph`, or "" for a user's own graph.
    task: one of `TASKS`; "" is "none".
    hosts: host -> task -> (λ, parts or rank); "cluster" has no second. λ weighs the target loss against
      1 - λ for cluster and partition, and the self-supervised loss for completion (`losses.multitask`).
  """
  task = choose("self-supervised task", task or "none", TASKS)
  config = base_config()
  config.update(
    {
      "paper": "ss_gcn",
      "log_every": 50,
      "data": {"name": data, "path": ""},
      "host": "gcn",
      "task": task,
      "mechanism": "multitask",
      # early_stop tests the last weights; best_validation runs all epochs (papers/ss_gcn/protocol.py)
      "protocol": "early_stop",
      "epochs": 1000,
      "hidden": 16,
      "learning_rate": 0.01,
      "weight_decay": 5e-4,
      "weight_decay_on": ".*",  # regex on the '/'-joined names of the weights that decay
      "normalization": "row",  # of the features: "row" divides each by its sum | "none"
      # "sparse", "dense" (with the first propagation done beforehand), or "auto" by density
      "features": "auto",
      # drops the dropout of GIN and GAT after the first epoch and leaves their completion unmasked
      "faithful_to_code": False,
      "cache_dir": "",
      # of METIS, k-means and the random labels; one set of labels serves all seeds of a run
      "labels_seed": 0,
    }
  )
  # The controls draw as many random labels as there are parts, and weigh them alike.
  pick = "partition" if task == "random_labels" else task
  if pick != "none":
    config.ss = {
      host: {"weight": tasks[pick][0], "n_outputs": tasks[pick][1]} for host, tasks in hosts.items()
    }
  if pick == "cluster":
    config.clustering = {"n_clusters": 200, "align": "classes"}
  config.pretrain = {"epochs": 200}
  config.self_training = {"rounds": 3, "per_class": 10, "n_clusters": 100}
  return config
