"""What `jax.vmap` makes of the renderer: on the CPU, one view after another.

XLA compiles batched gathers, scatters and loops of unlike length to slower code for the CPU: 16 views at once cost up to
29 times one view. GPUs and TPUs need the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def view_by_view(one: Callable[..., Any], *, batched: Callable[..., Any] | None = None) -> Callable[..., Any]:
  """Returns `one` with a rule for `jax.vmap`: on the CPU a loop over the views, each exactly as it is alone.

  On GPUs and TPUs it is `batched`, and with several devices (CPU devices as well) views are batched, so that
  they can be sharded. Not differentiable by itself: for functions without gradient, and for the forward and
  backward functions of a `jax.custom_vjp`.

  Args:
    one: a pure function of trees of arrays, without closure over traced values.
    batched: the same function, in the form for accelerators and batches. Default: `one`.
  """
  other = one if batched is None else batched

  @jax.custom_batching.custom_vmap
  def run(*args: Any) -> Any:
    return one(*args) if batched is None else jax.lax.platform_dependent(*args, cpu=one, default=other)

  @run.def_vmap
  def rule(axis_size: int, in_batched: Any, *args: Any) -> tuple[Any, Any]:
    flags = jax.tree.leaves(in_batched)

    def loop(*args: Any) -> Any:
      leaves, tree = jax.tree.flatten(args)

      def step(moving: list[jax.Array]) -> Any:
        own = iter(moving)
        return run(*tree.unflatten([next(own) if flag else x for x, flag in zip(leaves, flags, strict=True)]))

      return jax.lax.map(step, [x for x, flag in zip(leaves, flags, strict=True) if flag])

    def together(*args: Any) -> Any:
      axes = jax.tree.map(lambda flag: 0 if flag else None, in_batched)
      return jax.vmap(other, axes, axis_size=axis_size)(*args)

    # A loop over a sharded axis would compute every view on every device.
    alone = jax.device_count() == 1
    out = jax.lax.platform_dependent(*args, cpu=loop if alone else together, default=together)
    return out, jax.tree.map(lambda _: True, out)

  return run
