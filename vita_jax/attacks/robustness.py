"""What attacks did to a network: a row for each target, and what accuracy is left by degree and margin."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.attacks.graph_edits import Flips, apply_flips, disconnected, flip_links
from vita_jax.attacks.space import LinkSpace, Logits, attack_loss, link_space, n_nodes, perturbed
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
    features: whether `logits` reads `graph.nodes["features"]`.

  Returns:
    One row for each target: `target`, `label`, `degree` (links on the clean graph), `links` and `words`
    (flips made), `clean_margin` and `margin` (probability of the label minus the largest other one, before
    and after), `clean` and `robust` (whether the label is predicted), `disconnected` (nodes that lost their
    last link).
  """
  space = link_space(graph, features=features)
  degree = np.bincount(graph.edges.ravel(), minlength=len(graph.labels))
  most = max([1, *(len(flip.links) for flip in flips)])
  rows = []
  for flip, label in zip(flips, labels.tolist(), strict=True):
    before = _margin(logits, space, graph, Flips(flip.target, flip.links[:0], flip.words[:0]), label, most)
    after = _margin(logits, space, graph, flip, label, most)
    lost = len(disconnected(graph, apply_flips(graph, flip._replace(words=flip.words[:0]))))
    rows.append(
      {
        "target": flip.target,
        "label": label,
        "degree": int(degree[flip.target]),
        "links": len(flip.links),
        "words": len(flip.words),
        "clean_margin": before,
        "margin": after,
        "clean": int(before > 0),
        "robust": int(after > 0),
        "disconnected": lost,
      }
    )
  return rows


def judge_whole(
  logits: Logits, graph: Graph, pairs: np.ndarray, targets: np.ndarray, labels: np.ndarray, *, features: bool
) -> list[dict[str, Any]]:
  """Judges a network on one perturbed graph, the same for all targets: rows as those of `judge`."""
  space = link_space(graph, features=features)
  find = functools.partial(
    _all_margins, logits, space, targets=jnp.asarray(targets), labels=jnp.asarray(labels)
  )
  clean = np.asarray(find(jnp.zeros((0, 2), jnp.int32)))
  after = np.asarray(find(jnp.asarray(pairs, jnp.int32)))
  degree = np.bincount(graph.edges.ravel(), minlength=len(graph.labels))
  touched = np.bincount(np.asarray(pairs).ravel(), minlength=len(graph.labels))
  lost = len(disconnected(graph, flip_links(graph, pairs))) if len(pairs) else 0
  return [
    {
      "target": int(node),
      "label": int(label),
      "degree": int(degree[node]),
      "links": int(touched[node]),
      "words": 0,
      "clean_margin": float(before),
      "margin": float(margin),
      "clean": int(before > 0),
      "robust": int(margin > 0),
      "disconnected": lost,
    }
    for node, label, before, margin in zip(targets, labels, clean, after, strict=True)
  ]


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


def _margin(logits: Logits, space: LinkSpace, graph: Graph, flip: Flips, label: int, most: int) -> float:
  # All targets have as many pairs as the longest has, so that one program serves them; a pair (u, u) is none.
  pairs = np.full((most, 2), flip.target, np.int32)
  pairs[: len(flip.links), 1] = flip.links
  amount = (np.arange(most) < len(flip.links)).astype(np.float32)
  node, classes = np.array([flip.target], np.int32), np.array([label], np.int32)
  if not len(flip.words):
    return -float(_loss(logits, space, pairs, amount, node, classes, None))
  row = graph.features[flip.target].toarray().ravel()
  row[flip.words] = 1 - row[flip.words]
  return -float(_loss(logits, space, pairs, amount, node, classes, row.astype(np.float32)))


@functools.partial(jax.jit, static_argnums=0)
def _loss(logits, space, pairs, amount, node, label, row):
  graph = perturbed(space, pairs, amount)
  if row is not None:
    features = jnp.asarray(graph.nodes["features"]).at[node[0]].set(row)
    graph = graph._replace(nodes={**graph.nodes, "features": features})
  return attack_loss(logits(graph), node, label)


@functools.partial(jax.jit, static_argnums=0)
def _all_margins(logits, space, pairs, *, targets, labels):
  found = logits(perturbed(space, pairs, jnp.ones(pairs.shape[0])))
  one = jax.vmap(lambda node, label: attack_loss(found, node[None], label[None]))
  return -one(targets, labels)


def predicted(logits: Logits, graph: Graph, *, features: bool = True) -> np.ndarray:
  """Returns the classes that a network predicts on the clean graph, int32 [N]."""
  space = link_space(graph, features=features)
  none = jnp.zeros((0, 2), jnp.int32)
  found = jax.jit(lambda s: logits(perturbed(s, none, jnp.zeros(0))))(space)
  assert found.shape[0] == n_nodes(space)
  return np.asarray(found.argmax(-1), np.int32)
