"""What `jax.vmap` makes of the renderer: on the CPU, one view after another.

XLA compiles batched gathers, scatters and loops of unlike length to slower code for the CPU: a batch of 16
views cost up to 29 times one view. GPUs and TPUs need the batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero


def view_by_view(one: Callable[..., Any]) -> Callable[..., Any]:
  """Returns `one` with a rule for `jax.vmap`: on the CPU a loop over the views, each as it is alone.

  On GPUs and TPUs views are batched as usual, and with several devices (CPU devices as well), so that they
  can be sharded. Not differentiable: see `each_view`.

  The renderer's own functions are such already. A whole step of one view, gradient included, saves more:
  nothing of a view is written out between its parts.

      gradient = jax.vmap(view_by_view(jax.value_and_grad(loss)), (None, 0))

  Args:
    one: a pure function of trees of arrays, without closure over traced values.

  Examples:
    >>> double = jax.vmap(view_by_view(lambda x: 2 * x))
    >>> double(jnp.arange(3.0)).tolist()
    [0.0, 2.0, 4.0]
  """
  run = custom_vmap(one)

  @run.def_vmap
  def rule(axis_size: int, in_batched: Any, *args: Any) -> tuple[Any, Any]:
    flags = jax.tree.leaves(in_batched)

    def loop(*args: Any) -> Any:
      leaves, tree = jax.tree.flatten(args)
      moving, still = _split(leaves, flags)
      return jax.lax.map(lambda own: run(*jax.tree.unflatten(tree, _merged(own, still, flags))), moving)

    def together(*args: Any) -> Any:
      axes = jax.tree.map(lambda flag: 0 if flag else None, in_batched)
      return jax.vmap(one, axes, axis_size=axis_size)(*args)

    # A loop over a sharded axis would compute every view on every device.
    cpu = loop if jax.device_count() == 1 else together
    out = jax.lax.platform_dependent(*args, cpu=cpu, default=together)
    return out, jax.tree.map(lambda _: True, out)

  return run


def each_view(one: Callable[..., Any]) -> Callable[..., Any]:
  """Returns `one` as `view_by_view` does, differentiable once, in reverse mode.

  The gradient starts from the arguments again, and is computed for those that it is asked for; what `one`
  computes on the way is not kept.

  Args:
    one: see `view_by_view`; its results are floats, its arguments may also be integers.
  """

  @jax.custom_vjp
  def run(*args: Any) -> Any:
    return view_by_view(one)(*args)

  def forward(*args: Any) -> Any:
    # What is asked of the gradient: the rest of it would be computed in the loop and thrown away.
    asked = _Flags(
      tuple(x.perturbed and _is_float(x.value) for x in jax.tree.leaves(args, is_leaf=_is_primal))
    )
    values = jax.tree.map(lambda x: x.value, args, is_leaf=_is_primal)
    return run(*values), (values, asked)

  def pull(flags: Sequence[bool], args: Any, cotangent: Any) -> list[jax.Array]:
    leaves, tree = jax.tree.flatten(args)
    moving, rest = _split(leaves, flags)
    _, back = jax.vjp(lambda moving: one(*jax.tree.unflatten(tree, _merged(moving, rest, flags))), moving)
    return back(cotangent)[0]

  def backward(kept: Any, cotangent: Any) -> Any:
    args, (flags,) = kept
    leaves, tree = jax.tree.flatten(args)
    slopes = view_by_view(functools.partial(pull, flags))(
      args, jax.tree.map(_filled, cotangent, is_leaf=_is_zero)
    )
    return jax.tree.unflatten(tree, _merged(slopes, [None] * (len(leaves) - len(slopes)), flags))

  run.defvjp(forward, backward, symbolic_zeros=True)
  return run


@jax.tree_util.register_static
class _Flags(NamedTuple):
  """Which leaves of the arguments a gradient is asked for: static, so that it can stay among what is kept."""

  flags: tuple[bool, ...]


def _is_primal(x: Any) -> bool:
  return isinstance(x, CustomVJPPrimal)


def _is_zero(x: Any) -> bool:
  return isinstance(x, SymbolicZero)


def _filled(x: Any) -> Any:
  return jnp.zeros(x.shape, x.dtype) if _is_zero(x) else x


def _is_float(x: Any) -> bool:
  return jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _split(leaves: Sequence[Any], flags: Sequence[bool]) -> tuple[list[Any], list[Any]]:
  pairs = list(zip(leaves, flags, strict=True))
  return [x for x, flag in pairs if flag], [x for x, flag in pairs if not flag]


def _merged(first: Sequence[Any], second: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
  """Inverts `_split`."""
  one, other = iter(first), iter(second)
  return [next(one) if flag else next(other) for flag in flags]
