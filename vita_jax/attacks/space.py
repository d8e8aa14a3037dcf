"""The links of a graph as numbers between absent and present, for attackers who follow gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import numpy.typing as npt

from vita_jax.attacks.graph_edits import check_attackable
from vita_jax.data.graphs import Graph

Logits = Callable[[jraph.GraphsTuple], jax.Array]
_MOST_NODES = 46340  # the number of a pair, u N + v, is an int32


class LinkSpace(NamedTuple):
  """The links and self-loops of a graph, from which every perturbed graph is made inside a program.

  Attributes:
    u, v: int32 [E], u < v, sorted.
    loops: int32 [S], raw self-loops.
    nodes: what becomes `graph.nodes`; a tree of arrays [N, ...], never empty.
  """

  u: Any
  v: Any
  loops: Any
  nodes: Any


class RowChange(NamedTuple):
  """Other raw features of one node: what `graph.globals` is where an attack changed some.

  node: int32 scalar. row: float32 [F].
  """

  node: Any
  row: Any


def link_space(graph: Graph, *, features: bool = False) -> LinkSpace:
  """Returns a graph's links for `perturbed`.

  Args:
    graph: unweighted, with at least one link.
    features: whether `graph.nodes` has the raw "features" float32 [N, F] beside the "labels".

  Raises:
    ValueError: see `check_attackable`; no link; or more than 46,340 nodes.
  """
  check_attackable(graph)
  if len(graph.labels) > _MOST_NODES:
    raise ValueError(f"{len(graph.labels)} nodes: pairs are numbered for at most {_MOST_NODES}")
  if not len(graph.edges):
    raise ValueError(f"graph '{graph.name}' has no link")
  u, v = graph.edges[np.lexsort(graph.edges.T[::-1])].T
  nodes = {"labels": graph.labels}
  if features:
    nodes["features"] = np.asarray(graph.features.todense(), np.float32)
  return LinkSpace(u.astype(np.int32), v.astype(np.int32), graph.self_loops.astype(np.int32), nodes)


def network_graph(graph: Graph, *, features: bool = False) -> jraph.GraphsTuple:
  """Returns a clean graph as the attacked network gets it; see `link_space` for the arguments."""
  none = jnp.zeros((0, 2), jnp.int32)
  return perturbed(link_space(graph, features=features), none, jnp.zeros(0))


def n_nodes(space: LinkSpace) -> int:
  """Returns N."""
  return len(space.nodes["labels"])


def perturbed(space: LinkSpace, pairs: jax.Array, amount: jax.Array) -> jraph.GraphsTuple:
  """Returns the graph in which pair i is flipped by `amount[i]`: a link weighs 1 - amount, a new one amount.

  Args:
    space: from `link_space`.
    pairs: int32 [B, 2], distinct where the amount is not 0.
    amount: float32 [B], 0 to 1; differentiable.

  Returns:
    2 (E + B) + S edges, with `edges["weight"]`; memory is O(E + B).
  """
  n = n_nodes(space)
  low, high = pairs.min(-1), pairs.max(-1)
  known, asked = jnp.asarray(space.u * n + space.v), low * n + high
  place = jnp.minimum(jnp.searchsorted(known, asked), known.shape[0] - 1)
  there = known[place] == asked
  kept = jnp.ones(known.shape[0]).at[place].add(-jnp.where(there, amount, 0.0))
  new = jnp.where(there, 0.0, amount)
  loops = jnp.asarray(space.loops, jnp.int32)
  return jraph.GraphsTuple(
    nodes=space.nodes,
    edges={"weight": jnp.concatenate([kept, kept, new, new, jnp.ones(loops.shape[0])])},
    senders=jnp.concatenate([space.u, space.v, low, high, loops]),
    receivers=jnp.concatenate([space.v, space.u, high, low, loops]),
    globals=None,
    n_node=jnp.array([n]),
    n_edge=jnp.array([2 * (known.shape[0] + pairs.shape[0]) + loops.shape[0]]),
  )


def with_row(graph: jraph.GraphsTuple, node: jax.Array, row: jax.Array) -> jraph.GraphsTuple:
  """Returns the graph with other raw features of a node: in `globals`, and in `nodes` where it has any."""
  changed = graph._replace(globals=RowChange(node, row))
  if "features" not in graph.nodes:
    return changed
  features = jnp.asarray(graph.nodes["features"]).at[node].set(row)
  return changed._replace(nodes={**graph.nodes, "features": features})


def check_attacked(
  logits: Logits, graph: LinkSpace | jraph.GraphsTuple, nodes: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
  """Returns nodes and their classes, int32 [T] each, that a network on a graph has: JAX would clip others.

  Raises:
    ValueError: no node, other counts of the two, no whole numbers, a number that is no node or no class; or
      a network that does not return [..., N, C].
  """
  at, classes = np.asarray(nodes), np.asarray(labels)
  n = n_nodes(graph) if isinstance(graph, LinkSpace) else jax.tree.leaves(graph.nodes)[0].shape[0]
  if (
    at.ndim != 1 or not at.size or at.shape != classes.shape or {at.dtype.kind, classes.dtype.kind} - {*"iu"}
  ):
    raise ValueError("targets and their labels must be two lists of whole numbers, equally long, not empty")
  if len(wrong := at[(at < 0) | (at >= n)]):
    raise ValueError(f"target {wrong[0]} is no node: the graph has {n}, numbered from 0")
  found: tuple[int, ...] = getattr(_clean_logits.eval_shape(logits, graph), "shape", ())
  if len(found) < 2 or found[-2] != n or found[-1] < 2:
    raise ValueError(f"logits(graph) has shape {list(found)}, need [..., {n}, classes], two classes at least")
  if len(wrong := np.flatnonzero((classes < 0) | (classes >= found[-1]))):
    raise ValueError(
      f"target {at[wrong[0]]} has label {classes[wrong[0]]}, need 0 .. {found[-1] - 1}: for a node without"
      " label give the predicted one"
    )
  return at.astype(np.int32), classes.astype(np.int32)


@functools.partial(jax.jit, static_argnums=0)  # so that a network is traced once, not for every target
def _clean_logits(logits: Logits, graph: LinkSpace | jraph.GraphsTuple) -> Any:
  if isinstance(graph, LinkSpace):
    graph = perturbed(graph, jnp.zeros((0, 2), jnp.int32), jnp.zeros(0))
  return logits(graph)


def attack_loss(logits: jax.Array, nodes: jax.Array, labels: jax.Array) -> jax.Array:
  """Computes what an attacker raises: the mean over `nodes` of `max over c != y of p_c, minus p_y`.

  Args:
    logits: [N, C].
    nodes: int [T].
    labels: int [T], classes y of these nodes.

  Source: the probability margin of Geisler et al., NeurIPS 2021, section 2.
  """
  return -jnp.mean(probability_margins(logits, nodes, labels))


def probability_margins(logits: jax.Array, nodes: jax.Array, labels: jax.Array) -> jax.Array:
  """Computes the probability of the label minus the largest other one: [..., N, C], [T], [T] -> [..., T]."""
  p = jax.nn.softmax(logits[..., nodes, :], axis=-1)
  label = jax.nn.one_hot(labels, p.shape[-1], dtype=bool)
  return jnp.where(label, p, 0.0).sum(-1) - jnp.where(label, -1.0, p).max(-1)


def random_pairs(key: jax.Array, space: LinkSpace, count: int) -> jax.Array:
  """Draws pairs of nodes uniformly, int32 [count, 2], u < v; u = v where the same node came twice."""
  drawn = jax.random.randint(key, (count, 2), 0, n_nodes(space), jnp.int32)
  return jnp.sort(drawn, axis=-1)


def valid_pairs(space: LinkSpace, pairs: jax.Array, priority: jax.Array) -> jax.Array:
  """Returns which pairs are two different nodes, and the first by priority of equal pairs: bool [B]."""
  code = pairs[:, 0] * n_nodes(space) + pairs[:, 1]
  order = jnp.lexsort((-priority, code))
  again = jnp.concatenate([jnp.zeros(1, bool), code[order][1:] == code[order][:-1]])
  return (pairs[:, 0] != pairs[:, 1]) & ~jnp.zeros_like(again).at[order].set(again)
