"""What a network of the space costs in multiply-adds, on the host and inside a step; widths by them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.search.branches.space import Network, Space
from vita_jax.search.operations import OPERATIONS, operation_macs

NODES = 3  # intermediate ones of a cell
EDGES = NODES * (NODES + 1) // 2
MOST = 512  # channels of branch 0
TOLERANCE = 0.05  # of what is called the same number of multiply-adds


class Shape(NamedTuple):
  """The widths and sizes of a network.

  Attributes:
    channels: of branch 0; branch b has 2^b as many.
    stem: of the first two convolutions.
    outputs: channels of the maps that come out.
    size: (height, width) of the pictures.
    stride: pixels for each place of these maps, 2 or 4.
  """

  channels: int
  stem: int
  outputs: int
  size: tuple[int, int]
  stride: int = 4

  @property
  def maps(self) -> tuple[int, int]:
    """(height, width) of the maps."""
    return self.size[0] // self.stride, self.size[1] // self.stride


class Costs(NamedTuple):
  """Multiply-adds of the convolutions for one picture, float64.

  Attributes:
    fixed: of stem and head.
    sent: [N, N]: of what branch `to` gets from branch `from`; the diagonal is 0.
    operations: [N, operations]: of one operation in a branch.
    out: [N]: of what ends a searched cell.
    plain: [N]: of a plain cell.
  """

  fixed: float
  sent: np.ndarray
  operations: np.ndarray
  out: np.ndarray
  plain: np.ndarray


def costs_of(space: Space, shape: Shape) -> Costs:
  """Computes the tables."""
  (height, width), n = shape.size, space.branches
  channels = [shape.channels * 2**b for b in range(n)]
  places = [shape.maps[0] * shape.maps[1] / 4**b for b in range(n)]
  half, stem = height * width / 4, shape.stem
  fixed = 27 * stem * half + 9 * stem * (stem + channels[0]) * places[0]
  fixed += channels[0] * shape.outputs * places[0]
  sent = np.zeros((n, n))
  for to in range(n):
    for source in range(n):
      if source > to:
        sent[to, source] = channels[source] * channels[to] * places[source]
      for step in range(source, to):
        features = channels[to] if step == to - 1 else channels[source]
        sent[to, source] += 9 * channels[source] * features * places[step + 1]
  operations = [
    [operation_macs(kind, c, 1) * p for kind in OPERATIONS] for c, p in zip(channels, places, strict=True)
  ]
  squares = np.square(channels) * np.array(places)
  return Costs(fixed, sent, np.array(operations), NODES * squares, 18 * squares)


def macs(costs: Costs, network: Network, cells: Any = None) -> Any:
  """Counts the multiply-adds of a network, a scalar; of JAX where the network is.

  Args:
    costs: of `costs_of`.
    network: which branches, cells and edges there are.
    cells: int [N, edges], the operation on each edge of each branch's cells; None: plain cells.
  """
  xp = jnp if isinstance(network.cells, jax.Array) else np
  own = costs.plain
  if cells is not None:
    own = xp.sum(xp.take_along_axis(xp.asarray(costs.operations), cells, axis=1), axis=1) + costs.out
  sent = xp.sum(network.edges * costs.sent) + xp.sum(network.head * costs.sent[0])
  return costs.fixed + xp.sum(network.cells * own) + sent


def fitted(space: Space, shape: Shape, network: Network, cells: Any, target: float) -> Shape:
  """Returns the shape whose widths make the network cost `target` multiply-adds, within 5 %.

  Channels of branch 0 and of the stem are varied; of those that fit, the stem nearest to the given one is
  taken, and the nearest cost among these. A target of 0 leaves the shape as it is.

  Raises:
    ValueError: no widths fit.
  """
  if not target:
    return shape
  found: list[tuple[float, Shape]] = []
  for channels in range(1, MOST + 1):
    stems = range(max(1, shape.stem // 2), 2 * shape.stem + 1)
    row = [shape._replace(channels=channels, stem=stem) for stem in stems]
    costs = [float(macs(costs_of(space, one), network, cells)) / target - 1 for one in row]
    found += zip(costs, row, strict=True)
    if min(costs) > TOLERANCE:
      break
  fits = [(abs(one.stem - shape.stem), abs(off), one) for off, one in found if abs(off) <= TOLERANCE]
  if not fits:
    off, best = min((abs(off), one) for off, one in found)
    raise ValueError(
      f"no widths make this network cost {target:.4g} multiply-adds within {TOLERANCE:.0%}: the nearest are"
      f" {best.channels} channels and a stem of {best.stem}, {off:.0%} off; change config.budget.macs"
    )
  return min(fits)[-1]
