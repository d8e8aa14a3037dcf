"""The settings: what is refused, in one line that names the key, and how they resolve."""

import math

import jax
import jax.numpy as jnp
import optax
import pytest

from vita_jax.base.keys import explain, flat
from vita_jax.papers.ss_gcn.recipe import (
  HOSTS,
  KEYS,
  TASKS,
  check,
  default_config,
  optimizer,
  recipe_of,
  sized,
)


@pytest.mark.parametrize("task", TASKS)
def test_every_config_has_every_key_and_passes_its_own_checks(task):
  config = default_config("citeseer", task)
  recipe = recipe_of(config)
  assert recipe.task == task and (recipe.ss_weight is None) == (task == "none")
  assert {key.name for key in KEYS} <= set(flat(config))


@pytest.mark.parametrize(
  "task,change,message",
  [
    (
      "partition",
      {"ss.gcn.weight": 5.0},
      "config.ss.gcn.weight is 5.0: it must be a finite number, from 0 to 1",
    ),
    (
      "completion",
      {"ss.gcn.weight": -3.0},
      "config.ss.gcn.weight is -3.0: it must be a finite number, from 0 to 1",
    ),
    ("partition", {"ss.gcn.weight": math.nan}, "config.ss.gcn.weight is nan"),
    ("none", {"task": "partition"}, "config.ss.gcn.weight is 0.*--config=FILE:partition"),
    (
      "partition",
      {"ss.gcn.n_outputs": 1},
      "ss.gcn.n_outputs is 1: the task partition needs at least 2",
    ),
    ("none", {"host": "gatt"}, "unknown config.host 'gatt': did you mean 'gat'"),
    ("none", {"protocol": "early_stopp"}, "unknown config.protocol .*did you mean 'early_stop'"),
    ("none", {"mechanism": "pretrain"}, "config.mechanism=pretrain needs a task"),
    ("completion", {"mechanism": "self_training"}, "config.mechanism=self_training takes pseudo-classes"),
    ("none", {"mechanism": "self_training"}, "config.mechanism=self_training takes pseudo-classes"),
    ("partition", {"host": "gmnn", "mechanism": "pretrain"}, "config.host=gmnn has stages of its own"),
    (
      "none",
      {"host": "gmnn", "epochs": 5},
      "config.epochs is 5: host=gmnn does not read it, but has config.gmnn",
    ),
    ("none", {"host": "graphmix", "adversarial": "nettack"}, "graphmix has no adversarial training"),
    ("completion", {"host": "mlp"}, "config.host=mlp reads no neighbours"),
    ("none", {"defence": "jaccard", "adversarial": "nettack"}, "one run has one of them"),
    ("none", {"defence": "low_rank", "host": "gat"}, "config.defence=low_rank leaves no edges"),
    ("none", {"weight_decay_on": "("}, r"config.weight_decay_on is \(: it must be a regular expression"),
    ("none", {"epochs": 3_000_000_000}, "config.epochs is 3000000000: it must be a whole number, from 1"),
    ("none", {"learning_rate": -0.1}, "config.learning_rate is -0.1"),
    ("none", {"data.name": ""}, "no graph is named: give yours as --config.data.path"),
  ],
)
def test_what_cannot_be_is_refused_in_one_line(task, change, message):
  config = default_config("citeseer", task)
  config.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=message) as error:
    check(config)
  assert "\n" not in str(error.value)


def test_an_unknown_task_names_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'partition'"):
    default_config("citeseer", "partitoin")


@pytest.mark.parametrize(
  "n_nodes,n_classes,clusters,parts,embedding", [(3327, 6, 200, 14, 100), (120, 3, 7, 7, 7), (5, 4, 4, 2, 4)]
)
def test_numbers_of_groups_go_by_the_graphs_size(n_nodes, n_classes, clusters, parts, embedding):
  recipe = sized(recipe_of(custom("partition")), n_nodes=n_nodes, n_classes=n_classes)
  assert (recipe.n_clusters, recipe.n_outputs, recipe.embedding_clusters) == (clusters, parts, embedding)
  asked = custom("partition", **{"ss.gcn.n_outputs": 3, "clustering.n_clusters": 9})
  recipe = sized(recipe_of(asked), n_nodes=n_nodes, n_classes=n_classes)
  assert (recipe.n_clusters, recipe.n_outputs) == (9, 3)


def test_more_clusters_of_embeddings_than_nodes_are_refused():
  config = custom("cluster", mechanism="self_training", **{"self_training.n_clusters": 60})
  with pytest.raises(ValueError, match="config.self_training.n_clusters is 60, but the graph has 50 nodes"):
    sized(recipe_of(config), n_nodes=50, n_classes=2)


def custom(task, **overrides):
  config = default_config("", task)
  config.data.path = "mine.npz"
  config.update_from_flattened_dict(overrides)
  return config


def test_explain_has_a_line_for_every_key():
  text = explain(default_config("citeseer", "partition"), KEYS)
  assert all(key.name in text for key in KEYS) and len(HOSTS) == 6


def test_adam_with_coupled_decay_by_hand():
  """torch.optim.Adam(weight_decay=d): the decay joins the gradient before the moments."""
  rate, decay, weight, m, v = 0.01, 5e-4, 2.0, 0.0, 0.0
  params, tx = {"input": jnp.array(weight)}, optimizer(rate, decay)
  state = tx.init(params)
  for t, gradient in enumerate((0.3, -1.2, 0.05), start=1):
    updates, state = tx.update({"input": jnp.array(gradient)}, state, params)
    params = optax.apply_updates(params, updates)
    g = gradient + decay * weight
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    weight -= rate * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert float(params["input"]) == pytest.approx(weight, abs=1e-6)


def test_rmsprop_with_coupled_decay_by_hand():
  """torch.optim.RMSprop(weight_decay=d): smoothing 0.99, epsilon outside the root, not centred."""
  rate, decay, weight, v = 0.05, 5e-4, 2.0, 0.0
  params, tx = {"input": jnp.array(weight)}, optimizer(rate, decay, rule="rmsprop")
  state = tx.init(params)
  for gradient in (0.3, -1.2, 0.05):
    updates, state = tx.update({"input": jnp.array(gradient)}, state, params)
    params = optax.apply_updates(params, updates)
    g = gradient + decay * weight
    v = 0.99 * v + 0.01 * g * g
    weight -= rate * g / (math.sqrt(v) + 1e-8)
    assert float(params["input"]) == pytest.approx(weight, abs=1e-5)


def test_decay_reaches_only_the_named_weights():
  params = {"input": {"kernel": jnp.ones(2)}, "target": {"kernel": jnp.ones(2)}}
  tx = optimizer(0.01, 5e-4, decay_on="^input")
  updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
  assert (updates["input"]["kernel"] < 0).all() and (updates["target"]["kernel"] == 0).all()
