"""The settings of SS-GCN: every key with its rule and meaning, and the recipe they resolve to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import ml_collections
import optax

from vita_jax import base
from vita_jax.attacks.defences import DEFENCES, Defence
from vita_jax.base.keys import Key, Rule, above, any_path, at_least, between, boolean, one_of, text
from vita_jax.base.tree import path_name
from vita_jax.data.graph_supervision import ALIGN, TASKS
from vita_jax.data.graphs import NORMALIZATIONS
from vita_jax.papers.ss_gcn.protocol import PROTOCOLS
from vita_jax.train.config import KEYS as SHARED

MECHANISMS = ("multitask", "pretrain", "self_training")
HOSTS = ("gcn", "gin", "gat", "gmnn", "graphmix", "mlp")
OWN = ("gmnn", "graphmix")  # hosts with keys of their own for what the others share
_NOT_OWN = ("protocol", "epochs")  # which they do not read; nor rate and decay, which files of graphs set
ADVERSARIAL = ("none", "nettack")
# For a graph of one's own: Citeseer's weights. task -> (λ, parts or rank; 0: by the graph's size).
USUAL = {"cluster": (0.9, 0), "partition": (0.8, 0), "completion": (0.7, 0)}
_MOST = 2**31 - 2  # steps and seeds are int32


def _is_regex(pattern: Any) -> bool:
  try:
    re.compile(pattern)
  except (re.error, TypeError):
    return False
  return isinstance(pattern, str)


KEYS = (
  Key("data.name", "", text("a name, or empty"), "A graph: citeseer, cora, pubmed; empty: see data.path."),
  Key("data.path", "", any_path, "An npz file with a graph of your own; it takes precedence over data.name."),
  Key("host", "gcn", one_of(*HOSTS), "The graph network; mlp: the control that reads no edges."),
  Key("task", "none", one_of(*TASKS), "The self-supervised task; set it by the config's argument."),
  Key("mechanism", "multitask", one_of(*MECHANISMS), "How the task takes part in training."),
  Key(
    "protocol",
    "early_stop",
    one_of(*PROTOCOLS),
    "Which weights are tested: the last ones, or the best epoch's (as ever by gmnn and graphmix).",
  ),
  Key(
    "epochs",
    1000,
    between(1, _MOST),
    "Training epochs of the last stage, at most; gmnn and graphmix: theirs below.",
  ),
  Key("hidden", 16, at_least(1), "Width of the hidden layer (GAT: of each of its 8 heads)."),
  Key("learning_rate", 0.01, at_least(0), "Adam's rate; gmnn and graphmix: theirs below."),
  Key("weight_decay", 5e-4, at_least(0), "L2 coefficient, added to the gradient; gmnn and graphmix: theirs."),
  Key("weight_decay_on", ".*", Rule("a regular expression", _is_regex), "Names of the weights that decay."),
  Key("normalization", "row", one_of(*NORMALIZATIONS), "Rows by sum, magnitudes, length; 0/1; 0/1 by sum."),
  Key("features", "auto", one_of("auto", "sparse", "dense"), "Form of the features; auto: by their density."),
  Key("faithful_to_code", False, boolean, "GIN and GAT as released: no dropout after the first epoch."),
  Key("cache_dir", "", any_path, "Where labels are kept; empty: $VITA_CACHE_DIR, or ~/.cache/vita_jax."),
  Key(
    "labels_seed", 0, between(0, _MOST), "Seed of METIS, k-means and random labels, for all seeds of a run."
  ),
  *(
    key
    for host in HOSTS
    for key in (
      Key(f"ss.{host}.weight", 0.0, between(0, 1), "λ of the loss (losses.multitask); 0: no task uses it."),
      Key(
        f"ss.{host}.n_outputs",
        0,
        at_least(0),
        "Number of parts, or rank of completion; 0: by size.",
      ),
    )
  ),
  Key("gmnn.optimizer", "rmsprop", one_of("rmsprop", "adam"), "GMNN's, with the decay in its gradient."),
  Key("gmnn.learning_rate", 0.05, at_least(0), "Its rate."),
  Key("gmnn.weight_decay", 5e-4, at_least(0), "L2 coefficient, added to the gradient."),
  Key("gmnn.normalization", "", one_of("", *NORMALIZATIONS), "Of its features; empty: as for other hosts."),
  Key("gmnn.pretrain_epochs", 200, between(1, _MOST), "Epochs of the network of features on known labels."),
  Key("gmnn.epochs", 100, between(1, _MOST), "Epochs of each of the two networks in a round."),
  Key("gmnn.rounds", 1, at_least(1), "How often the two networks teach each other."),
  Key("gmnn.temperature", 0.1, above(0), "Divides the logits that labels are drawn from."),
  Key("gmnn.draw", "sample", one_of("sample", "soft"), "Draw one label for a node, or take the shares."),
  Key("graphmix.learning_rate", 0.01, at_least(0), "Adam's rate in GraphMix."),
  Key("graphmix.weight_decay", 5e-4, at_least(0), "L2 coefficient, added to the gradient."),
  Key("graphmix.normalization", "", one_of("", *NORMALIZATIONS), "Of its features, as in gmnn."),
  Key("graphmix.epochs", 2000, between(1, _MOST), "Epochs; half of them mix."),
  Key("graphmix.passes", 10, at_least(1), "Passes with dropout whose mean is a pseudo-label."),
  Key("graphmix.temperature", 0.1, above(0), "Pseudo-labels to the power 1 / temperature."),
  Key("graphmix.unlabelled_weight", 10.0, at_least(0), "Of mixed unlabelled nodes, after the ramp."),
  Key("graphmix.ramp_start", 500, at_least(0), "Epoch in which that weight begins to rise."),
  Key("graphmix.ramp_epochs", 500, at_least(1), "How many epochs it rises."),
  Key("clustering.n_clusters", 200, at_least(0), "k of k-means, for the task cluster; 0: by size."),
  Key("clustering.align", "classes", one_of(*ALIGN), "Name clusters by the nearest class, or leave numbers."),
  Key("pretrain.epochs", 200, between(1, _MOST), "Epochs on the task alone, for the mechanism pretrain."),
  Key("self_training.rounds", 3, at_least(1), "How often the labelled set grows, for self_training."),
  Key("self_training.per_class", 10, at_least(1), "Candidates of each class in a round."),
  Key("self_training.n_clusters", 100, at_least(0), "k of k-means on embeddings (with cluster); 0: by size."),
  Key("defence", "none", one_of(*DEFENCES), "What is done to any graph before the network reads it."),
  Key("jaccard_threshold", 0.01, between(0, 1), "Links of nodes that share less of their features go."),
  Key("adjacency_rank", 10, at_least(1), "Rank of the adjacency matrix that low_rank leaves."),
  Key(
    "adversarial", "none", one_of(*ADVERSARIAL), "Who attacks in adversarial training; none: no such stage."
  ),
  Key("attack.n_clean", 100, at_least(1), "Nodes left alone whose predictions are learned, too."),
  Key("attack.n_attacked", 200, at_least(1), "Nodes attacked one after the other on one graph."),
  Key("attack.links", 2, at_least(0), "Links that are flipped for each of them."),
  Key(
    "attack.words", 20, at_least(0), "Features that are flipped for each of them; 0 where none are 0 or 1."
  ),
)


class Recipe(NamedTuple):
  """The settings of a run, checked and resolved; named as the keys of the config unless it says otherwise.

  Attributes:
    graph_name, graph_path: `data.name`, `data.path`.
    host, task, mechanism, hidden, features: see `KEYS`.
    protocol, epochs, tx: the same, and the optimizer, of the chosen host.
    normalization: of the features that the host reads, and that labels of tasks are made of.
    dtype: of the computation.
    gmnn, graphmix: the keys of these groups, by name. defence: its name and settings.
    ss_weight, n_outputs: λ, and parts or rank, of the chosen host; ss_weight is None without a task.
      Where a number is 0 it goes by the graph's size: see `sized`.
    n_clusters, align, labels_seed, cache_dir: how the labels of a task are made.
    released: GIN and GAT as the released code trains them.
    pretrain_epochs, rounds, per_class, embedding_clusters: of pre-training and self-training.
    adversarial, n_clean, n_attacked, attack_links, attack_words: of adversarial training.
  """

  graph_name: str
  graph_path: str
  host: str
  task: str
  mechanism: str
  protocol: str
  epochs: int
  hidden: int
  normalization: str
  features: str
  tx: optax.GradientTransformation
  dtype: str
  ss_weight: float | None
  n_outputs: int
  n_clusters: int
  align: str
  labels_seed: int
  cache_dir: str | None
  released: bool
  pretrain_epochs: int
  rounds: int
  per_class: int
  embedding_clusters: int
  gmnn: Any
  graphmix: Any
  defence: Defence
  adversarial: str
  n_clean: int
  n_attacked: int
  attack_links: int
  attack_words: int


def default_config(
  data: str, task: str, hosts: Mapping[str, Mapping[str, tuple[float, int]]] | None = None
) -> ml_collections.ConfigDict:
  """Returns the released code's settings for one graph and one self-supervised task.

  Args:
    data: a name for `data.load_graph`, or "" for a user's own graph.
    task: one of `TASKS`; "" is "none".
    hosts: host -> task -> (λ, parts or rank); a host that is left out gets `USUAL`.

  Raises:
    ValueError: unknown task.
  """
  task = base.choose("self-supervised task", task or "none", TASKS)
  config = base.defaults(SHARED, KEYS)
  config.paper, config.log_every = "ss_gcn", 50
  config.data.name, config.task = data, task
  if not data:
    config.clustering.n_clusters = config.self_training.n_clusters = 0
  # The controls draw as many random labels as there are parts, and weigh them alike.
  pick = "partition" if task == "random_labels" else task
  for host in HOSTS if pick != "none" else ():
    config.ss[host].weight, config.ss[host].n_outputs = (hosts or {}).get(host, USUAL)[pick]
  return config


def check(config: ml_collections.ConfigDict) -> None:
  """Checks a config: every key by its rule, and what keys ask of each other.

  Raises:
    ValueError: one line that names the key and what it must be.
  """
  base.check(config, SHARED, KEYS)
  task, mechanism = config.task, config.mechanism
  if not (config.data.path or config.data.name):
    raise ValueError("no graph is named: give yours as --config.data.path=my.npz")
  if mechanism == "pretrain" and task == "none":
    raise ValueError("config.mechanism=pretrain needs a task: --config=...:partition (or cluster, ...)")
  if mechanism == "self_training" and task not in ("cluster", "partition", "random_labels"):
    raise ValueError(
      f"config.mechanism=self_training takes pseudo-classes from cluster or partition, not '{task}'"
    )
  if config.adversarial != "none" and mechanism != "multitask":
    raise ValueError(f"config.adversarial={config.adversarial} takes mechanism=multitask, not {mechanism}")
  _check_host(config)
  if task == "none":
    return
  settings = config.ss[config.host]
  if settings.weight == 0:
    raise ValueError(
      f"config.ss.{config.host}.weight is 0, which no task can use: give the task as the config's argument,"
      f" --config=FILE:{task}, or a weight above 0"
    )
  least = {"partition": 2, "random_labels": 2, "completion": 1}.get(task, 0)
  if 0 < settings.n_outputs < least:
    raise ValueError(
      f"config.ss.{config.host}.n_outputs is {settings.n_outputs}: the task {task} needs at least {least}"
    )


def _check_host(config: ml_collections.ConfigDict) -> None:
  """Refuses what a host cannot do."""
  host = config.host
  if host in OWN and config.mechanism != "multitask":
    raise ValueError(f"config.host={host} has stages of its own: mechanism=multitask, not {config.mechanism}")
  if host in OWN and config.adversarial != "none":
    raise ValueError(f"config.host={host} has no adversarial training: take gcn, gin or gat")
  for key in KEYS:
    if host in OWN and key.name in _NOT_OWN and config[key.name] != key.default:
      given = f"config.{key.name} is {config[key.name]}"
      raise ValueError(f"{given}: host={host} does not read it, but has config.{host}.* of its own")
  if host == "mlp" and config.task == "completion":
    raise ValueError("config.host=mlp reads no neighbours to complete features from: take another task")
  if config.defence != "none" and config.adversarial != "none":
    raise ValueError("config.defence and config.adversarial are two defences: one run has one of them")
  if config.defence == "low_rank" and host in ("gin", "gat"):
    raise ValueError(
      f"config.defence=low_rank leaves no edges, which {host} reads: take gcn, gmnn or graphmix"
    )


def recipe_of(config: ml_collections.ConfigDict) -> Recipe:
  """Checks a config and returns the recipe that it resolves to.

  Raises:
    ValueError: see `check`.
  """
  check(config)
  settings = config.ss[config.host]
  own = config[config.host] if config.host in OWN else config
  return Recipe(
    graph_name=config.data.name,
    graph_path=config.data.path,
    host=config.host,
    task=config.task,
    mechanism=config.mechanism,
    protocol="best_validation" if config.host in OWN else config.protocol,
    epochs=own.epochs,
    hidden=config.hidden,
    normalization=own.normalization or config.normalization,
    features=config.features,
    tx=optimizer(
      own.learning_rate,
      own.weight_decay,
      decay_on=config.weight_decay_on,
      rule=config.gmnn.optimizer if config.host == "gmnn" else "adam",
    ),
    dtype=config.dtype,
    ss_weight=None if config.task == "none" else settings.weight,
    n_outputs=settings.n_outputs,
    n_clusters=config.clustering.n_clusters,
    align=config.clustering.align,
    labels_seed=config.labels_seed,
    cache_dir=config.cache_dir or None,
    released=config.faithful_to_code and config.host in ("gin", "gat"),
    pretrain_epochs=config.pretrain.epochs,
    rounds=config.self_training.rounds,
    per_class=config.self_training.per_class,
    embedding_clusters=config.self_training.n_clusters,
    gmnn=base.section(config, "gmnn"),
    graphmix=base.section(config, "graphmix"),
    defence=Defence(config.defence, config.jaccard_threshold, config.adjacency_rank),
    adversarial=config.adversarial,
    n_clean=config.attack.n_clean,
    n_attacked=config.attack.n_attacked,
    attack_links=config.attack.links,
    attack_words=config.attack.words,
  )


def sized(recipe: Recipe, *, n_nodes: int, n_classes: int) -> Recipe:
  """Fills in the numbers that go by the graph's size, where the config has 0.

  One cluster or part for 16 nodes, at most 200 clusters of features, 100 of embeddings and 14 parts (the
  released code's numbers for Citeseer). The rank of completion stays 0: `completion_targets` chooses it.

  Raises:
    ValueError: more clusters of embeddings than nodes.
  """
  groups = min(max(n_classes, n_nodes // 16), n_nodes)
  if recipe.mechanism == "self_training" and recipe.embedding_clusters > n_nodes:
    raise ValueError(
      f"config.self_training.n_clusters is {recipe.embedding_clusters}, but the graph has {n_nodes} nodes:"
      " give fewer, or 0 to go by its size"
    )
  by_parts = recipe.task in ("partition", "random_labels")
  parts = min(14, max(2, n_nodes // 16)) if by_parts else 0
  return recipe._replace(
    n_clusters=recipe.n_clusters or min(200, groups),
    n_outputs=recipe.n_outputs or parts,
    embedding_clusters=recipe.embedding_clusters or min(100, groups),
  )


def optimizer(
  learning_rate: float, weight_decay: float, *, decay_on: str = ".*", rule: str = "adam"
) -> optax.GradientTransformation:
  """Builds an optimizer whose weight decay enters the gradient, as torch's `Adam(weight_decay=...)`.

  Args:
    learning_rate: its rate.
    weight_decay: coefficient of the L2 term.
    decay_on: regular expression on the '/'-joined names of the weights that decay.
    rule: "adam", or "rmsprop" with torch's defaults.
  """
  chosen = re.compile(decay_on)

  def decays(params):
    return jax.tree_util.tree_map_with_path(lambda path, _: bool(chosen.search(path_name(path))), params)

  decay = optax.add_decayed_weights(weight_decay, mask=decays)
  if base.choose("rule", rule, ("adam", "rmsprop")) == "adam":
    return optax.chain(decay, optax.adam(learning_rate))
  return optax.chain(decay, optax.rmsprop(learning_rate, decay=0.99, eps=1e-8, eps_in_sqrt=False))
