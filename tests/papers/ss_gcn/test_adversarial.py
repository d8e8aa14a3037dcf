"""Adversarial training: what the second stage reads is the attacked graph, and its loss is the paper's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws.small_graph import write_small_graph

from vita_jax import attacks, papers
from vita_jax.data import load_graph_npz
from vita_jax.data.graphs import normalize_rows
from vita_jax.nn import sparse
from vita_jax.nn.graph import adjacency, propagate
from vita_jax.papers.ss_gcn import adversarial
from vita_jax.papers.ss_gcn.model import HOSTS
from vita_jax.papers.ss_gcn.recipe import default_config, recipe_of
from vita_jax.train.batches import resident_sweep, spec

SMALL = {"attack.n_clean": 8, "attack.n_attacked": 5, "attack.links": 2, "attack.words": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  found = tmp_path_factory.mktemp("adversarial")
  write_small_graph(found / "graph.npz")
  return found


def _config(folder, task="none", **overrides):
  config = default_config("", task, dict.fromkeys(HOSTS, {"partition": (0.8, 4), "completion": (0.5, 5)}))
  config.data.path, config.cache_dir = str(folder / "graph.npz"), str(folder)
  config.update_from_flattened_dict({"adversarial": "nettack", "epochs": 4, **SMALL, **overrides})
  return config


def test_padding_changes_no_product(folder):
  recipe, graph = recipe_of(_config(folder)), load_graph_npz(folder / "graph.npz")
  weight = np.random.default_rng(0).standard_normal((24, 3))
  targets, labels = np.array([4, 9, 30, 31, 50]), np.array([0, 1, 2, 0, 1])
  found = adversarial.attacked_inputs(recipe, graph, weight, targets, labels)
  after = attacks.accumulate(graph, weight, targets, labels, n_links=2, n_words=3)
  plain = adjacency(after.edges, after.self_loops, 120)
  x = normalize_rows(after.features, "row")
  h = jnp.asarray(np.random.default_rng(1).standard_normal((24, 2)), jnp.float32)
  np.testing.assert_allclose(sparse.matmul(found["features"], h), x @ h, atol=1e-6)

  def loss(h, matrices, features):
    y = sparse.matmul(features, h)
    return (propagate(matrices, propagate(matrices, y, matrices.gcn), matrices.gcn_no_self) ** 2).sum()

  expected = jax.value_and_grad(loss)(h, plain, sparse.from_scipy(x))
  padded = jax.value_and_grad(loss)(h, found["adjacency"], found["features"])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), padded, expected)


def test_the_second_stage_starts_afresh_and_learns_predictions_on_the_attacked_graph(folder):
  experiment = papers.build(_config(folder, "partition"))
  first, second = experiment.stages
  batch = jax.device_put(first.data.arrays)
  state, step = jax.jit(experiment.init)(jax.random.key(0)), jax.jit(first.step)
  for t in range(4):
    state, _ = step(state, batch, jnp.int32(t))

  def sweep(fn, state, over="data"):
    return resident_sweep({"data": spec(second.data)}, {"data": batch})(fn, state, over)

  entered = jax.jit(lambda s: second.enter(s, sweep))(state)
  attacked = entered["attacked"]
  assert {name: int(mask.sum()) for name, mask in attacked["masks"].items()} == {"clean": 8, "attacked": 5}
  drawn = np.asarray(attacked["masks"]["clean"] + attacked["masks"]["attacked"])
  graph = load_graph_npz(folder / "graph.npz")
  assert drawn.max() == 1 and not drawn[graph.train_mask].any()
  assert not np.array_equal(entered["params"]["input"]["kernel"], state["params"]["input"]["kernel"])
  new, metrics = jax.jit(second.step)(entered, batch, jnp.int32(0))
  assert {"loss", "ss_loss", "clean_loss", "attacked_loss"} <= set(metrics)
  same = jax.tree.map(np.array_equal, new["attacked"], attacked)
  assert all(jax.tree.leaves(same))


@pytest.mark.slow
def test_the_best_epoch_is_looked_for_anew_in_the_second_stage(folder):
  """The released code's adversarial training with completion: 500 epochs, and the best of them."""
  overrides = {
    "protocol": "best_validation",
    "ss.gcn.weight": 0.5,
    "ss.gcn.n_outputs": 5,
    "task": "completion",
  }
  experiment = papers.build(_config(folder, **overrides))
  first, second = experiment.stages
  batch = jax.device_put(first.data.arrays)
  state, step = jax.jit(experiment.init)(jax.random.key(0)), jax.jit(first.step)
  for t in range(5):
    state, _ = step(state, batch, jnp.int32(t))
  assert float(state["best"]) > 0

  def sweep(fn, state, over="data"):
    return resident_sweep({"data": spec(second.data)}, {"data": batch})(fn, state, over)

  entered = jax.jit(lambda s: second.enter(s, sweep))(state)
  assert float(entered["best"]) == -np.inf
  jax.tree.map(np.testing.assert_array_equal, entered["kept"], entered["params"])
  new, metrics = jax.jit(second.step)(entered, batch, jnp.int32(1))
  assert "ss_loss" in metrics and float(new["best"]) >= 0
  assert entered["attacked"]["ss_target"].shape == (120, 5)


def test_what_does_not_go_together_is_refused(folder):
  with pytest.raises(ValueError, match="takes mechanism=multitask, not pretrain"):
    papers.build(_config(folder, "partition", mechanism="pretrain"))
  with pytest.raises(ValueError, match="draw 208 nodes, but only 90"):
    papers.build(_config(folder, **{"attack.n_attacked": 200}))


def test_completion_of_the_attacked_graph_is_as_wide_as_that_of_the_clean_one(folder, tmp_path):
  """Where the rank goes by the features: flips raise theirs, and the head has the clean graph's outputs."""
  arrays = dict(np.load(folder / "graph.npz"))
  np.savez(tmp_path / "low.npz", **{**arrays, "features": np.eye(3)[arrays["labels"]].repeat(8, axis=1)})
  settings = {"data.path": str(tmp_path / "low.npz"), "ss.gcn.n_outputs": 0}
  experiment = papers.build(_config(folder, "completion", **settings))
  second = experiment.stages[1]
  batch = jax.device_put(second.data.arrays)
  state = jax.jit(experiment.init)(jax.random.key(0))

  def sweep(fn, state, over="data"):
    return resident_sweep({"data": spec(second.data)}, {"data": batch})(fn, state, over)

  found = jax.jit(lambda s: second.enter(s, sweep))(state)["attacked"]["ss_target"]
  assert found.shape == batch["ss_target"].shape == (120, 3)
