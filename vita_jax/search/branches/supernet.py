"""The supernet: all cells, operations and transfers of the space with shared weights, and which are computed.

An architecture is an array here, so that one compiled program runs any of them. Stages have equal shapes and
are a scan, the cells of a branch another one inside it; what an architecture lacks stands behind a `lax.cond`
and costs nothing. XLA's own convolutions would be slow in both on the CPU, which is why convolutions have the
form "loop" (`vita_jax.nn.conv`). The alternative, a program for each architecture that is sampled, takes half
a minute to compile, as long as dozens of steps here (64 x 64, 8 channels, two busy cores). Under `vmap` every
cond would become a select that computes both sides: run several architectures by `lax.map`, and several seeds
by `replicate=map`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.tree import named_leaves, path_name
from vita_jax.nn.hrnet import HEAD_DEVIATION
from vita_jax.search.branches.costs import EDGES, NODES, Shape
from vita_jax.search.branches.pieces import OUT, Head, Layer, Plain, Stem, Transfer, run
from vita_jax.search.branches.space import Network, Space, pairs_of
from vita_jax.search.operations import OPERATIONS, Operation

Tree = Any
MOMENTUM = 0.9  # of the running statistics
_BARE = ("zero", "skip")  # operations without parameters


class Supernet(NamedTuple):
  """What a supernet is made of.

  Attributes:
    space: which network levels it holds.
    shape: widths and sizes.
    plain: whether cells are two plain convolutions; else they are mixtures.
    remat: whether the inside of cells is computed again in the backward pass. It saves memory, and on CPUs
      half the time of a gradient: thousands of small arrays that scans would keep are copied in and out.
    form: of convolutions, see `vita_jax.nn.conv`.
  """

  space: Space
  shape: Shape
  plain: bool = False
  remat: bool = False
  form: str = "loop"

  @property
  def stem(self) -> Stem:
    """Its entry."""
    return Stem(self.shape.stem, self.shape.channels, self.shape.stride, self.form)

  @property
  def head(self) -> Head:
    """Its last layer."""
    return Head(self.shape.outputs, self.form)

  def transfer(self, source: int, to: int) -> Transfer:
    """Makes what branch `to` gets from branch `source`."""
    return Transfer(source, to, self.shape.channels, self.form)

  def cell_pieces(self, branch: int) -> dict[str, Any]:
    """Makes the pieces of a cell, by name."""
    if self.plain:
      return {OUT: Plain(self.form)}
    kinds = [kind for kind in OPERATIONS if kind not in _BARE]
    found: dict[str, Any] = {kind: Operation(kind, affine=False, form=self.form) for kind in kinds}
    return {**found, OUT: Layer(self.shape.channels * 2**branch, 1, relu=False, form=self.form)}


def init_supernet(net: Supernet, key: jax.Array) -> tuple[Tree, Tree]:
  """Draws (params, stats) of a supernet.

  Trees: `stem`, `head`, `last/from_1` (transfers to the head); with a leading axis [stages]
  `stages/from_1_to_0`; with [stages, cells] `cells/branch_0/out`, and with [stages, cells, edges]
  `cells/branch_0/sep_3`. Kernels are He's normal ones of their outputs, those of the head N(0, 0.001).
  `stats` are 0: the statistics of norms are measured anew for each architecture, see `averaged`.
  """
  space, n = net.space, net.space.branches
  widths, lead = [net.shape.channels * 2**b for b in range(n)], (space.stages, space.cells)
  shapes: dict[str, Any] = {
    "stem": _shapes(net.stem, 3),
    "head": _shapes(net.head, widths[0]),
    "last": {f"from_{b}": _shapes(net.transfer(b, 0), widths[b]) for b in range(1, n)},
    "stages": {
      f"from_{source}_to_{to}": _shapes(net.transfer(source, to), widths[source], lead[:1])
      for to, source in pairs_of(space)
    },
    "cells": {},
  }
  for b, width in enumerate(widths):
    into = width if net.plain else NODES * width  # what ends a cell
    shapes["cells"][f"branch_{b}"] = {
      name: _shapes(module, into, lead) if name == OUT else _shapes(module, width, (*lead, EDGES))
      for name, module in net.cell_pieces(b).items()
    }
  params, stats = (_part(shapes, i) for i in (0, 1))
  return _drawn(params, key), jax.tree.map(lambda x: jnp.zeros(x.shape), stats)


def _shapes(module: nn.Module, features: int, lead: tuple[int, ...] = ()) -> tuple[Tree, Tree]:
  """The shapes of (params, stats) of a piece that gets so many features, `lead` before each."""
  image = jax.ShapeDtypeStruct((1, 8, 8, features), jnp.float32)  # nothing depends on the size
  found = jax.eval_shape(functools.partial(module.init, train=True), jax.random.key(0), image)
  found = jax.tree.map(lambda x: jax.ShapeDtypeStruct((*lead, *x.shape), x.dtype), found)
  return found.get("params", {}), found.get("batch_stats", {})


def _part(tree: Tree, i: int) -> Tree:
  return tree[i] if isinstance(tree, tuple) else {name: _part(x, i) for name, x in tree.items()}


def _drawn(shapes: Tree, key: jax.Array) -> Tree:
  """Draws parameters of these shapes; all from one row of random numbers, which is compiled once."""
  kernels = {k: math.prod(x.shape) for k, x in named_leaves(shapes).items() if k.endswith("/kernel")}
  ends = np.cumsum(list(kernels.values()))
  rows = dict(
    zip(kernels, jnp.split(jax.random.normal(key, (int(ends[-1]),)), ends[:-1].tolist()), strict=True)
  )

  def draw(path: Any, x: Any) -> jax.Array:
    name = path_name(path)
    if name not in kernels:
      return jnp.full(x.shape, float(name.endswith("/scale")))
    *_, height, width, _, outputs = x.shape
    spread = HEAD_DEVIATION if name.startswith("head/") else (2 / (height * width * outputs)) ** 0.5
    return spread * rows[name].reshape(x.shape)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def forward(
  net: Supernet,
  params: Tree,
  stats: Tree,
  images: jax.Array,
  network: Network,
  weights: jax.Array | None,
  *,
  train: bool = True,
  sparse: bool = False,
) -> tuple[jax.Array, Tree]:
  """Runs an architecture.

  Args:
    net: the supernet.
    params: its weights.
    stats: statistics of its norms: read without `train`.
    images: float [n, h, w, 3], normalised.
    network: which branches, cells and edges are computed.
    weights: [N, edges, operations], of the mixtures of each branch; None for plain cells.
    train: norms take the statistics of the batch.
    sparse: operations of weight 0 are not computed, and get no gradient: for weights that are one-hot.

  Returns:
    Maps float32 [n, h / stride, w / stride, outputs], and the statistics: in training those given, moved.
  """
  n = net.space.branches
  y, stem = run(net.stem, params["stem"], stats["stem"], images, train=train)
  shapes = [(y.shape[0], y.shape[1] >> b, y.shape[2] >> b, y.shape[3] << b) for b in range(n)]
  ys = [y, *(jnp.zeros(shape, y.dtype) for shape in shapes[1:])]

  def stage(ys: list[jax.Array], given: Tree) -> tuple[list[jax.Array], Tree]:
    own, kept, live, cells, edges = given

    def go(ys: list[jax.Array]) -> tuple[list[jax.Array], Tree]:
      entered, moved = _enter(net, own["stages"], kept["stages"], ys, edges, train)
      found, after = [], {}
      for b, x in enumerate(entered):
        name = f"branch_{b}"
        mixed = None if weights is None else weights[b]
        piece = (own["cells"][name], kept["cells"][name])
        x, after[name] = _branch(net, b, piece, x, cells[b], mixed, train, sparse)
        found.append(x)
      return found, {"stages": moved, "cells": after}

    return jax.lax.cond(live, go, lambda ys: (ys, kept), ys)

  parts = [{k: tree[k] for k in ("stages", "cells")} for tree in (params, stats)]
  ys, moved = jax.lax.scan(stage, ys, (*parts, network.live, network.cells, network.edges))
  z, last = ys[0], {}
  for b in range(1, n):
    name = f"from_{b}"
    add, last[name] = _sent(
      net.transfer(b, 0),
      params["last"][name],
      stats["last"][name],
      ys[b],
      network.head[b],
      ys[0].shape,
      train,
    )
    z = z + add
  maps, ended = run(net.head, params["head"], stats["head"], nn.relu(z), train=train)
  return maps.astype(jnp.float32), {"stem": stem, "head": ended, "last": last, **moved}


def _sent(
  module: Any, params: Tree, stats: Tree, x: jax.Array, on: jax.Array, shape: tuple[int, ...], train: bool
) -> tuple[jax.Array, Tree]:
  """What a transfer adds to a branch of this shape: nothing, and no work, where the edge is off."""
  return jax.lax.cond(
    on,
    lambda x: run(module, params, stats, x, train=train),
    lambda x: (jnp.zeros(shape, x.dtype), stats),
    x,
  )


def _enter(
  net: Supernet, params: Tree, stats: Tree, ys: list[jax.Array], edges: jax.Array, train: bool
) -> tuple[list[jax.Array], Tree]:
  """What branches get at the entry of a stage: z_b = relu(sum over a of T_ab(y_a))."""
  found, moved = [], {}
  for to, y in enumerate(ys):
    total = y * edges[to, to].astype(y.dtype)
    for source, x in enumerate(ys):
      if source != to:
        name = f"from_{source}_to_{to}"
        module = net.transfer(source, to)
        add, moved[name] = _sent(module, params[name], stats[name], x, edges[to, source], y.shape, train)
        total = total + add
    found.append(nn.relu(total))
  return found, moved


def _branch(
  net: Supernet,
  branch: int,
  piece: tuple[Tree, Tree],
  x: jax.Array,
  count: jax.Array,
  weights: jax.Array | None,
  train: bool,
  sparse: bool,
) -> tuple[jax.Array, Tree]:
  """The cells of a branch in a stage: the first `count` of the most that there may be."""
  modules = net.cell_pieces(branch)

  def inside(params: Tree, stats: Tree, x: jax.Array, weights: Any) -> tuple[jax.Array, Tree]:
    if weights is None:
      y, moved = run(modules[OUT], params[OUT], stats[OUT], x, train=train)
      return y, {OUT: moved}
    return _mixed(modules, params, stats, x, weights, train, sparse)

  inside = jax.checkpoint(inside) if net.remat else inside

  def one(x: jax.Array, given: Tree) -> tuple[jax.Array, Tree]:
    params, stats, number = given
    return jax.lax.cond(number < count, lambda x: inside(params, stats, x, weights), lambda x: (x, stats), x)

  return jax.lax.scan(one, x, (*piece, jnp.arange(net.space.cells)))


def _mixed(
  modules: Mapping[str, Any],
  params: Tree,
  stats: Tree,
  x: jax.Array,
  weights: jax.Array,
  train: bool,
  sparse: bool,
) -> tuple[jax.Array, Tree]:
  """A cell whose edges are mixtures, sum_o w_o o(x): from each state all edges that leave it at once.

  An operation on all edges that leave a state is one batched operation: half as many to compile.
  """
  states, totals, moved = [x], [jnp.zeros_like(x)] * NODES, dict(stats)
  for place in range(NODES):
    edges = np.array([node * (node + 1) // 2 + place for node in range(place, NODES)])
    given = weights[edges].astype(x.dtype)[:, :, None, None, None, None]  # [edges, operations, n, h, w, c]
    sums = given[:, OPERATIONS.index("skip")] * x
    for name, module in modules.items():
      if name == OUT:
        continue
      own, kept = (jax.tree.map(lambda v, e=edges: v[e], tree.get(name, {})) for tree in (params, moved))
      apply = functools.partial(_edges, module, own, kept, len(edges), train)
      weight = given[:, OPERATIONS.index(name)]
      if sparse:
        y, after = jax.lax.cond(jnp.any(weight != 0), apply, functools.partial(_nothing, len(edges), kept), x)
      else:
        y, after = apply(x)
      sums = sums + weight * y
      moved[name] = jax.tree.map(lambda old, new, e=edges: old.at[e].set(new), moved[name], after)
    for node, total in zip(range(place, NODES), sums, strict=True):
      totals[node] = totals[node] + total
    x = totals[place]
    states.append(x)
  y, moved[OUT] = run(
    modules[OUT], params[OUT], stats[OUT], jnp.concatenate(states[1:], axis=-1), train=train
  )
  return states[0] + y, moved


def _edges(
  module: Any, params: Tree, stats: Tree, count: int, train: bool, x: jax.Array
) -> tuple[jax.Array, Tree]:
  """An operation with the weights of several edges on one input: [edges, n, h, w, c]."""
  if not params:  # pooling: all edges get the same
    y, moved = run(module, {}, jax.tree.map(lambda v: v[0], stats), x, train=train)
    return jax.tree.map(lambda v: jnp.broadcast_to(v, (count, *v.shape)), (y, moved))
  # The barrier keeps the sum over edges of their gradients in x from being fused with all that comes before:
  # as one fusion it is slow on the CPU.
  xs = jax.lax.optimization_barrier(jnp.broadcast_to(x, (count, *x.shape)))
  return jax.vmap(lambda p, s, x: run(module, p, s, x, train=train))(params, stats, xs)


def _nothing(count: int, stats: Tree, x: jax.Array) -> tuple[jax.Array, Tree]:
  return jnp.zeros((count, *x.shape), x.dtype), stats


def averaged(total: Tree, count: jax.Array | int) -> Tree:
  """Makes statistics from the sum of those that `forward` moved from 0, over so many batches: their means."""
  return jax.tree.map(lambda x: x / (count * (1 - MOMENTUM)), total)
