"""Attackers without a network, as the least that any attack must beat: random flips, and DICE.

Threat model: evasion, direct; the attacker sees the links, and for DICE labels.
"""

from __future__ import annotations

import numpy as np

from vita_jax.attacks.graph_edits import Flips, check_targets, links_matrix
from vita_jax.data.graphs import Graph

_NO_WORDS = np.zeros(0, np.int32)


def random_links(graph: Graph, target: int, *, n_links: int, random: np.random.Generator) -> Flips:
  """Chooses `n_links` of a node's N - 1 possible links at random: nearly always new ones.

  Raises:
    ValueError: more flips than possible links, or no such node.
  """
  check_targets(graph, [target])
  others = np.delete(np.arange(len(graph.labels), dtype=np.int32), target)
  if n_links > len(others):
    raise ValueError(f"{n_links} flips are more than the {len(others)} possible links of node {target}")
  return Flips(target, random.choice(others, n_links, replace=False).astype(np.int32), _NO_WORDS)


def dice_links(
  graph: Graph, labels: np.ndarray, target: int, *, n_links: int, random: np.random.Generator
) -> Flips:
  """Deletes links within the target's class and adds links to other classes, by a fair coin.

  The target keeps one link at least; where one kind of flip has run out, the other is taken,
  and where both have, fewer flips come back.

  Args:
    graph: its links are read.
    labels: int [N], known or predicted classes; nodes of class -1 are left alone.
    target: the node.
    n_links: flips.
    random: the generator drawn from.

  Raises:
    ValueError: no such node, or a target of class -1.

  Source: Waniek et al., Nature Human Behaviour 2018 ("delete internally, connect externally").
  """
  check_targets(graph, [target])
  if labels[target] < 0:
    raise ValueError(f"target {target} has no label: give the predicted one")
  linked = links_matrix(graph)[target].toarray().ravel() > 0
  known = np.asarray(labels) >= 0
  inside = known & (np.asarray(labels) == labels[target])
  every = np.arange(len(linked))
  inner = random.permutation(np.flatnonzero(linked & inside & (every != target)))
  removable = inner[: max(int(linked.sum()) - 1, 0)].tolist()
  addable = random.permutation(np.flatnonzero(~linked & known & ~inside)).tolist()
  chosen: list[int] = []
  while len(chosen) < n_links and (removable or addable):
    delete = bool(removable) and (not addable or random.random() < 0.5)
    chosen.append((removable if delete else addable).pop())
  return Flips(target, np.array(chosen, np.int32), _NO_WORDS)
