"""The supernet: all cells, operations and transfers of the space with shared weights, and which are computed.

An architecture is an array here, so that one compiled program runs any of them. Stages have equal shapes and
are a scan, the cells of a branch another one inside it; what an architecture lacks stands behind a `lax.cond`
and costs nothing. XLA's own convolutions would be slow in both on the CPU, which is why convolutions have the
form "loop" (`vita_jax.nn.conv`). Under `vmap` every cond would become a select that computes both sides: run
several architectures by `lax.map`, and several seeds by `replicate=map`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.papers.autopose.costs import EDGES, NODES, Shape
from vita_jax.papers.autopose.pieces import OUT, Head, Layer, Plain, Stem, Transfer, cell, run
from vita_jax.papers.autopose.space import Network, Space, pairs_of
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
    remat: whether the inside of cells is computed again in the backward pass, to save memory.
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
    return Head(self.shape.joints, self.form)

  def transfer(self, source: int, to: int) -> Transfer:
    """What branch `to` gets from branch `source`."""
    return Transfer(source, to, self.shape.channels, self.form)

  def cell_pieces(self, branch: int) -> dict[str, Any]:
    """The pieces of a cell, by name."""
    if self.plain:
      return {OUT: Plain(self.form)}
    kinds = [kind for kind in OPERATIONS if kind not in _BARE]
    found: dict[str, Any] = {
      f"edge_{number}_{kind}": Operation(kind, affine=False, form=self.form)
      for number in range(EDGES)
      for kind in kinds
    }
    return {**found, OUT: Layer(self.shape.channels * 2**branch, 1, relu=False, form=self.form)}


def init_supernet(net: Supernet, key: jax.Array) -> tuple[Tree, Tree]:
  """Draws (params, stats) of a supernet.

  Trees: `stem`, `head`, `last/from_1` (transfers to the head), and with a leading axis [stages] `stages/
  from_1_to_0` and [stages, cells] `cells/branch_0/edge_0_sep_3`. `stats` are 0: the statistics of norms are
  measured anew for each architecture, see `averaged`.
  """
  space, shape = net.space, net.shape
  keys = iter(jax.random.split(key, 4096))

  def draw(module: nn.Module, features: int, lead: tuple[int, ...] = ()) -> Tree:
    x = jnp.zeros((1, 8, 8, features))  # parameters do not depend on the size

    def one(key: jax.Array) -> Tree:
      found = module.init(key, x, train=True)
      return found.get("params", {}), found.get("batch_stats", {})

    for _ in lead:
      one = jax.vmap(one)
    return one(jax.random.split(next(keys), lead) if lead else next(keys))

  widths, lead = [shape.channels * 2**b for b in range(space.branches)], (space.stages, space.cells)
  drawn: dict[str, Any] = {
    "stem": draw(net.stem, 3),
    "head": draw(net.head, widths[0]),
    "last": {f"from_{b}": draw(net.transfer(b, 0), widths[b]) for b in range(1, space.branches)},
    "stages": {
      f"from_{source}_to_{to}": draw(net.transfer(source, to), widths[source], (space.stages,))
      for to, source in pairs_of(space)
    },
    "cells": {
      f"branch_{b}": {
        name: draw(module, width * (NODES if name == OUT and not net.plain else 1), lead)
        for name, module in net.cell_pieces(b).items()
      }
      for b, width in enumerate(widths)
    },
  }
  params, stats = (_part(drawn, i) for i in (0, 1))
  return params, jax.tree.map(jnp.zeros_like, stats)


def _part(tree: Tree, i: int) -> Tree:
  return tree[i] if isinstance(tree, tuple) else {name: _part(x, i) for name, x in tree.items()}


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
    Heat maps float32 [n, h / stride, w / stride, joints], and the statistics: in training those given, moved.
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
  """A cell whose edges are mixtures: sum_o w_o o(x)."""
  moved = dict(stats)

  def keep(name: str, found: tuple[jax.Array, Tree]) -> jax.Array:
    moved[name] = found[1]
    return found[0]

  def piece(name: str, x: jax.Array) -> tuple[jax.Array, Tree]:
    return run(modules[name], params.get(name, {}), stats[name], x, train=train)

  def edge(number: int, x: jax.Array) -> jax.Array:
    given = weights[number].astype(x.dtype)
    total = x * given[OPERATIONS.index("skip")]
    for place, kind in enumerate(OPERATIONS):
      if kind in _BARE:
        continue
      name = f"edge_{number}_{kind}"
      weighed = _weighed(piece, name, given[place])
      if sparse:
        found = jax.lax.cond(
          given[place] != 0, weighed, lambda x, name=name: (jnp.zeros_like(x), stats[name]), x
        )
      else:
        found = weighed(x)
      total = total + keep(name, found)
    return total

  y = cell(x, edge, lambda x: keep(OUT, piece(OUT, x)))
  return y, moved


def _weighed(
  piece: Callable[[str, jax.Array], tuple[jax.Array, Tree]], name: str, weight: jax.Array
) -> Callable[[jax.Array], tuple[jax.Array, Tree]]:
  def one(x: jax.Array) -> tuple[jax.Array, Tree]:
    y, stats = piece(name, x)
    return y * weight, stats

  return one


def averaged(total: Tree, count: jax.Array | int) -> Tree:
  """Makes statistics from the sum of those that `forward` moved from 0, over so many batches: their means."""
  return jax.tree.map(lambda x: x / (count * (1 - MOMENTUM)), total)
