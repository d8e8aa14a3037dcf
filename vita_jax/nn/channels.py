"""Which arrays are cut when a channel goes: groups of channels, written by hand or of a table of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vita_jax.nn.layers import Layer, check_layers


class Slice(NamedTuple):
  """An axis of an array that has a place for every channel of a group.

  Attributes:
    path: '/'-joined path of the leaf.
    axis: of the array.
    repeats: how often the channels occur on the axis, the channel being the fastest: a dense layer after
      images [h, w, c] that were flattened has h * w.
  """

  path: str
  axis: int
  repeats: int = 1


class ChannelGroup(NamedTuple):
  """Channels that stay or go together.

  Attributes:
    name: of the group.
    scale: path of gamma [channels], the scale that a channel is judged by; None: there is none.
    shift: path of the shift that belongs to it; None: there is none.
    slices: every axis that is cut, those of scale and shift included.
    minimum: how many channels must stay.
    bypassed: a residual connection leads around the channels, so that the network works without them.
    branch: layers (beginnings of paths) that go altogether when no channel of the group is left: they then
      add 0 to the residual stream.
  """

  name: str
  scale: str | None
  shift: str | None
  slices: tuple[Slice, ...]
  minimum: int = 1
  bypassed: bool = False
  branch: tuple[str, ...] = ()


Graph = tuple[ChannelGroup, ...]


def graph_of(layers: Sequence[Layer], *, stream: bool = False, ungated: bool = False) -> Graph:
  """Makes the channel graph of a table of layers, in the order of the layers.

  A layer's outputs are a group of their own, unless they are added to others: all that are added to each
  other, the residual stream, are one group, which has the name of its first layer. The picture that the last
  layer gives is never cut.

  Args:
    layers: the table.
    stream: include residual streams. Their gamma is the shared scale (`Layer.gate`), if there is one.
    ungated: include groups that have no gamma because their convolution has no affine norm.

  Raises:
    ValueError: see `vita_jax.nn.layers.check_layers`.

  Examples:
    >>> layers = (Layer("a", 3, 8, 3, padding=1, norm="affine"), Layer("b", 8, 3, 3, padding=1))
    >>> [slice[:2] for slice in graph_of(layers)[0].slices]
    [('a/kernel', 3), ('a/bias', 0), ('a/scale', 0), ('a/shift', 0), ('b/kernel', 2)]
  """
  owner: dict[str, str] = {}
  for layer in check_layers(layers):
    owner[layer.name] = owner.get(layer.add, layer.name)
  groups = []
  for first in layers:
    members = [layer for layer in layers if owner[layer.name] == first.name]
    if not members or layers[-1] in members:
      continue
    joined = len(members) > 1 or bool(first.gate)
    if stream if joined else (first.norm == "affine" or ungated):
      groups.append(_group(layers, owner, first, members))
  return tuple(groups)


def _group(
  layers: Sequence[Layer], owner: dict[str, str], first: Layer, members: Sequence[Layer]
) -> ChannelGroup:
  slices: list[Slice] = []
  for layer in members:
    slices += [Slice(f"{layer.name}/kernel", 3), Slice(f"{layer.name}/bias", 0)]
    if layer.norm == "affine":
      slices += [Slice(f"{layer.name}/scale", 0), Slice(f"{layer.name}/shift", 0)]
  for before, layer in zip(layers, layers[1:], strict=False):
    if owner[before.name] == first.name:
      slices.append(Slice(f"{layer.name}/kernel", 2))
  scale = shift = None
  if first.gate:
    scale = f"{first.gate}_scale"
    slices.append(Slice(scale, 0))
  elif len(members) == 1 and first.norm == "affine":
    scale, shift = f"{first.name}/scale", f"{first.name}/shift"
  branch = _branch(layers, first) if len(members) == 1 else ()
  # A branch whose last convolution gets nothing gives its bias: a plain norm makes that 0, a shift would not.
  vanishes = branch[-2:-1] == (first,) and branch[-1].norm == "plain" and not branch[-1].clipped
  return ChannelGroup(
    first.name,
    scale,
    shift,
    tuple(slices),
    minimum=0 if vanishes else 1,
    bypassed=bool(branch),
    branch=tuple(layer.name for layer in branch) if vanishes else (),
  )


def _branch(layers: Sequence[Layer], layer: Layer) -> tuple[Layer, ...]:
  """The layers that a residual connection leads around, if `layer` is one of them but the last."""
  place = {other.name: i for i, other in enumerate(layers)}
  i = place[layer.name]
  for end in range(i + 1, len(layers)):
    # Beside the picture a network of constants would be left: that is no bypass.
    if place.get(layers[end].add, i) < i:
      return tuple(layers[place[layers[end].add] + 1 : end + 1])
  return ()
