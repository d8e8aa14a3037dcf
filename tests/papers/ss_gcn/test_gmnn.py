"""GMNN: who learns in which stage, from what, and what goes on from one stage to the next."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws.small_graph import write_small_graph

from vita_jax import papers
from vita_jax.data import load_graph_npz
from vita_jax.data.graph_vectors import completion_targets
from vita_jax.data.graphs import normalize_rows
from vita_jax.papers.ss_gcn import gmnn
from vita_jax.papers.ss_gcn.data import supervision_of
from vita_jax.papers.ss_gcn.model import HOSTS
from vita_jax.papers.ss_gcn.recipe import default_config, recipe_of
from vita_jax.train.batches import resident_sweep, spec


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  folder = tmp_path_factory.mktemp("gmnn")
  config = default_config("", "partition", dict.fromkeys(HOSTS, {"partition": (0.8, 4)}))
  config.data.path, config.cache_dir = write_small_graph(folder / "graph.npz"), str(folder)
  config.update_from_flattened_dict({"host": "gmnn", "gmnn.pretrain_epochs": 6, "gmnn.epochs": 4})
  return papers.build(config), load_graph_npz(config.data.path), recipe_of(config)


def _sweep(stage):
  return resident_sweep({"data": spec(stage.data)}, {"data": stage.data.arrays})


@pytest.fixture(scope="module")
def states(built):
  """The state as each stage's `enter` leaves it, and after its steps."""
  experiment, _, _ = built
  found, state = [], jax.jit(experiment.init)(jax.random.key(0))
  for stage in experiment.stages:
    state = jax.jit(functools.partial(stage.enter, sweep=_sweep(stage)))(state)
    entered, step = state, jax.jit(stage.step)
    for t in range(stage.steps):
      state, metrics = step(state, stage.data.arrays, jnp.int32(t))
    found.append((entered, state, metrics))
  return found


def _equal(one, other):
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, one, other)))


def test_each_stage_trains_one_network(built, states):
  experiment, _, _ = built
  assert [stage.name for stage in experiment.stages] == ["pretrain", "p_0", "q_0"]
  (_, first, _), (p_in, p_out, _), (q_in, q_out, metrics) = states
  # The best epoch's weights and optimizer go on.
  assert _equal(p_in["params"], first["kept"]) and _equal(p_in["tx"], first["kept_tx"])
  assert _equal(p_out["params"], p_in["params"]) and _equal(p_out["tx"], p_in["tx"])
  assert not _equal(p_out["p"]["params"], p_in["p"]["params"])
  assert _equal(q_out["p"], q_in["p"]) and not _equal(q_out["params"], q_in["params"])
  assert "kept_tx" not in q_out and _equal(q_in["params"], p_out["params"])
  assert {"loss", "ss_loss"} <= set(metrics) and int(q_out["epochs"]) == 4


def test_what_is_learned_is_known_where_it_is_known_and_said_by_the_other_elsewhere(built, states):
  experiment, graph, _ = built
  _, (p_in, p_out, _), (q_in, _, _) = states
  gold = np.eye(3)[graph.labels[graph.train_mask]]
  for state in (p_in, q_in):
    np.testing.assert_array_equal(state["targets"][graph.train_mask], gold)
    np.testing.assert_allclose(np.asarray(state["targets"]).sum(1), 1, atol=1e-6)
  assert set(np.unique(p_in["targets"])) == {0, 1}  # drawn
  model, batch = HOSTS["gmnn"](n_classes=3, n_ss_outputs=4), experiment.stages[0].data.arrays
  logits = model.apply({"params": p_out["p"]["params"]}, p_out["targets"], batch["adjacency"], "full", None)
  expected = jax.nn.softmax(logits["target"])[~graph.train_mask]
  np.testing.assert_allclose(q_in["targets"][~graph.train_mask], expected, atol=1e-6)


def test_labels_are_drawn_as_often_as_their_share_says(built):
  experiment, graph, recipe = built
  batch, model = experiment.stages[0].data.arrays, HOSTS["gmnn"](n_classes=3, n_ss_outputs=4)
  state = jax.jit(experiment.init)(jax.random.key(3))
  own = recipe.gmnn._replace(temperature=1.0)
  draw = jax.jit(lambda key: gmnn.drawn(own, model, {**state, "key": key}, batch))
  mean = sum(draw(jax.random.key(i)) for i in range(200)) / 200
  shares = gmnn.drawn(own._replace(draw="soft"), model, state, batch)
  assert np.abs(mean - shares).max() < 0.15 and np.abs(mean - shares).mean() < 0.03


def test_the_best_epoch_of_the_last_network_is_tested(built, states):
  experiment, _, _ = built
  *_, (entered, state, _) = states
  assert float(entered["best"]) == -np.inf and float(state["best"]) > 0
  assert _equal(experiment.params(state), state["kept"])


def test_labels_of_tasks_are_made_of_the_features_that_the_host_reads(built, tmp_path):
  _, graph, recipe = built
  graph = graph._replace(features=graph.features.multiply(3.0).tocsr())  # no sum of 1
  recipe = recipe._replace(task="completion", n_outputs=5, cache_dir=str(tmp_path))
  for form in ("row", "none", "binary_row"):
    found = supervision_of(recipe._replace(normalization=form), graph)
    np.testing.assert_array_equal(
      found.target, completion_targets(normalize_rows(graph.features, form), rank=5)
    )
  config = default_config("pubmed", "cluster")
  config.update_from_flattened_dict({"host": "gmnn", "gmnn.normalization": "binary_row"})
  assert recipe_of(config).normalization == "binary_row"
