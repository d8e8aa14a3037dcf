"""GraphMix: the coin, the pseudo-labels, and the loss of mixed rows, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws.small_graph import write_small_graph

from vita_jax import papers
from vita_jax.papers.ss_gcn import graphmix, losses
from vita_jax.papers.ss_gcn.model import HOSTS
from vita_jax.papers.ss_gcn.recipe import default_config, recipe_of
from vita_jax.papers.ss_gcn.steps import labelled


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  folder = tmp_path_factory.mktemp("graphmix")
  config = default_config("", "none")
  config.data.path, config.cache_dir = write_small_graph(folder / "graph.npz"), str(folder)
  config.update_from_flattened_dict({"host": "graphmix", "graphmix.passes": 4, "graphmix.epochs": 20})
  experiment = papers.build(config)
  model = HOSTS["graphmix"](n_classes=3)
  state = jax.jit(experiment.init)(jax.random.key(0))
  return recipe_of(config).graphmix, model, state, experiment.stages[0].data.arrays


def test_half_of_the_epochs_mix_and_which_is_no_matter_of_the_seed():
  found = np.array(jax.vmap(graphmix.mixes)(jnp.arange(4000)))
  assert abs(found.mean() - 0.5) < 0.03
  runs = np.diff(np.flatnonzero(np.diff(found.astype(int))))
  assert runs.mean() == pytest.approx(2, abs=0.15)  # as long as those of a fair coin


def test_an_epoch_is_one_or_the_other(built):
  own, model, state, batch = built
  key = jax.random.key(1)
  arguments = (model, state["params"], batch["features"], state, batch, key)
  for t in (0, 1):
    t = jnp.int32(t)
    one = graphmix.mixed(own, *arguments, t) if graphmix.mixes(t) else labelled(*arguments, t)
    assert float(graphmix.mixed_or_plain(own, *arguments, t)) == pytest.approx(float(one), rel=1e-6)


def test_pseudo_labels_are_the_sharpened_mean_and_have_no_gradient(built):
  own, model, state, batch = built
  nodes = jnp.array([4, 0, 2])
  arguments = (batch["features"], batch, nodes, jax.random.key(2))
  plain, sharp = (
    graphmix.pseudo_labels(own._replace(temperature=t), model, state["params"], *arguments)
    for t in (1.0, 0.1)
  )
  np.testing.assert_allclose(plain.sum(1), 1, atol=1e-6)
  expected = np.asarray(plain, np.float64) ** 10
  np.testing.assert_allclose(sharp, expected / expected.sum(1, keepdims=True), rtol=2e-4, atol=1e-6)
  gradient = jax.grad(lambda p: graphmix.pseudo_labels(own, model, p, *arguments)[:, 0].sum())(
    state["params"]
  )
  assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))


def test_rows_are_mixed_as_their_targets_are(built):
  random = np.random.default_rng(0)
  hidden, targets = random.normal(size=(6, 2)), np.eye(3)[random.integers(3, size=6)]
  kernel = random.normal(size=(2, 3))
  key = jax.random.key(4)
  found = graphmix.mixup(lambda h: h @ kernel, key, jnp.asarray(hidden), jnp.asarray(targets))
  share_key, order_key = jax.random.split(key)
  share, order = float(jax.random.uniform(share_key)), np.asarray(jax.random.permutation(order_key, 6))
  mixed = share * hidden + (1 - share) * hidden[order]
  expected = losses.binary_cross_entropy(mixed @ kernel, share * targets + (1 - share) * targets[order])
  assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_unlabelled_nodes_count_by_the_ramp(built):
  own, model, state, batch = built
  arguments = (model, state["params"], batch["features"], state, batch, jax.random.key(5))
  values = {
    (w, t): float(graphmix.mixed(own._replace(unlabelled_weight=w), *arguments, jnp.int32(t)))
    for w, t in ((0.0, 0), (10.0, 0), (10.0, 750), (10.0, 1500))
  }
  extra = [values[10.0, t] - values[0.0, 0] for t in (0, 750, 1500)]
  assert extra[0] == pytest.approx(extra[2] * np.exp(-5), rel=2e-2)
  assert extra[1] == pytest.approx(extra[2] * np.exp(-5 * 0.25), rel=1e-3)
