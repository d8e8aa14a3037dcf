"""Channels that are really removed: which stay, masked networks of full shape, and the smaller arrays.

A network is described by a graph, a tuple of `ChannelGroup`s (`vita_jax.nn.channels`; generators make theirs
by `channel_graph()`, and for any other linen net it is written by hand). `Kept` is group -> bool [channels],
True stays. `shrink` cuts what training left without scale; the baselines choose by `largest_channels` (of
`filter_norms`) or `random_channels`, then `cut`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.tree import path_name
from vita_jax.compress.masks import leaves_by_path
from vita_jax.nn.channels import ChannelGroup, Graph, Slice, graph_of

__all__ = [
  "ChannelGroup",
  "Graph",
  "Kept",
  "Slice",
  "channel_widths",
  "counts_of",
  "cut",
  "empty_channels",
  "filter_norms",
  "graph_of",
  "keep_channels",
  "largest_channels",
  "random_channels",
  "shrink",
]

Kept = Mapping[str, np.ndarray]  # group -> bool [channels], True stays


def shrink(
  params: Any,
  graph: Graph,
  *,
  threshold: float = 0.0,
  round_to: int = 1,
  drop_shifts: bool = False,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Cuts the channels whose |gamma| is at most the threshold out of every array, on the host.

  The smaller network computes what the full one does after `empty_channels`, up to rounding. As it was
  trained the full one does so, too, if the shift of a channel whose gamma is zero is zero as well
  (`vita_jax.compress.gates.zero_shifts`); but then maxima of quantised weights are those of all weights, and
  an empty branch ends in a constant, whose rounding error an instance norm makes up to 316 times as large.

  Args:
    params: a tree of dicts, as of linen.
    graph: its channels.
    threshold: 0: exactly those with gamma = 0 go.
    round_to: see `keep_channels`.
    drop_shifts: drop the constants that channels with gamma = 0 and a shift give, as the code of GAN Slimming
      does. Only where reflected padding and an instance norm follow does that change nothing.

  Returns:
    (params, kept). `model.resized(counts_of(kept))` is the module of the smaller params.

  Raises:
    ValueError: a channel with gamma = 0 and a shift, unless `drop_shifts`; or see `keep_channels` and `cut`.

  Examples:
    >>> group = ChannelGroup("a", "n/scale", None, (Slice("n/scale", 0), Slice("w/kernel", 0)))
    >>> params = {"n": {"scale": np.array([0.0, 2.0, 1.0])}, "w": {"kernel": np.arange(6.0).reshape(3, 2)}}
    >>> small, kept = shrink(params, (group,))
    >>> small["w"]["kernel"].tolist(), kept["a"].tolist()
    ([[2.0, 3.0], [4.0, 5.0]], [False, True, True])
  """
  kept = keep_channels(params, graph, threshold=threshold, round_to=round_to)
  if not drop_shifts:
    _check_shifts(params, graph)
  return cut(params, graph, kept), kept


def keep_channels(
  params: Any, graph: Graph, *, threshold: float = 0.0, round_to: int = 1
) -> dict[str, np.ndarray]:
  """Chooses the channels with |gamma| above the threshold; groups without gamma stay whole.

  Where these are fewer than the group's minimum, or no multiple of `round_to`, the pruned ones with the
  largest |gamma| stay as well. A group that a residual connection bypasses may be empty.

  Raises:
    ValueError: a graph that does not fit the parameters, `round_to` that is not a whole number from 1 on, a
      threshold that is NaN, gammas that are not finite, or a group that is not bypassed and whose gammas are
      all zero: the network would give constants.
  """
  check_round_to(round_to)
  if math.isnan(threshold):
    raise ValueError("the threshold is NaN: give a number, 0 to cut what is exactly 0")
  kept = {}
  for group, width in _widths(params, graph):
    if group.scale is None:
      kept[group.name] = np.ones(width, bool)
      continue
    gamma = np.abs(np.asarray(leaves_by_path(params)[group.scale], np.float32))
    if not np.isfinite(gamma).all():
      raise ValueError(f"the scales of '{group.name}' are not all finite: nothing can be pruned by them")
    if not gamma.any() and not group.bypassed:
      raise ValueError(
        f"all {width} channels of '{group.name}' are pruned and nothing bypasses them: "
        "train with a smaller rho"
      )
    count = rounded_count(group, width, int((gamma > threshold).sum()), round_to)
    kept[group.name] = _largest(gamma, count)
  return kept


