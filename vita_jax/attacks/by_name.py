"""Attacks by their names, for scripts and tables: who flips what, within a budget, on which targets."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import numpy as np

from vita_jax.attacks import cached, fgsm, gr_bcd, pr_bcd, simple, space, surrogate
from vita_jax.attacks.graph_edits import Flips
from vita_jax.base.choose import choose
from vita_jax.data.graphs import Graph

FLIPS = {  # attack -> what it can flip, the first by default
  "nettack": ("links", "features", "both"),
  "pr_bcd": ("links",),
  "gr_bcd": ("links",),
  "random": ("links",),
  "dice": ("links",),
  "fgsm_features": ("features",),
}
WHOLE = ("gr_bcd",)  # one perturbed graph for all targets; the budget is in percent of the links
ADAPTIVE = ("pr_bcd", "gr_bcd", "fgsm_features")  # what is flipped depends on the attacked network
WORDS_PER_LINK = 10


class Asked(NamedTuple):
  """What is asked of an attack.

  Attributes:
    attack: one of `FLIPS`.
    flip: "links", "features" or "both".
    budget: n: n links, and 10 n features, of each target; of `WHOLE` attacks n % of all links.
    seed: of attacks that draw.
  """

  attack: str
  flip: str
  budget: int
  seed: int = 0


def asked(attack: str, flip: str | None, budget: int, *, seed: int = 0) -> Asked:
  """Returns what is asked, checked; without `flip`, what the attack flips by default.

  Raises:
    ValueError: an attack or a flip that there is not, or a budget below 1.
  """
  kinds = FLIPS[choose("attack", attack, FLIPS)]
  flip = flip or kinds[0]
  if flip not in kinds:
    raise ValueError(f"--attack={attack} flips {', '.join(kinds)}, not {flip}")
  if budget < 1:
    raise ValueError(f"--budget={budget}: budgets must be at least 1")
  return Asked(attack, flip, budget, seed)


def flips_of(
  one: Asked, graph: Graph, logits: space.Logits, targets: np.ndarray, labels: np.ndarray
) -> list[Flips]:
  """Runs an attack on each target alone, on the clean graph.

  Args:
    one: not of `WHOLE`.
    graph: the clean graph.
    logits: the attacked network; it reads links, and changed features from `graph.globals`.
    targets: int [T].
    labels: int [N], known or predicted classes of all nodes.
  """
  n_links = 0 if one.flip == "features" else one.budget
  n_words = 0 if one.flip == "links" else WORDS_PER_LINK * one.budget
  if one.attack == "nettack":
    weight = surrogate.train_surrogate(graph)
    return cached.nettack_flips(graph, weight, targets, labels[targets], n_links=n_links, n_words=n_words)
  if one.attack == "fgsm_features":
    clean = space.network_graph(graph)
    raw = (graph.features[u].toarray().ravel() for u in targets.tolist())
    pairs = zip(targets.tolist(), raw, strict=True)
    return [fgsm.fgsm_features(logits, clean, u, labels[u], n_words=n_words, row=row) for u, row in pairs]
  if one.attack == "pr_bcd":
    return _pr_bcd(one, graph, logits, targets, labels)
  random = np.random.default_rng(one.seed)
  draw = functools.partial(simple.random_links, graph)
  if one.attack == "dice":
    draw = functools.partial(simple.dice_links, graph, labels)
  return [draw(u, n_links=n_links, random=random) for u in targets.tolist()]


def pairs_of(
  one: Asked, graph: Graph, logits: space.Logits, targets: np.ndarray, labels: np.ndarray
) -> np.ndarray:
  """Runs an attack of `WHOLE` on all targets together; arguments as `flips_of`. Returns int [k, 2]."""
  count = max(1, round(len(graph.edges) * one.budget / 100))
  links, key = space.link_space(graph), jax.random.key(one.seed)
  return gr_bcd.gr_bcd(logits, links, targets, labels[targets], budget=count, key=key)


def _pr_bcd(
  one: Asked, graph: Graph, logits: space.Logits, targets: np.ndarray, labels: np.ndarray
) -> list[Flips]:
  links, found = space.link_space(graph), []
  for u in targets.tolist():
    key = jax.random.fold_in(jax.random.key(one.seed), u)
    pairs = pr_bcd.pr_bcd(logits, links, [u], [labels[u]], budget=one.budget, key=key)
    others = pairs.sum(axis=1) - u  # one end of each is the target
    found.append(Flips(u, others.astype(np.int32), np.zeros(0, np.int32)))
  return found
