"""What supernet and derived network are put together from: stem, transfers between branches, cells, head.

Each is a Flax module, image [n, h, w, c] -> image, with batch norms of its own: in training by the batch's
statistics, else by the running ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vita_jax.nn.conv import Conv
from vita_jax.nn.hrnet import head
from vita_jax.nn.resize import resize
from vita_jax.search.branches.costs import EDGES, NODES
from vita_jax.search.mixture import node_edges
from vita_jax.search.operations import Norm, he_normal

OUT = "out"  # the name of what ends a cell


class Layer(nn.Module):
  """Convolution without bias, batch norm, and ReLU unless it is the last of a sum."""

  features: int
  size: int = 3
  stride: int = 1
  relu: bool = True
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    conv = Conv(
      self.features,
      self.size,
      self.stride,
      self.size // 2,
      use_bias=False,
      kernel_init=he_normal,
      form=self.form,
    )
    x = Norm()(conv(x), train=train)
    return nn.relu(x) if self.relu else x


class Stem(nn.Module):
  """Pictures to branch 0, at a stride of 4 (HRNet's stem without its bottlenecks) or of 2."""

  stem: int
  channels: int
  stride: int = 4
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for features, stride in ((self.stem, 2), (self.stem, self.stride // 2), (self.channels, 1)):
      x = Layer(features, 3, stride, form=self.form)(x, train=train)
    return x


class Transfer(nn.Module):
  """What branch `to` gets from branch `source`; `channels` are those of branch 0. HRNet's.

  From a coarser branch a 1x1 convolution and a nearest upsampling; from a finer one convolutions 3x3 of
  stride 2, of which the last changes the channels and has no ReLU.
  """

  source: int
  to: int
  channels: int
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    wanted = self.channels * 2**self.to
    if self.source > self.to:
      x = Layer(wanted, 1, relu=False, form=self.form)(x, train=train)
      factor = 2 ** (self.source - self.to)
      return resize(x, (x.shape[1] * factor, x.shape[2] * factor), method="nearest")
    for step in range(self.source, self.to):
      last = step == self.to - 1
      features = wanted if last else x.shape[-1]
      x = Layer(features, 3, 2, relu=not last, form=self.form)(x, train=train)
    return x


class Plain(nn.Module):
  """The cell that is not searched: x + two 3x3 convolutions, with a ReLU between and before."""

  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    y = Layer(x.shape[-1], form=self.form)(nn.relu(x), train=train)
    return x + Layer(x.shape[-1], relu=False, form=self.form)(y, train=train)


class Head(nn.Module):
  """The last layer: branch 0 to maps, drawn from N(0, 0.001) with bias 0."""

  outputs: int
  form: str = "loop"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    del train
    return head(self.outputs, form=self.form, name="conv")(x)


Edge = Callable[[int, jax.Array], jax.Array]  # (number of the edge, its input) -> what it adds to its node


def cell(x: jax.Array, edge: Edge, out: Callable[[jax.Array], jax.Array]) -> jax.Array:
  """Wires a cell: node i sums its edges from x and the nodes before it; x + out(all nodes in a row)."""
  states = [x]
  for start, end in node_edges(EDGES):
    total = jnp.zeros_like(x)
    for number in range(start, end):
      total = total + edge(number, states[number - start])
    states.append(total)
  assert len(states) == NODES + 1
  return x + out(jnp.concatenate(states[1:], axis=-1))


def run(
  module: Any, params: Mapping[str, Any], stats: Mapping[str, Any], x: jax.Array, *, train: bool
) -> tuple[jax.Array, Mapping[str, Any]]:
  """Applies a piece to x; returns its output and its statistics, moved in training."""
  variables = {"params": params, "batch_stats": stats}
  if not train:
    return module.apply(variables, x, train=False), stats
  y, moved = module.apply(variables, x, train=True, mutable=["batch_stats"])
  return y, moved.get("batch_stats", {})
