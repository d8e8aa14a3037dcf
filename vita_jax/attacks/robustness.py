"""What attacks did to a network: a row for each target, and what accuracy is left by degree and margin."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from vita_jax.attacks.graph_edits import Flips, apply_flips, disconnected, flip_links
from vita_jax.attacks.space import (
  LinkSpace,
  Logits,
  check_attacked,
  link_space,
  n_nodes,
  perturbed,
  probability_margins,
  with_row,
)
from vita_jax.data.graphs import Graph

DEGREES = ((0, 1), (2, 2), (3, 5), (6, None))  # first and last degree of a group; None: no end


def judge(
  logits: Logits, graph: Graph, flips: Sequence[Flips], labels: np.ndarray, *, features: bool = True
) -> list[dict[str, Any]]:
  """Judges a network on the perturbed graph of each target alone.

  Args:
    logits: the attacked network.
    graph: the clean graph.
    flips: one for each target.
    labels: int [T], the classes that the targets have, or are predicted to have on the clean graph.
    features: whether `logits` reads `graph.nodes["features"]`; if not, it reads changed ones from
      `graph.globals` (`space.RowChange`).

  Returns:
    One row for each target: `target`, `label`, `degree` (links on the clean graph), `links` and `words`
    (flips made), `clean_margin` and `margin` (probability of the label minus the largest other one, before
    and after), `clean` and `robust` (whether the label is predicted), `disconnected` (nodes that lost their
    last link).
  """
  before, after = margins(logits, graph, flips, labels, features=features)
  lost = [len(disconnected(graph, apply_flips(graph, f._replace(words=f.words[:0])))) for f in flips]
  targets = np.array([flip.target for flip in flips])
  counts = [len(flip.links) for flip in flips], [len(flip.words) for flip in flips]
  return _rows(graph, targets, labels, *counts, before, after, lost)


def judge_whole(
  logits: Logits, graph: Graph, pairs: np.ndarray, targets: np.ndarray, labels: np.ndarray, *, features: bool
) -> list[dict[str, Any]]:
  """Judges a network on one perturbed graph, the same for all targets: rows as those of `judge`."""
  before, after = margins_whole(logits, graph, pairs, targets, labels, features=features)
  touched = np.bincount(np.asarray(pairs).ravel(), minlength=len(graph.labels))[targets].tolist()
  lost = len(disconnected(graph, flip_links(graph, pairs))) if len(pairs) else 0
  none = [0] * len(targets)
  return _rows(graph, targets, labels, touched, none, before, after, [lost] * len(targets))


@threadpool_limits.wrap(limits=1)  # see defences.low_rank
def margins(
  logits: Logits, graph: Graph, flips: Sequence[Flips], labels: np.ndarray, *, features: bool = True
) -> tuple[np.ndarray, np.ndarray]:
  """Computes the probability margins of the targets on the clean graph, and each on its perturbed graph.

  Args:
    logits: one network, or several at once: graph -> float32 [..., N, C].
    graph: see `judge`, as for the other arguments.

  Returns:
    Two float32 arrays [..., T].

  Raises:
    ValueError: see `check_attacked`.
  """
  space = link_space(graph, features=features)
  targets, labels = check_attacked(logits, space, [flip.target for flip in flips], labels)
  clean = _all_margins(logits, space, jnp.zeros((0, 2), jnp.int32), targets, labels)
  most = max([1, *(len(flip.links) for flip in flips)])
  pairs = zip(flips, labels.tolist(), strict=True)
  return np.asarray(clean), np.stack([_margin(logits, space, graph, *one, most) for one in pairs], axis=-1)


@threadpool_limits.wrap(limits=1)  # see defences.low_rank
def margins_whole(
  logits: Logits, graph: Graph, pairs: np.ndarray, targets: np.ndarray, labels: np.ndarray, *, features: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Computes the probability margins of targets on the clean graph, and on one graph with flipped links."""
  space = link_space(graph, features=features)
  none, flipped = jnp.zeros((0, 2), jnp.int32), jnp.asarray(pairs, jnp.int32).reshape(-1, 2)
  at = check_attacked(logits, space, targets, labels)
  return tuple(np.asarray(_all_margins(logits, space, p, *at)) for p in (none, flipped))  # type: ignore[return-value]


