"""The networks of SS-GCN: GCN, GIN, GAT, that of GMNN and GraphMix, and an MLP; two layers, no biases.

All have the same methods, so the training step does not know which one it trains:

    project(features, graph, view)      everything before the first dropout; it holds the costly
                                        input product, to be shared by passes over the same weights
    project_views(features, graph, views)   a tuple of the same, sharing X W among the views
    heads(projected, graph, view, key)  the rest: a dict
                                          "target": logits, float32 [N, n_classes]
                                          "ss": float32 [N, n_ss_outputs], only if n_ss_outputs > 0
                                          "hidden": what the self-supervised head reads [N, d]
                                        key None = evaluation (no dropout)
    __call__(features, graph, view, key)    heads of project

`graph` is any `jraph.GraphsTuple`: single, batched or padded (`nn.graph.adjacency_of` says what is read of
it), or the `nn.graph.Adjacency` of one undirected graph, which is faster. `features` is X as
`nn.sparse.Sparse` or an array [N, F]; the GCN also takes `Propagated`. `view` is "full" or "no_self": in the
latter (graph completion) no node aggregates itself, so row i of the first layer does not depend on X_i. A
graph with another number of nodes than X has rows, and another view, raise ValueError. Parameters are
float32; `dtype` is the compute type. Edge weights multiply messages (GCN, GIN) or attention (GAT).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.dropout import dropout, dropout_sparse
from vita_jax.nn.graph import Adjacency, adjacency_of, check_rows, edge_softmax, propagate, propagate_host
from vita_jax.nn.linear import Linear, uniform_fan_in
from vita_jax.nn.sparse import Sparse

VIEWS = ("full", "no_self")
Key = jax.Array | None


class Propagated(NamedTuple):
  """Inputs of a GCN whose first propagation was done beforehand: dense [N, F] per view."""

  full: jax.Array
  no_self: jax.Array | None = None


def propagated(graph: Adjacency, features: Any, *, views: tuple[str, ...] = VIEWS) -> Propagated:
  """Propagates the scipy matrix `features` [N, F] over an `nn.graph.adjacency`, for the views asked for."""
  found: dict[str, Any] = {view: propagate_host(graph, features, _gcn_weight(graph, view)) for view in views}
  return Propagated(**found)


class GCN(nn.Module):
  """Z = Â drop(relu(Â X W0)) W1, with Â_m (no self-loops) in both layers for view "no_self"."""

  n_classes: int
  n_ss_outputs: int = 0
  hidden: int = 16
  dropout: float = 0.5
  dtype: Any = jnp.float32

  def setup(self) -> None:
    self.input, self.target, self.ss = _linear_maps(self)

  def project_views(self, features: Any, graph: Any, views: tuple[str, ...]) -> tuple[Any, ...]:
    if isinstance(features, Propagated):
      return tuple(jax.nn.relu(self.input(_propagated_view(features, view))) for view in views)
    xw = self.input(features)
    graph = _matrices(graph, xw.shape[0])
    return tuple(jax.nn.relu(propagate(graph, xw, _gcn_weight(graph, view))) for view in views)

  def project(self, features: Any, graph: Any, view: str) -> Any:
    return self.project_views(features, graph, (view,))[0]

  def heads(self, projected: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    graph = _matrices(graph, projected.shape[0])
    weight = _gcn_weight(graph, view)
    h = dropout(key, projected, self.dropout)
    return _second_layer(self, graph, h, weight)

  def __call__(self, features: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    return self.heads(self.project(features, graph, view), graph, view, key)


class InputDropoutGCN(nn.Module):
  """Z = Â relu(Â drop(X) W0) W1, the network of GMNN and GraphMix; W0 and W1 start in U(±1/sqrt(outputs)).

  The first dropout is that of the inputs, so `project` does nothing. Sparse features must be `ordered`.
  """

  n_classes: int
  n_ss_outputs: int = 0
  hidden: int = 16
  dropout: float = 0.5
  dtype: Any = jnp.float32

  def setup(self) -> None:
    self.input, self.target, self.ss = _linear_maps(self, fan="out")

  def project_views(self, features: Any, graph: Any, views: tuple[str, ...]) -> tuple[Any, ...]:
    return (_not_propagated(features),) * len(views)

  def project(self, features: Any, graph: Any, view: str) -> Any:
    return self.project_views(features, graph, (view,))[0]

  def alone(self, features: Any, key: Key) -> jax.Array:
    """Computes relu(drop(X) W0), the first layer without the graph: [N, hidden]."""
    return jax.nn.relu(self.input(_dropped(key, features, self.dropout)))

  def classify(self, hidden: jax.Array) -> jax.Array:
    """Computes logits of a hidden layer without the graph: [n, hidden] -> float32 [n, n_classes]."""
    return self.target(hidden).astype(jnp.float32)

  def heads(self, projected: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    xw = self.input(_dropped(key, projected, self.dropout))
    graph = _matrices(graph, xw.shape[0])
    weight = _gcn_weight(graph, view)
    return _second_layer(self, graph, jax.nn.relu(propagate(graph, xw, weight)), weight)

  def __call__(self, features: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    return self.heads(self.project(features, graph, view), graph, view, key)


class MLP(nn.Module):
  """Z = drop(relu(X W0)) W1: what features say without any edge, a control."""

  n_classes: int
  n_ss_outputs: int = 0
  hidden: int = 16
  dropout: float = 0.5
  dtype: Any = jnp.float32

  def setup(self) -> None:
    self.input, self.target, self.ss = _linear_maps(self)

  def project_views(self, features: Any, graph: Any, views: tuple[str, ...]) -> tuple[Any, ...]:
    return (jax.nn.relu(self.input(_not_propagated(features))),) * len(views)

  def project(self, features: Any, graph: Any, view: str) -> Any:
    return self.project_views(features, graph, (view,))[0]

  def heads(self, projected: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    hidden = dropout(key, projected, self.dropout)
    return _outputs(self, hidden, target=self.target(hidden), ss=lambda ss: ss(hidden))

  def __call__(self, features: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    return self.heads(self.project(features, graph, view), graph, view, key)


class GIN(nn.Module):
  """h' = drop(relu(((1 + eps) h + mean of neighbours) W)); Z = (h1 W_pred + h2) / 2, SS on h1.

  View "no_self" drops the (1 + eps) h term.  Source: the released code, including the dropout of h2.
  """

  n_classes: int
  n_ss_outputs: int = 0
  hidden: int = 16
  dropout: float = 0.5
  dtype: Any = jnp.float32

  def setup(self) -> None:
    self.input, self.predict, self.ss = _linear_maps(self)
    self.output = Linear(self.n_classes, self.dtype)
    self.epsilon = self.param("epsilon", nn.initializers.zeros, (2,))

  def _aggregate(self, graph: Adjacency, view: str, layer: int, h: jax.Array) -> jax.Array:
    neighbours = propagate(graph, h, graph.mean)
    own = (1 + self.epsilon[layer]).astype(h.dtype) * h
    return jax.nn.relu(neighbours if _is_no_self(view) else own + neighbours)

  def project_views(self, features: Any, graph: Any, views: tuple[str, ...]) -> tuple[Any, ...]:
    xw = self.input(_not_propagated(features))
    graph = _matrices(graph, xw.shape[0])
    return tuple(self._aggregate(graph, view, 0, xw) for view in views)

  def project(self, features: Any, graph: Any, view: str) -> Any:
    return self.project_views(features, graph, (view,))[0]

  def heads(self, projected: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    graph = _matrices(graph, projected.shape[0])
    h1 = dropout(_fold(key, 0), projected, self.dropout)
    h2 = self._aggregate(graph, view, 1, self.output(h1))
    h2 = dropout(_fold(key, 1), h2, self.dropout)
    return _outputs(self, h1, target=(self.predict(h1) + h2) / 2, ss=lambda ss: ss(h1))

  def __call__(self, features: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    return self.heads(self.project(features, graph, view), graph, view, key)


class GAT(nn.Module):
  """Attention over incoming edges; layer 1: 8 heads x `hidden`, ELU; layer 2: one head, bare.

  Layer 1 drops attention coefficients and outputs; the SS head reads its dropped outputs (one hop).
  View "no_self" leaves out self edges and the receiver's own term of the attention logits; a node
  without neighbours then gets zeros.
  """

  n_classes: int
  n_ss_outputs: int = 0
  hidden: int = 16
  dropout: float = 0.6
  n_attention_heads: int = 8
  dtype: Any = jnp.float32

  def setup(self) -> None:
    width = self.n_attention_heads * self.hidden
    self.input = Linear(width, self.dtype)
    self.output = Linear(self.n_classes, self.dtype)
    self.ss = Linear(self.n_ss_outputs, self.dtype) if self.n_ss_outputs else None
    self.attention_1 = self.param(
      "attention_1", uniform_fan_in(2 * self.hidden), (2, self.n_attention_heads, self.hidden)
    )
    self.attention_2 = self.param("attention_2", uniform_fan_in(2 * self.n_classes), (2, 1, self.n_classes))

  def project_views(self, features: Any, graph: Any, views: tuple[str, ...]) -> tuple[Any, ...]:
    z = self.input(_not_propagated(features))
    z = z.reshape(-1, self.n_attention_heads, self.hidden)
    graph = _matrices(graph, z.shape[0])
    return tuple({"z": z, "coefficients": _attend(graph, z, self.attention_1, view)} for view in views)

  def project(self, features: Any, graph: Any, view: str) -> Any:
    return self.project_views(features, graph, (view,))[0]

  def heads(self, projected: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    z = projected["z"]
    graph = _matrices(graph, z.shape[0])
    coefficients = dropout(_fold(key, 0), projected["coefficients"], self.dropout)
    hidden = jax.nn.elu(_mix(graph, z, coefficients).reshape(z.shape[0], -1))
    hidden = dropout(_fold(key, 1), hidden, self.dropout)
    z = self.output(hidden)[:, None]
    target = _mix(graph, z, _attend(graph, z, self.attention_2, view))[:, 0]
    return _outputs(self, hidden, target=target, ss=lambda ss: ss(hidden))

  def __call__(self, features: Any, graph: Any, view: str, key: Key) -> dict[str, jax.Array]:
    return self.heads(self.project(features, graph, view), graph, view, key)


HOSTS = {
  "gcn": GCN,
  "gin": GIN,
  "gat": GAT,
  "gmnn": InputDropoutGCN,
  "graphmix": InputDropoutGCN,
  "mlp": MLP,
}


def _second_layer(module: Any, graph: Adjacency, h: jax.Array, weight: Any) -> dict[str, jax.Array]:
  """Computes the outputs of a GCN from its hidden layer h [N, hidden], after dropout."""
  hidden = propagate(graph, h, weight)

  def head(linear):
    # Both orders give the same numbers; the narrower one is propagated.
    narrow = linear.features < module.hidden
    return propagate(graph, linear(h), weight) if narrow else linear(hidden)

  return _outputs(module, hidden, target=head(module.target), ss=head)


def _dropped(key: Key, features: Any, rate: float) -> Any:
  if key is None or not isinstance(features, Sparse):
    return features if key is None else dropout(key, jnp.asarray(features), rate)
  return dropout_sparse(key, features, rate)


def _attend(graph: Adjacency, z: jax.Array, vectors: jax.Array, view: str) -> jax.Array:
  """Computes the softmax over edges into i of leaky_relu_0.01(a^T [z_j; z_i]), z [N, H, d] -> [E', H]."""
  source, destination = jnp.einsum("nhd,khd->knh", z, vectors.astype(z.dtype))
  if _is_no_self(view):
    # z_i would come back in through the coefficients, so its term goes with the self edge.
    logits = jax.nn.leaky_relu(source)[graph.senders]
    others = 1 - graph.own if graph.attention is None else graph.attention * (1 - graph.own)
    return edge_softmax(graph, logits, n_nodes=z.shape[0], weight=others)
  logits = jax.nn.leaky_relu(source[graph.senders] + destination[graph.receivers])
  return edge_softmax(graph, logits, n_nodes=z.shape[0], weight=graph.attention)


def _mix(graph: Adjacency, z: jax.Array, coefficients: jax.Array) -> jax.Array:
  """One propagation per attention head: z [N, H, d], coefficients [E', H] -> [N, H, d]."""
  return jax.vmap(propagate, in_axes=(None, 1, 1), out_axes=1)(graph, z, coefficients)


def _linear_maps(module: Any, *, fan: str = "in") -> list[Any]:
  """Returns the input map, map to classes and self-supervised head (None when it has no outputs)."""
  ss = Linear(module.n_ss_outputs, module.dtype) if module.n_ss_outputs else None
  return [*(Linear(width, module.dtype, fan) for width in (module.hidden, module.n_classes)), ss]


def _outputs(module: Any, hidden: jax.Array, *, target: jax.Array, ss: Any) -> dict[str, jax.Array]:
  outputs = {"target": target.astype(jnp.float32), "hidden": hidden}
  return outputs | {"ss": ss(module.ss).astype(jnp.float32)} if module.n_ss_outputs else outputs


def _fold(key: Key, i: int) -> Key:
  return None if key is None else jax.random.fold_in(key, i)


def _is_no_self(view: str) -> bool:
  if view not in VIEWS:
    raise ValueError(f"view must be one of {VIEWS}, got {view!r}")
  return view == "no_self"


def _matrices(graph: Any, n_nodes: int) -> Adjacency:
  if not isinstance(graph, Adjacency):
    return adjacency_of(graph, n_nodes)
  check_rows(graph, n_nodes)
  return graph


def _gcn_weight(graph: Adjacency, view: str) -> Any:
  return graph.gcn_no_self if _is_no_self(view) else graph.gcn


def _propagated_view(features: Propagated, view: str) -> jax.Array:
  matrix = features.no_self if _is_no_self(view) else features.full
  if matrix is None:
    raise ValueError(f"the features were not propagated for view {view!r}; precompute it too")
  return matrix


def _not_propagated(features: Any) -> Any:
  if isinstance(features, Propagated):
    raise ValueError("only the GCN takes propagated features; pass X itself")
  return features
