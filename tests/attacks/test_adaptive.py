"""Attackers with gradients, and those without: budgets, closed forms, and that flips do what they promise."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attacks.test_nettack import make_graph
from laws.small_graph import write_small_graph

from vita_jax import attacks
from vita_jax.attacks import graph_edits, pr_bcd, space, surrogate
from vita_jax.data.graphs import load_graph, load_graph_npz, normalize_rows
from vita_jax.nn.graph import adjacency_of, propagate

FIXTURES = Path(__file__).parent / "fixtures"
FEW = pr_bcd.Settings(epochs=12, resampling=8, block_size=300, draws=4)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
  return load_graph_npz(write_small_graph(tmp_path_factory.mktemp("graph") / "graph.npz"))


@pytest.fixture(scope="module")
def weight(graph):
  return surrogate.train_surrogate(graph, epochs=60)


@pytest.fixture(scope="module")
def logits(weight):
  w = jnp.asarray(weight, jnp.float32)

  def two_hops(g):
    x = normalize_rows(jnp.asarray(g.nodes["features"]), "row")
    matrices = adjacency_of(g, x.shape[0])
    return propagate(matrices, propagate(matrices, x @ w, matrices.gcn), matrices.gcn)

  return two_hops


def _loss(logits, graph, nodes, labels):
  found = logits(space.network_graph(graph, features=True))
  return float(space.attack_loss(found, jnp.asarray(nodes), jnp.asarray(labels)))


def test_a_flip_by_amount_one_is_the_flipped_graph(graph, logits):
  links = space.link_space(graph, features=True)
  pairs = np.array([graph.edges[3], [0, 119]], np.int32)
  found = logits(space.perturbed(links, pairs, jnp.ones(2)))
  expected = logits(space.network_graph(graph_edits.flip_links(graph, pairs), features=True))
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_projection_is_the_nearest_point():
  random = np.random.default_rng(0)
  x = jnp.asarray(random.normal(0.3, 0.5, 40), jnp.float32)
  found = pr_bcd.project(x, jnp.float32(3.0))
  assert found.sum() == pytest.approx(3, abs=1e-4) and found.min() >= 0 and found.max() <= 1
  inside = (found > 0) & (found < 1)
  shift = (x - found)[inside]
  np.testing.assert_allclose(shift, shift[0], atol=1e-5)  # the optimality condition
  np.testing.assert_allclose(pr_bcd.project(x, jnp.float32(1e3)), jnp.clip(x, 0, 1))


def test_equal_pairs_count_once(graph):
  links = space.link_space(graph)
  pairs = jnp.array([[1, 2], [3, 3], [1, 2], [0, 5]], jnp.int32)
  found = space.valid_pairs(links, pairs, jnp.array([0.1, 0.9, 0.4, 0.2]))
  assert found.tolist() == [False, False, True, True]


def test_a_direct_attack_flips_links_of_its_target_and_beats_random_ones(graph, logits):
  links = space.link_space(graph, features=True)
  gains, least = [], []
  for target in (7, 50):
    label = int(graph.labels[target])
    pairs = attacks.pr_bcd.pr_bcd(
      logits, links, [target], [label], budget=3, key=jax.random.key(0), settings=FEW
    )
    assert 1 <= len(pairs) <= 3 and (pairs == target).any(axis=1).all()
    gains.append(_loss(logits, graph_edits.flip_links(graph, pairs), [target], [label]))
    drawn = attacks.random_links(graph, target, n_links=3, random=np.random.default_rng(0))
    least.append(_loss(logits, attacks.apply_flips(graph, drawn), [target], [label]))
  assert np.mean(gains) > np.mean(least)


def test_attacks_on_the_whole_graph_keep_their_budget_and_harm(graph, logits):
  links, nodes = space.link_space(graph, features=True), np.flatnonzero(graph.test_mask)
  labels, clean = graph.labels[nodes], _loss(logits, graph, nodes, graph.labels[nodes])
  key = jax.random.key(1)
  greedy = attacks.gr_bcd.gr_bcd(logits, links, nodes, labels, budget=10, key=key, epochs=4, block_size=300)
  gradual = attacks.pr_bcd.pr_bcd(
    logits, links, nodes, labels, budget=10, key=key, direct=False, settings=FEW
  )
  assert len(greedy) == 10 == len(np.unique(greedy, axis=0)) and len(gradual) <= 10
  for pairs in (greedy, gradual):
    assert _loss(logits, graph_edits.flip_links(graph, pairs), nodes, labels) > clean


def test_features_are_flipped_where_the_gradient_says(graph, logits):
  target, label = 7, int(graph.labels[7])
  flips = attacks.fgsm_features(logits, space.network_graph(graph, features=True), target, label, n_words=3)
  assert 0 < len(flips.words) <= 3
  assert _loss(logits, attacks.apply_flips(graph, flips), [7], [label]) > _loss(logits, graph, [7], [label])


def test_nettack_lowers_its_surrogates_margin(graph, weight):
  clean = attacks.prepare(graph, weight)
  for target in (7, 50):
    label = int(graph.labels[target])
    flips = attacks.nettack.nettack(clean, target, label, n_links=3)
    after = attacks.prepare(attacks.apply_flips(graph, flips), weight)
    before = attacks.nettack.surrogate_margin(clean, target, label)
    assert attacks.nettack.surrogate_margin(after, target, label) < before


def test_dice_deletes_inside_and_connects_outside():
  graph, _ = make_graph(0)
  links = graph_edits.links_matrix(graph).toarray()
  for target in range(14):
    random = np.random.default_rng(target)
    for other in attacks.dice_links(graph, graph.labels, target, n_links=4, random=random).links:
      assert (graph.labels[other] == graph.labels[target]) == bool(links[target, other])


def test_flips_and_graphs_come_back_from_files(graph, tmp_path):
  flips = [graph_edits.Flips(3, np.array([5, 9], np.int32), np.array([1], np.int32))]
  flips += [graph_edits.Flips(4, np.array([8], np.int32), np.zeros(0, np.int32))]
  attacks.write_flips(tmp_path / "flips.npz", graph, flips)
  for one, other in zip(attacks.read_flips(tmp_path / "flips.npz", graph), flips, strict=True):
    assert one.target == other.target
    assert (one.links == other.links).all() and (one.words == other.words).all()
  changed = attacks.apply_flips(graph, flips[0])
  with pytest.raises(ValueError, match="another graph"):
    attacks.read_flips(tmp_path / "flips.npz", changed)
  attacks.write_graph(tmp_path / "graph.npz", changed)
  found = load_graph_npz(tmp_path / "graph.npz")
  assert graph_edits.graph_digest(found) == graph_edits.graph_digest(changed)


@pytest.mark.parametrize("budget,match", [(0, "between 1 and the 119"), (120, "between 1 and the 119")])
def test_budgets_that_cannot_be_spent_are_refused(graph, logits, budget, match):
  links = space.link_space(graph, features=True)
  with pytest.raises(ValueError, match=match):
    attacks.pr_bcd.pr_bcd(logits, links, [7], [0], budget=budget, key=jax.random.key(0))


@pytest.mark.slow
def test_pr_bcd_leaves_as_much_as_that_of_pytorch_geometric():
  """All test nodes of Citeseer together, links anywhere: robust accuracy within two points."""
  with np.load(FIXTURES / "pr_bcd.npz") as file:
    w0, w1 = (jnp.asarray(file[name], jnp.float32) for name in ("w0", "w1"))
    budgets, accuracy, clean = (file[name] for name in ("budgets", "accuracy", "clean"))
  graph = load_graph("citeseer")._replace(self_loops=np.zeros(0, np.int32))
  xw = jnp.asarray(normalize_rows(graph.features, "row") @ np.asarray(w0))
  nodes = np.flatnonzero(graph.test_mask)

  def logits(g):
    matrices = adjacency_of(g, xw.shape[0])
    hidden = jax.nn.relu(propagate(matrices, xw, matrices.gcn))
    return propagate(matrices, hidden @ w1, matrices.gcn)

  def right(found):
    predicted = np.asarray(logits(space.network_graph(found))).argmax(1)
    return (predicted == graph.labels)[nodes].mean()

  assert right(graph) == pytest.approx(float(clean), abs=2e-3)
  links, settings = space.link_space(graph), pr_bcd.Settings(block_size=20_000)
  attack = functools.partial(pr_bcd.pr_bcd, logits, links, nodes, graph.labels[nodes], direct=False)
  for budget, theirs in zip(budgets.tolist(), accuracy, strict=True):
    ours = []
    for seed in range(2):
      pairs = attack(budget=budget, key=jax.random.key(seed), settings=settings)
      assert len(pairs) <= budget
      ours.append(right(graph_edits.flip_links(graph, pairs)))
    assert np.mean(ours) == pytest.approx(theirs.mean(), abs=0.02), budget