def check_round_to(round_to: int) -> None:
  """Raises ValueError if the channels that stay cannot be a multiple of it."""
  if not isinstance(round_to, int | np.integer) or round_to < 1:
    raise ValueError(f"round_to is {round_to}: it must be a whole number, at least 1")


def rounded_count(group: ChannelGroup, width: int, count: int, round_to: int) -> int:
  """Raises a count to the group's minimum and the next multiple of `round_to`, at most the width."""
  count = max(count, group.minimum)
  return min(width, -(-count // round_to) * round_to)


def cut(params: Any, graph: Graph, kept: Kept) -> dict[str, Any]:
  """Cuts all but the kept channels out of every array, on the host; returns a tree of dicts of numpy arrays.

  The branch of a group that keeps none is left out altogether.

  Raises:
    ValueError: a graph that does not fit the parameters, `kept` of other groups or widths, or a group with
      fewer channels than its minimum.
  """
  leaves = {name: np.asarray(x) for name, x in leaves_by_path(params).items()}
  _check_kept(params, graph, kept)
  for group in graph:
    index = np.flatnonzero(kept[group.name])
    if len(index) < group.minimum:
      raise ValueError(
        f"'{group.name}' would keep {len(index)} channels: it needs {group.minimum} or more to work"
      )
    width = len(kept[group.name])
    for path, axis, repeats in group.slices:
      places = (np.arange(repeats)[:, None] * width + index).ravel()
      leaves[path] = np.take(leaves[path], places, axis)
  gone = tuple(f"{b}/" for group in graph if not kept[group.name].any() for b in group.branch)
  return _nested({name: x for name, x in leaves.items() if not (gone and name.startswith(gone))})


def empty_channels(params: Any, graph: Graph, kept: Mapping[str, Any]) -> Any:
  """Zeroes every slice of the channels that are not kept: the network of full shape that equals the cut one.

  It can be traced, so that many choices are judged by one compiled program. With quantised weights, too, it
  equals the cut network: the maxima of its kernels are those of the weights that are left. All arrays of the
  branch of a group that keeps none are zero, so that it adds exactly 0, as if it was not there.

  Args:
    params: any tree.
    graph: its channels.
    kept: group -> bool [channels].

  Raises:
    ValueError: a graph that does not fit the parameters, or `kept` of other groups or widths.
  """
  _check_kept(params, graph, kept)
  masks: dict[str, list[jax.Array]] = {}
  shapes = {name: jnp.shape(x) for name, x in leaves_by_path(params).items()}
  for group in graph:
    stays = jnp.asarray(kept[group.name], bool)
    for path, axis, repeats in group.slices:
      shape = [1] * len(shapes[path])
      shape[axis] = shapes[path][axis]
      masks.setdefault(path, []).append(jnp.tile(stays, repeats).reshape(shape))
    for path in shapes:
      if path.startswith(tuple(f"{layer}/" for layer in group.branch)):
        masks.setdefault(path, []).append(jnp.any(stays))

  def one(path: tuple[Any, ...], x: Any) -> Any:
    for mask in masks.get(path_name(path), ()):
      x = jnp.where(mask, x, jnp.zeros((), jnp.result_type(x)))
    return x

  return jax.tree_util.tree_map_with_path(one, params)


def channel_widths(params: Any, graph: Graph) -> dict[str, int]:
  """Returns group -> number of channels.

  Raises:
    ValueError: a graph that does not fit the parameters.
  """
  return {group.name: width for group, width in _widths(params, graph)}


def counts_of(kept: Mapping[str, Any]) -> dict[str, int]:
  """Returns group -> number of channels kept."""
  return {name: int(np.count_nonzero(np.asarray(mask))) for name, mask in kept.items()}


def filter_norms(params: Any, graph: Graph) -> dict[str, np.ndarray]:
  """Computes group -> [channels]: the L1 norm of the filters that make each channel.

  These are its slices of kernels on their last axis (Li et al., ICLR 2017, arXiv 1608.08710), the mean |w| of
  each kernel, so that layers of unlike size can be ranked together, summed over the kernels of the group.
  """
  leaves, found = leaves_by_path(params), {}
  for group, width in _widths(params, graph):
    total = np.zeros(width)
    for path, axis, _ in group.slices:
      if np.ndim(leaves[path]) > 1 and axis == np.ndim(leaves[path]) - 1:
        w = np.abs(np.asarray(leaves[path], np.float64))
        total += w.mean(axis=tuple(range(w.ndim - 1)))
    found[group.name] = total
  return found


def largest_channels(scores: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> dict[str, np.ndarray]:
  """Keeps the `counts[group]` channels with the largest scores; of equal ones the first.

  Raises:
    ValueError: scores that are NaN, or counts that are missing or more than there are.
  """
  for name, score in scores.items():
    if np.isnan(score).any():
      raise ValueError(f"scores of '{name}' are NaN: its channels cannot be ranked")
  return {
    name: _largest(np.asarray(score), _count(counts, name, len(score))) for name, score in scores.items()
  }


def random_channels(seed: int, widths: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, np.ndarray]:
  """Keeps `counts[group]` of `widths[group]` channels at random: the control of every choice.

  Raises:
    ValueError: counts that are missing, or more than there are.
  """
  rng = np.random.default_rng(seed)
  return {name: _largest(rng.permutation(n), _count(counts, name, n)) for name, n in widths.items()}


def _count(counts: Mapping[str, int], name: str, width: int) -> int:
  if name not in counts:
    raise ValueError(f"the counts do not say how many channels of '{name}' stay")
  if counts[name] not in range(width + 1):
    raise ValueError(f"{counts[name]} channels of '{name}' should stay: it has {width}")
  return int(counts[name])


def _largest(score: np.ndarray, count: int) -> np.ndarray:
  kept = np.zeros(len(score), bool)
  kept[np.argsort(-score, kind="stable")[:count]] = True
  return kept


def _check_shifts(params: Any, graph: Graph) -> None:
  leaves = leaves_by_path(params)
  for group in graph:
    if group.scale is not None and group.shift is not None:
      scale, shift = np.asarray(leaves[group.scale]), np.asarray(leaves[group.shift])
      if ((scale == 0) & (shift != 0)).any():
        raise ValueError(
          f"channels of '{group.name}' have gamma 0 and a shift, so that they are constants: "
          "call zero_shifts(params, graph) after each step, or give drop_shifts=True"
        )


def _check_kept(params: Any, graph: Graph, kept: Mapping[str, Any]) -> None:
  widths = channel_widths(params, graph)
  if other := sorted(set(kept) ^ set(widths)):
    raise ValueError(f"the channels kept are not those of the graph: they differ in '{other[0]}'")
  for name, width in widths.items():
    if jnp.shape(kept[name]) != (width,):
      raise ValueError(f"'{name}' has {width} channels, and what is kept of it is {jnp.shape(kept[name])}")


def _widths(params: Any, graph: Graph) -> list[tuple[ChannelGroup, int]]:
  """Each group with its number of channels, after a look at every slice."""
  leaves, found = leaves_by_path(params), []
  names, cuts = [group.name for group in graph], set()
  for group in graph:
    if names.count(group.name) > 1:
      raise ValueError(f"the graph has two groups of the name '{group.name}'")
    width = 0
    for path, axis, repeats in group.slices:
      shape = jnp.shape(group_leaf(leaves, group, path))
      size = shape[axis] if -len(shape) <= axis < len(shape) else 0
      width = width or size // max(repeats, 1)
      if not size or size != width * repeats:
        raise ValueError(
          f"the graph's '{group.name}' has {width or 'no'} channels, and axis {axis} of '{path}' is {shape}"
        )
      if (path, axis % len(shape)) in cuts:
        raise ValueError(f"the graph's '{group.name}' cuts axis {axis} of '{path}', which is cut already")
      cuts.add((path, axis % len(shape)))
    for what, vector in (("scale", group.scale), ("shift", group.shift)):
      if vector is not None and not any(path == vector for path, _, _ in group.slices):
        raise ValueError(f"the graph's '{group.name}' does not cut its own {what} '{vector}'")
    for layer in group.branch:
      if not any(path.startswith(f"{layer}/") for path in leaves):
        raise ValueError(
          f"the graph's '{group.name}' has the branch '{layer}', which is not in the parameters"
        )
    found.append((group, width))
  return found


def group_leaf(leaves: Mapping[str, Any], group: ChannelGroup, path: str) -> Any:
  """Returns the array of a group; raises ValueError if the parameters, by path, do not have it."""
  if path not in leaves:
    raise ValueError(f"the graph's '{group.name}' has the array '{path}', which is not in the parameters")
  return leaves[path]


def _nested(leaves: Mapping[str, np.ndarray]) -> dict[str, Any]:
  tree: dict[str, Any] = {}
  for name, x in leaves.items():
    *folders, last = name.split("/")
    place = tree
    for folder in folders:
      place = place.setdefault(folder, {})
    place[last] = x
  return tree
