"""The derived network: one architecture as an ordinary Flax module, and its weights taken from a supernet.

Everything about it is known when it is made: no conds, no operations that are not used. Batch norms keep
running statistics, and those inside operations have scale and shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.search.branches.costs import Shape
from vita_jax.search.branches.pieces import OUT, Head, Layer, Plain, Stem, Transfer, cell
from vita_jax.search.branches.space import Network
from vita_jax.search.branches.supernet import Supernet
from vita_jax.search.operations import OPERATIONS, Operation

Tree = Any
Cells = tuple[tuple[int, ...], ...]  # of each branch the operation on each edge, by its number


class Derived(nn.Module):
  """Images [n, h, w, 3], normalised -> maps float32 [n, h / stride, w / stride, outputs].

  Attributes:
    cells: int [stages, branches] as tuples: how many cells; 0: the branch is absent.
    edges: (stage, to, from) of all transfers between different branches, after repair.
    kept: (stage, branch) of branches that go on from the stage before; of stage 0: branch 0, from the stem.
    head: branches that the head adds to branch 0.
    operations: of each branch the operation on each edge; (): plain cells.
    shape: widths and sizes.
    form: of convolutions, see `vita_jax.nn.conv`.
  """

  cells: tuple[tuple[int, ...], ...]
  edges: tuple[tuple[int, int, int], ...]
  kept: tuple[tuple[int, int], ...]
  head: tuple[int, ...]
  operations: tuple[tuple[str, ...], ...]
  shape: Shape
  form: str = "loop"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    shape = self.shape
    x = Stem(shape.stem, shape.channels, shape.stride, self.form, name="stem")(images, train=train)
    ys = {0: x}
    for stage, counts in enumerate(self.cells):
      entered = {b: self._enter(stage, b, ys, train) for b, count in enumerate(counts) if count}
      for b, count in enumerate(counts):
        for number in range(count):
          entered[b] = self._cell(f"stage_{stage}_branch_{b}_cell_{number}", b, entered[b], train)
      ys = entered
    z = ys[0]
    for b in self.head:
      z = z + self._sent(f"last_from_{b}", b, 0, ys[b], train)
    maps = Head(shape.outputs, self.form, name="head")(nn.relu(z), train=train)
    return maps.astype(jnp.float32)

  def _enter(self, stage: int, to: int, ys: Mapping[int, jax.Array], train: bool) -> jax.Array:
    parts = [ys[to]] if (stage, to) in self.kept else []
    for source in sorted(source for s, b, source in self.edges if (s, b) == (stage, to)):
      parts.append(self._sent(f"stage_{stage}_from_{source}_to_{to}", source, to, ys[source], train))
    return nn.relu(sum(parts[1:], parts[0]))

  def _sent(self, name: str, source: int, to: int, x: jax.Array, train: bool) -> jax.Array:
    return Transfer(source, to, self.shape.channels, self.form, name=name)(x, train=train)

  def _cell(self, name: str, branch: int, x: jax.Array, train: bool) -> jax.Array:
    if not self.operations:
      return Plain(self.form, name=f"{name}_{OUT}")(x, train=train)

    def edge(number: int, x: jax.Array) -> jax.Array:
      kind = self.operations[branch][number]
      return Operation(kind, form=self.form, name=f"{name}_edge_{number}_{kind}")(x, train=train)

    out = Layer(x.shape[-1], 1, relu=False, form=self.form, name=f"{name}_{OUT}")
    return cell(x, edge, lambda x: out(x, train=train))


def derived(network: Network, cells: Any, shape: Shape, *, form: str = "loop") -> Derived:
  """Makes the module of an architecture.

  Args:
    network: of numpy.
    cells: int [N, edges], the operation on each edge of each branch's cells; None: plain cells.
    shape: widths and sizes.
    form: of convolutions.
  """
  depth, n = int(network.live.sum()), network.cells.shape[1]
  places = [tuple(int(i) for i in place) for place in np.argwhere(network.edges[:depth])]
  names = () if cells is None else tuple(tuple(OPERATIONS[int(o)] for o in row) for row in np.asarray(cells))
  return Derived(
    cells=tuple(tuple(int(c) for c in row) for row in network.cells[:depth]),
    edges=tuple((s, to, source) for s, to, source in places if to != source),
    kept=tuple((s, to) for s, to, source in places if to == source),
    head=tuple(b for b in range(1, n) if network.head[b]),
    operations=names,
    shape=shape,
    form=form,
  )


def taken_from(net: Supernet, params: Tree, module: Derived) -> Tree:
  """Returns the parameters of a derived network, copied from a supernet; scales are 1 and shifts 0.

  So the network computes, by the statistics of the batch, what the supernet does with one-hot weights.
  """
  found: dict[str, Any] = {"stem": params["stem"], "head": params["head"]}
  found |= {f"last_from_{b}": params["last"][f"from_{b}"] for b in module.head}
  for stage, to, source in module.edges:
    name = f"from_{source}_to_{to}"
    found[f"stage_{stage}_{name}"] = jax.tree.map(lambda x, s=stage: x[s], params["stages"][name])
  for stage, counts in enumerate(module.cells):
    for b, count in enumerate(counts):
      pieces = params["cells"][f"branch_{b}"]
      start = f"stage_{stage}_branch_{b}_cell"
      for number in range(count):
        here = {kind: jax.tree.map(lambda x, s=stage, c=number: x[s, c], own) for kind, own in pieces.items()}
        found[f"{start}_{number}_{OUT}"] = here[OUT]
        for i, kind in enumerate(module.operations[b] if module.operations else ()):
          if here.get(kind):  # it has parameters
            found[f"{start}_{number}_edge_{i}_{kind}"] = jax.tree.map(lambda x, i=i: x[i], here[kind])
  image = jax.ShapeDtypeStruct((1, *net.shape.size, 3), jnp.float32)
  shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), image)["params"]
  return _completed(found, shapes)


def _completed(found: Tree, shapes: Tree) -> Tree:
  """Adds the scales and shifts that norms of a search do not have."""
  if not isinstance(shapes, Mapping):
    return found
  new = {}
  for name, shape in shapes.items():
    if name in found:
      new[name] = _completed(found[name], shape)
    elif isinstance(shape, Mapping):
      new[name] = _completed({}, shape)
    else:
      new[name] = jnp.full(shape.shape, float(name == "scale"))
  return new
