"""Channels that are really removed: which stay, masked networks of full shape, and the smaller arrays.

A network is described by a graph, a tuple of `ChannelGroup`s (`vita_jax.nn.channels`; generators make theirs
by `channel_graph()`, and for any other linen net it is written by hand). `Kept` is group -> bool [channels],
True stays. `shrink` cuts what training left without scale; the baselines choose by `largest_channels` (of
`filter_norms`) or `random_channels`, then `cut`.
"""

from __future__ import annotations

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

  The smaller network computes what the full one does with those channels at zero, exactly, if the shift of a
  channel whose gamma is zero is zero as well (`vita_jax.compress.gates.zero_shifts`), except that maxima of
  quantised weights are then those of the weights that are left (as they are of `empty_channels`).

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
    ValueError: a graph that does not fit the parameters, `round_to` below 1, gammas that are not finite, or
      a group that is not bypassed and whose gammas are all zero: the network would give constants.
  """
  if round_to < 1:
    raise ValueError(f"round_to is {round_to}: it must be at least 1")
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
    kept[group.name] = _largest(gamma, rounded_count(group, width, int((gamma > threshold).sum()), round_to))
  return kept


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
  equals the cut network: the maxima of its kernels are those of the weights that are left.

  Args:
    params: any tree.
    graph: its channels.
    kept: group -> bool [channels].
  """
  _check_kept(params, graph, kept)
  masks: dict[str, list[jax.Array]] = {}
  shapes = {name: jnp.shape(x) for name, x in leaves_by_path(params).items()}
  for group in graph:
    for path, axis, repeats in group.slices:
      shape = [1] * len(shapes[path])
      shape[axis] = shapes[path][axis]
      masks.setdefault(path, []).append(jnp.tile(jnp.asarray(kept[group.name], bool), repeats).reshape(shape))

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
  """Keeps the `counts[group]` channels with the largest scores; of equal ones the first."""
  return {name: _largest(np.asarray(score), counts[name]) for name, score in scores.items()}


def random_channels(seed: int, widths: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, np.ndarray]:
  """Keeps `counts[group]` of `widths[group]` channels at random: the control of every choice."""
  rng = np.random.default_rng(seed)
  return {name: _largest(rng.permutation(width), counts[name]) for name, width in widths.items()}


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
  for group in graph:
    width = 0
    for path, axis, repeats in group.slices:
      if path not in leaves:
        raise ValueError(f"the graph's '{group.name}' has the array '{path}', which is not in the parameters")
      shape = jnp.shape(leaves[path])
      size = shape[axis] if -len(shape) <= axis < len(shape) else 0
      width = width or size // repeats
      if not size or size != width * repeats:
        raise ValueError(
          f"the graph's '{group.name}' has {width or 'no'} channels, and axis {axis} of '{path}' is {shape}"
        )
    if group.scale is not None and not any(path == group.scale for path, _, _ in group.slices):
      raise ValueError(f"the graph's '{group.name}' does not cut its own scale '{group.scale}'")
    found.append((group, width))
  return found


def _nested(leaves: Mapping[str, np.ndarray]) -> dict[str, Any]:
  tree: dict[str, Any] = {}
  for name, x in leaves.items():
    *folders, last = name.split("/")
    place = tree
    for folder in folders:
      place = place.setdefault(folder, {})
    place[last] = x
  return tree
