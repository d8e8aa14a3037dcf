"""Channel gates: scales that training drives to exactly zero, by proximal gradient steps (ISTA).

    graph = generator.channel_graph()
    tx = optax.multi_transform(
      {"gate": ista(schedule, rho=0.01, momentum=0.5), "weight": optax.adam(1e-5, b1=0.5)},
      gate_labels(params, graph),
    )
    updates, state = tx.update(grads, state, params)
    params = zero_shifts(optax.apply_updates(params, updates), graph)

The penalty rho * sum |gamma| must not stand in the loss as well: its subgradient never gives an exact zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.base.tree import path_name
from vita_jax.compress.channels import group_leaf
from vita_jax.compress.masks import leaves_by_path
from vita_jax.nn.channels import Graph

Schedule = float | Callable[[jax.Array], Any]  # a number, or step -> number


def soft_threshold(x: jax.Array, threshold: jax.Array | float) -> jax.Array:
  """Computes sign(x) * max(|x| - threshold, 0), the proximal map of threshold * |x|.

  Examples:
    >>> [round(float(v), 6) for v in soft_threshold(jnp.array([-0.3, -0.05, 0.0, 0.05, 0.3]), 0.1)]
    [-0.2, 0.0, 0.0, 0.0, 0.2]
  """
  left = jnp.abs(x) - threshold
  # Not where(left > 0, ...): a NaN must stay one, and not become a pruned channel.
  return jnp.where(left <= 0, jnp.zeros((), jnp.result_type(x, threshold)), jnp.sign(x) * left)


class ProximalState(NamedTuple):
  """How many updates there were, int32."""

  step: jax.Array


def proximal_l1(rho: Schedule, learning_rate: Schedule) -> optax.GradientTransformationExtraArgs:
  """Makes the parameters that an update leads to soft-thresholded: last in a chain.

  The update u becomes soft_threshold(p + u, rho * learning_rate) - p, of the rate of this very step. Entries
  within the threshold get the update -p, so that `optax.apply_updates` gives exactly 0, in bfloat16 as well.
  What is zero may come back: no mask is kept.

  Args:
    rho: weight of sum |p|; a number or a schedule. `update(..., rho=value)` overrides it.
    learning_rate: that of the gradient step before; a number or a schedule.

  Raises:
    ValueError: at `update`, without params.
  """

  def init(params: Any) -> ProximalState:
    del params
    return ProximalState(jnp.zeros((), jnp.int32))

  def update(
    updates: Any, state: ProximalState, params: Any = None, *, rho: Any = rho, **extra: Any
  ) -> tuple[Any, ProximalState]:
    del extra
    if params is None:
      raise ValueError("proximal_l1 needs the parameters: tx.update(grads, state, params)")
    threshold = _at(rho, state.step) * _at(learning_rate, state.step)

    def one(u: jax.Array, p: jax.Array) -> jax.Array:
      new = soft_threshold(p.astype(jnp.float32) + u.astype(jnp.float32), threshold)
      return jnp.where(new == 0, -p, (new - p.astype(jnp.float32)).astype(p.dtype))

    return jax.tree.map(one, updates, params), ProximalState(optax.safe_increment(state.step))

  return optax.GradientTransformationExtraArgs(init, update)


def ista(
  learning_rate: Schedule, rho: Schedule, momentum: float = 0.5
) -> optax.GradientTransformationExtraArgs:
  """Makes the optimizer of channel gates: SGD with torch's momentum, then the proximal map.

      v <- momentum * v + gradient
      gamma <- soft_threshold(gamma - rate * v, rho * rate)

  The momentum of zeroed gates is kept. This is the optimizer of the code of Wang et al. (ECCV 2020, arXiv
  2008.11062). Momentum makes the steps of the gradient 1 / (1 - momentum) times as long and not the
  threshold: what it converges to has the penalty rho * (1 - momentum) * sum |gamma|.

  Args:
    learning_rate: a number or a schedule; its current value is that of both lines.
    rho: see `proximal_l1`.
    momentum: in [0, 1).

  Examples:
    >>> tx, gamma = ista(0.1, rho=2.0), jnp.array([0.5])
    >>> updates, _ = tx.update(jnp.array([1.0]), tx.init(gamma), gamma)
    >>> [round(float(v), 6) for v in optax.apply_updates(gamma, updates)]
    [0.2]
  """
  return optax.chain(
    optax.trace(momentum), optax.scale_by_learning_rate(learning_rate), proximal_l1(rho, learning_rate)
  )


def gate_labels(params: Any, graph: Graph, *, gate: str = "gate", weight: str = "weight") -> Any:
  """Labels the gammas of the graph and all other leaves, for `optax.multi_transform`.

  Raises:
    ValueError: a gamma that the parameters do not have.
  """
  gammas = {group.scale for group in graph if group.scale is not None}
  if missing := sorted(gammas - set(leaves_by_path(params))):
    raise ValueError(f"the graph's scale '{missing[0]}' is not in the parameters")
  return jax.tree_util.tree_map_with_path(lambda p, _: gate if path_name(p) in gammas else weight, params)


def zero_shifts(params: Any, graph: Graph) -> Any:
  """Zeroes the shift of every channel whose gamma is exactly 0, so that the channel is 0 everywhere.

  After both optimizer steps: then removing the channel changes nothing, at the borders and in transposed
  convolutions, too.

  Raises:
    ValueError: a gamma or shift that the parameters do not have.

  Examples:
    >>> from vita_jax.nn.channels import ChannelGroup
    >>> params = {"n": {"scale": jnp.array([0.0, 2.0]), "shift": jnp.array([5.0, 5.0])}}
    >>> zero_shifts(params, (ChannelGroup("n", "n/scale", "n/shift", ()),))["n"]["shift"].tolist()
    [0.0, 5.0]
  """
  leaves = leaves_by_path(params)
  gamma = {}
  for group in graph:
    if group.scale is not None and group.shift is not None:
      group_leaf(leaves, group, group.shift)
      gamma[group.shift] = group_leaf(leaves, group, group.scale)

  def one(path: tuple[Any, ...], x: Any) -> Any:
    name = path_name(path)
    return jnp.where(gamma[name] == 0, jnp.zeros((), x.dtype), x) if name in gamma else x

  return jax.tree_util.tree_map_with_path(one, params)


def spare_last(params: Any, before: Any, graph: Graph) -> Any:
  """Puts the largest gamma back where an update zeroed all of a group that must not be empty.

  A network whose stem has no channels gives constants, and never learns again. Of equal gammas the first
  comes back: they start equal, and with all of them put back nothing would ever be pruned. Groups that a
  residual connection bypasses may become empty. Call it before `zero_shifts`.

  Args:
    params: after the update.
    before: the same before it.
    graph: its channels.

  Raises:
    ValueError: a gamma that the parameters do not have.

  Examples:
    >>> from vita_jax.nn.channels import ChannelGroup
    >>> after, before = {"scale": jnp.zeros(3)}, {"scale": jnp.array([0.0, 0.5, -0.25])}
    >>> spare_last(after, before, (ChannelGroup("n", "scale", None, ()),))["scale"].tolist()
    [0.0, 0.5, 0.0]
  """
  leaves = leaves_by_path(before)
  last = {g.scale: group_leaf(leaves, g, g.scale) for g in graph if g.scale is not None and g.minimum > 0}

  def one(path: tuple[Any, ...], x: Any) -> Any:
    if (old := last.get(path_name(path))) is None:
      return x
    largest = jnp.arange(old.size) == jnp.argmax(jnp.abs(old))
    return jnp.where(jnp.any(x != 0) | ~largest, x, old)

  return jax.tree_util.tree_map_with_path(one, params)


def pruned_share(params: Any, graph: Graph) -> jax.Array:
  """Computes the share of gammas that are exactly 0, float32; can be traced.

  Raises:
    ValueError: no group of the graph has a gamma, or the parameters do not have it.
  """
  leaves = leaves_by_path(params)
  gammas = [group_leaf(leaves, group, group.scale) for group in graph if group.scale is not None]
  if not gammas:
    raise ValueError("no group of the graph has a scale: nothing can be pruned by it")
  zeros = sum(jnp.sum(gamma == 0, dtype=jnp.int32) for gamma in gammas)
  return jnp.asarray(zeros, jnp.float32) / sum(gamma.size for gamma in gammas)


def _at(value: Any, count: jax.Array) -> Any:
  return value(count) if callable(value) else value
