"""What is exported computes what was trained: for every normalisation, for edge weights and self-loops."""

import jax
import numpy as np
import pytest
from laws.small_graph import write_small_graph

from vita_jax import papers
from vita_jax.attacks.defences import Defence
from vita_jax.attacks.space import network_graph
from vita_jax.data import load_graph_npz
from vita_jax.papers.ss_gcn.export import make_victim
from vita_jax.papers.ss_gcn.recipe import default_config
from vita_jax.papers.ss_gcn.steps import outputs_of


def _graph(folder, kind):
  """A small graph with features of one kind, edge weights and self-loops."""
  path = write_small_graph(folder / "graph.npz", n_per_class=30)
  arrays, random = dict(np.load(path)), np.random.default_rng(0)
  features = random.normal(size=arrays["features"].shape)
  if kind == "centred":  # as a layer norm leaves them: rows sum to nearly 0
    features -= features.mean(1, keepdims=True)
  arrays["features"] = np.abs(features) if kind == "positive" else features
  arrays["features"][3] = 0
  arrays["edge_weight"] = random.uniform(0.2, 3, len(arrays["edges"]))
  np.savez(path, **{**arrays, "self_loop_nodes": np.array([2, 5])})
  return path


def _built(path, folder, **settings):
  config = default_config("", "none")
  config.data.path, config.cache_dir = path, str(folder)
  config.update(settings)
  return papers.build(config)


def _compared(experiment, path):
  """The card, and the probabilities of the program and of the network in training."""
  state = jax.jit(experiment.init)(jax.random.key(0))
  exported = experiment.export(state)
  program = jax.jit(lambda params, inputs: exported.program(params, **inputs))
  found = program(exported.params, exported.read(path))["probabilities"]
  model, batch = experiment.report.args[0], experiment.stages[0].data.arrays
  outputs = jax.jit(lambda state, batch: outputs_of(model, state, batch))(state, batch)
  return exported.card, found, jax.nn.softmax(outputs["target"])


@pytest.mark.parametrize(
  "normalization,kind",
  [
    ("row", "positive"),
    ("abs", "centred"),
    ("l2", "centred"),
    ("none", "centred"),
    ("binary_row", "centred"),
  ],
)
def test_training_and_export_normalise_alike_and_the_card_says_how(normalization, kind, tmp_path):
  path = _graph(tmp_path, kind)
  card, found, expected = _compared(_built(path, tmp_path, normalization=normalization), path)
  np.testing.assert_allclose(found, expected, atol=2e-6)
  assert f"normalization={normalization}" in card["inputs"]["features"]
  assert ("divided" in card["inputs"]["features"]) == (normalization != "none")


@pytest.mark.parametrize("host", ["gin", "gat", "gmnn", "mlp"])
def test_the_other_hosts_use_edge_weights_in_both(host, tmp_path):
  path = _graph(tmp_path, "positive")
  _, found, expected = _compared(_built(path, tmp_path, host=host), path)
  np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("defence", ["jaccard", "low_rank"])
def test_a_defence_is_part_of_the_program_and_of_what_attacks_read(defence, tmp_path):
  path = write_small_graph(tmp_path / "graph.npz")
  settings = {"defence": defence, "jaccard_threshold": 0.2, "adjacency_rank": 5}
  experiment = _built(path, tmp_path, **settings)
  card, found, expected = _compared(experiment, path)
  np.testing.assert_allclose(found, expected, atol=2e-5)
  assert card["defence"] == defence
  graph, model = load_graph_npz(path), experiment.report.args[0]
  params = experiment.export(jax.jit(experiment.init)(jax.random.key(0))).params
  two = jax.tree.map(lambda x: np.stack([x, 2 * x]), params)
  chosen = Defence(defence, 0.2, 5)
  victim = make_victim(model, two, graph, normalization="row", defence=chosen)
  logits = jax.jit(victim)(network_graph(graph))
  assert logits.shape == (2, 120, 3)
  np.testing.assert_allclose(jax.nn.softmax(logits[0]), expected, atol=2e-5)
  _, plain, _ = _compared(_built(path, tmp_path), path)
  assert np.abs(plain - found).max() > 1e-3  # the defence does something


@pytest.mark.parametrize("kind", ["centred", "mixed"])
def test_rows_that_sum_to_nearly_nothing_are_refused_in_training_and_in_prediction(kind, tmp_path):
  path = _graph(tmp_path, kind)
  with pytest.raises(ValueError, match="normalization 'row' .*config.normalization=abs, l2 or none"):
    _built(path, tmp_path)
  (tmp_path / "good").mkdir()
  experiment = _built(_graph(tmp_path / "good", "positive"), tmp_path)
  state = jax.eval_shape(experiment.init, jax.random.key(0))
  with pytest.raises(ValueError, match="normalization 'row'"):
    experiment.export(state).read(path)
