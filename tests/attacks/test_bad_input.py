"""What attackers cannot do is one clear line: JAX alone would clip a node or a class that is not there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attacks.test_nettack import make_graph

from vita_jax import attacks
from vita_jax.attacks import gr_bcd, nettack, pr_bcd, robustness, space

GRAPH, WEIGHT = make_graph(2)
N_CLASSES = WEIGHT.shape[1]


def _logits(g):
  return jnp.zeros((len(GRAPH.labels), N_CLASSES)) + g.edges["weight"].sum()


def _by_pr_bcd(logits, target, label):
  links = space.link_space(GRAPH)
  return pr_bcd.pr_bcd(logits, links, [target], [label], budget=1, key=jax.random.key(0))


def _by_gr_bcd(logits, target, label):
  links = space.link_space(GRAPH)
  return gr_bcd.gr_bcd(logits, links, [target], [label], budget=1, key=jax.random.key(0))


def _by_fgsm(logits, target, label):
  graph = attacks.network_graph(GRAPH, features=True)
  return attacks.fgsm_features(logits, graph, target, label, n_words=1)


def _judged(logits, target, label):
  none = np.zeros(0, np.int32)
  return robustness.margins(logits, GRAPH, [attacks.Flips(target, none, none)], [label])


def _judged_whole(logits, target, label):
  none = np.zeros((0, 2), np.int32)
  return robustness.margins_whole(logits, GRAPH, none, [target], [label], features=False)


@pytest.mark.parametrize("attack", [_by_pr_bcd, _by_gr_bcd, _by_fgsm, _judged, _judged_whole])
@pytest.mark.parametrize(
  "target,label,logits,message",
  [
    (14, 0, _logits, "target 14 is no node: the graph has 14"),
    (-1, 0, _logits, "target -1 is no node"),
    (3, -1, _logits, "target 3 has label -1, need 0 .. .*the predicted one"),
    (3, N_CLASSES, _logits, f"target 3 has label {N_CLASSES}"),
    (3.0, 0, _logits, "lists of whole numbers"),
    (3, 0, lambda g: _logits(g)[3], "logits.graph. has shape"),
    (3, 0, lambda g: {"target": _logits(g)}, r"logits.graph. has shape \[\]"),
    (3, 0, lambda g: _logits(g)[:, :1], "two classes at least"),
  ],
)
def test_targets_labels_and_networks_that_are_not_there(attack, target, label, logits, message):
  with pytest.raises(ValueError, match=message):
    attack(logits, target, label)


@pytest.mark.parametrize(
  "call",
  [
    lambda u, random: attacks.random_links(GRAPH, u, n_links=1, random=random),
    lambda u, random: attacks.dice_links(GRAPH, GRAPH.labels, u, n_links=1, random=random),
  ],
)
def test_attackers_without_a_network_look_at_the_target_too(call):
  for node in (-1, 14):
    with pytest.raises(ValueError, match=f"target {node} is no node"):
      call(node, np.random.default_rng(0))


def test_dice_needs_the_class_of_its_target():
  with pytest.raises(ValueError, match="target 3 has no label"):
    attacks.dice_links(GRAPH, GRAPH.labels * 0 - 1, 3, n_links=1, random=np.random.default_rng(0))


def test_a_surrogate_that_is_none_is_refused():
  with pytest.raises(ValueError, match="two at least"):
    attacks.prepare(GRAPH, WEIGHT[:, :1])
  with pytest.raises(ValueError, match="NaN or infinite"):
    attacks.prepare(GRAPH, np.where(WEIGHT == WEIGHT[0, 0], np.nan, WEIGHT))
  with pytest.raises(ValueError, match="target 99 is no node"):
    nettack.nettack(attacks.prepare(GRAPH, WEIGHT), 99, 0, n_links=1)


def test_a_file_without_flips_is_named(tmp_path):
  np.savez(tmp_path / "other.npz", targets=np.arange(3))
  with pytest.raises(ValueError, match=r"other.npz holds no flips \(no graph_sha256\)"):
    attacks.read_flips(tmp_path / "other.npz", GRAPH)