def robust_accuracy(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """Computes the share of targets still classified as labelled: of all, by degree, and by clean margin.

  Groups of degree are `DEGREES`; those of margin are the quarters of the targets by their clean margin, the
  least sure first, and `wrong` are targets that were misclassified before. Empty groups are left out. A
  target may be wrong on the clean graph and right after an attack; it counts as it stands after.

  Examples:
    >>> row = {"degree": 2, "clean_margin": 0.5, "clean": 1, "robust": 1}
    >>> robust_accuracy([row, {**row, "degree": 9, "robust": 0}])["degree 2"]
    1.0
  """
  groups: dict[str, Sequence[Mapping[str, Any]]] = {"all": rows}
  for first, last in DEGREES:
    name = f"degree {first}" if first == last else f"degree {first}-{last}" if last else f"degree {first}+"
    groups[name] = [r for r in rows if first <= r["degree"] and (last is None or r["degree"] <= last)]
  right = sorted((r for r in rows if r["clean"]), key=lambda r: r["clean_margin"])
  for i, quarter in enumerate(np.array_split(np.arange(len(right)), 4)):
    groups[f"margin quarter {i + 1}"] = [right[j] for j in quarter]
  groups["wrong"] = [r for r in rows if not r["clean"]]
  found = {name: float(np.mean([r["robust"] for r in group])) for name, group in groups.items() if group}
  return {"clean": float(np.mean([r["clean"] for r in rows])), **found}


def _rows(
  graph: Graph,
  targets: np.ndarray,
  labels: np.ndarray,
  links: Sequence[int],
  words: Sequence[int],
  before: np.ndarray,
  after: np.ndarray,
  lost: Sequence[int],
) -> list[dict[str, Any]]:
  degree = np.bincount(graph.edges.ravel(), minlength=len(graph.labels))
  return [
    {
      "target": int(node),
      "label": int(label),
      "degree": int(degree[node]),
      "links": n_links,
      "words": n_words,
      "clean_margin": float(clean),
      "margin": float(margin),
      "clean": int(clean > 0),
      "robust": int(margin > 0),
      "disconnected": gone,
    }
    for node, label, n_links, n_words, clean, margin, gone in zip(
      targets, labels, links, words, before, after, lost, strict=True
    )
  ]


def _margin(logits: Logits, space: LinkSpace, graph: Graph, flip: Flips, label: int, most: int) -> np.ndarray:
  # All targets have as many pairs as the longest has, so that one program serves them; a pair (u, u) is none.
  pairs = np.full((most, 2), flip.target, np.int32)
  pairs[: len(flip.links), 1] = flip.links
  amount = (np.arange(most) < len(flip.links)).astype(np.float32)
  node, classes = np.array([flip.target], np.int32), np.array([label], np.int32)
  if not len(flip.words):
    return np.asarray(_one_margin(logits, space, pairs, amount, node, classes, None))
  row = graph.features[flip.target].toarray().ravel()
  row[flip.words] = 1 - row[flip.words]
  return np.asarray(_one_margin(logits, space, pairs, amount, node, classes, row.astype(np.float32)))


@functools.partial(jax.jit, static_argnums=0)
def _one_margin(logits, space, pairs, amount, node, label, row):
  graph = perturbed(space, pairs, amount)
  if row is not None:
    graph = with_row(graph, node[0], row)
  return probability_margins(logits(graph), node, label)[..., 0]


@functools.partial(jax.jit, static_argnums=0)
def _all_margins(logits, space, pairs, targets, labels):
  return probability_margins(logits(perturbed(space, pairs, jnp.ones(pairs.shape[0]))), targets, labels)


@threadpool_limits.wrap(limits=1)  # see defences.low_rank
def predicted(logits: Logits, graph: Graph, *, features: bool = True) -> np.ndarray:
  """Returns the classes that a network, or several, predict on the clean graph, int32 [..., N]."""
  space = link_space(graph, features=features)
  none = jnp.zeros((0, 2), jnp.int32)
  found = jax.jit(lambda s: logits(perturbed(s, none, jnp.zeros(0))))(space)
  assert found.shape[-2] == n_nodes(space)
  return np.asarray(found.argmax(-1), np.int32)
