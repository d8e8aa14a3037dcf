"""Meets a budget: the smallest threshold or sparsity weight whose network costs no more than a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.compress.channels import channel_widths, check_round_to, counts_of, keep_channels, rounded_count
from vita_jax.compress.masks import leaves_by_path
from vita_jax.nn.channels import Graph


class Found(NamedTuple):
  """What a search found.

  Attributes:
    value: the smallest one tried whose cost is within the budget.
    cost: its cost.
    tried: (value, cost) of every call, in order.
  """

  value: float
  cost: float
  tried: tuple[tuple[float, float], ...]


def search_budget(
  cost: Callable[[float], float],
  target: float,
  *,
  low: float,
  high: float,
  steps: int = 20,
  logarithmic: bool = False,
  tolerance: float = 0.0,
) -> Found:
  """Finds by bisection the smallest value whose cost is within the budget; cost must fall as values grow.

  Args:
    cost: value -> cost, e.g. a threshold of |gamma| -> multiply-adds, or rho -> those after a short training.
    target: the most it may cost.
    low: from here.
    high: to here; it is tried first.
    steps: bisections at most.
    logarithmic: halve the range of logarithms, as for rho; `low` must be above 0.
    tolerance: stop at a cost from (1 - tolerance) * target to the target.

  Raises:
    ValueError: low not below high or one that is not finite, a tolerance outside [0, 1], a target or cost
      that is NaN, or even the cost at `high`, the floor, is above the target.

  Examples:
    >>> found = search_budget(lambda x: 10 - x, 6.5, low=0, high=8)
    >>> round(found.value, 3), round(found.cost, 3)
    (3.5, 6.5)
  """
  if not -math.inf < low < high < math.inf or (logarithmic and low <= 0):
    raise ValueError(f"the range is {low:g} to {high:g}: it must grow, and be above 0 if it is logarithmic")
  if not 0 <= tolerance <= 1:
    raise ValueError(f"tolerance is {tolerance}: it must be in [0, 1]")
  _check_number("the budget", target)
  tried = [(high, _check_number(f"the cost at {high:g}", cost(high)))]
  best = tried[0]
  if best[1] > target:
    raise ValueError(_floor(target, best[1]))
  for _ in range(steps):
    if best[1] >= (1 - tolerance) * target:
      break
    middle = math.sqrt(low * high) if logarithmic else (low + high) / 2
    tried.append((middle, _check_number(f"the cost at {middle:g}", cost(middle))))
    if tried[-1][1] <= target:
      best, high = tried[-1], middle
    else:
      low = middle
  return Found(best[0], best[1], tuple(tried))


def search_threshold(
  params: Any,
  graph: Graph,
  cost: Callable[[Mapping[str, int]], float],
  target: float,
  *,
  round_to: int = 1,
) -> tuple[float, dict[str, np.ndarray]]:
  """Finds the smallest threshold of |gamma|, one for all layers, that meets a budget.

  Exact: only the |gamma| that occur are thresholds, so it bisects their sorted list.

  Args:
    params: the network.
    graph: its channels.
    cost: group -> channels kept, to what the network of so many costs, e.g.
      `lambda counts: count_macs(model.resized(counts).layers, 256, 256)`. It must not fall as counts grow.
    target: the most it may cost.
    round_to: see `keep_channels`.

  Returns:
    (threshold, kept); `cut(params, graph, kept)` are the parameters.

  Raises:
    ValueError: a budget below the floor, which it names: the cost with every group at its minimum; a target
      or cost that is NaN; or see `keep_channels`.

  Examples:
    >>> from vita_jax.nn.channels import ChannelGroup, Slice
    >>> graph = (ChannelGroup("a", "scale", None, (Slice("scale", 0),)),)
    >>> params = {"scale": np.array([0.5, 0.25, 2.0, 1.0], np.float32)}
    >>> threshold, kept = search_threshold(params, graph, lambda counts: 10 * counts["a"], 25)
    >>> threshold, kept["a"].tolist()
    (0.5, [False, False, True, True])
  """

  def kept(threshold: float) -> dict[str, np.ndarray]:
    return keep_channels(params, graph, threshold=threshold, round_to=round_to)

  def costs(counts: Mapping[str, int]) -> float:
    return _check_number(f"the cost of {sum(counts.values())} channels", cost(counts))

  _check_number("the budget", target)
  if (floor := costs(floor_counts(params, graph, round_to=round_to))) > target:
    raise ValueError(_floor(target, floor))
  leaves = leaves_by_path(params)
  gammas = [np.abs(np.asarray(leaves[g.scale], np.float32)) for g in graph if g.scale is not None]
  values = np.unique(np.concatenate([np.zeros(1, np.float32), *gammas]))
  low, high = 0, len(values) - 1
  while low < high:
    middle = (low + high) // 2
    if costs(counts_of(kept(float(values[middle])))) <= target:
      high = middle
    else:
      low = middle + 1
  return float(values[low]), kept(float(values[low]))


def steer_rho(
  rho: jax.Array | float,
  cost: jax.Array | float,
  planned: jax.Array | float,
  *,
  gain: float = 0.1,
  low: float = 1e-6,
  high: float = 1e3,
) -> jax.Array:
  """Computes the sparsity weight of the next step, so that the cost follows a plan; can be traced.

      rho * exp(gain * (cost / planned - 1)), within [low, high]

  Keep rho in the state, and give it to the gates: `tx.update(grads, state, params, rho=rho)`.

  Args:
    rho: that of this step.
    cost: of the network now, e.g. `live_macs`.
    planned: of it at this step, e.g. a line from the dense network's cost to the budget, then constant.
    gain: how fast it is corrected: in a step by about so much of the relative excess.
    low: the least.
    high: the largest.

  Examples:
    >>> [round(float(steer_rho(0.01, cost, 1.0)), 5) for cost in (0.5, 1.0, 2.0)]
    [0.00951, 0.01, 0.01105]
  """
  return jnp.clip(rho * jnp.exp(gain * (cost / planned - 1.0)), low, high)


def floor_counts(params: Any, graph: Graph, *, round_to: int = 1) -> dict[str, int]:
  """Returns group -> the fewest channels that can be left; groups without gamma stay whole."""
  check_round_to(round_to)
  widths = channel_widths(params, graph)
  return {
    g.name: widths[g.name] if g.scale is None else rounded_count(g, widths[g.name], 0, round_to)
    for g in graph
  }


def _check_number(what: str, value: float) -> float:
  if math.isnan(value):
    raise ValueError(f"{what} is NaN: give a number to compare by")
  return value


def _floor(target: float, floor: float) -> str:
  return f"the budget of {target:.10g} is below the floor of {floor:.10g}: give at least that"
