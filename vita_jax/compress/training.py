"""Optax transformations that train the weights a mask keeps and hold all others at zero."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax.compress.masks import Masks, apply_masks, leaves_by_path, name_of


def masked(
  tx: optax.GradientTransformation, masks: Masks | None = None
) -> optax.GradientTransformationExtraArgs:
  """Wraps any optax optimizer so that masked weights are exactly zero after every update.

      tx = masked(optax.adamw(1e-3, weight_decay=0.1), masks)
      updates, state = tx.update(grads, state, params)

  Gradients, the parameters that `tx` sees, updates, and every part of the state that has a parameter's path
  and shape (moments, averages, iterates) are masked; the update of a masked weight is minus the weight. So it
  holds for weight decay, added noise, muon and momentum, and for masks that are taken in mid-training: the
  state is that of `tx` itself, and `masked(tx, masks)` continues with it. Put it around the whole chain.

  Inside `nnx.Optimizer(model, tx, wrt=nnx.Param)` the masks are those of `nnx.state(model, nnx.Param)`.

  A masked weight that is NaN or infinite cannot be updated to zero: call `apply_masks` on the weights first.
  State without the shape of a parameter, such as adafactor's row and column means, is left as it is.

  Args:
    tx: any transformation; further arguments of `update` are passed on to it.
    masks: path -> bool array, as of `magnitude_masks`; None: they are an argument of each `update`.

  Raises:
    ValueError: at `update`, if there are no masks or no params, or masks that do not fit.
  """
  inner = optax.with_extra_args_support(tx)

  def init(params: Any) -> Any:
    if masks is None:
      return inner.init(params)
    return _masked_state(inner.init(apply_masks(params, masks)), params, masks)

  def update(
    grads: Any, state: Any, params: Any = None, *, masks: Masks | None = masks, **extra: Any
  ) -> tuple[Any, Any]:
    if masks is None or params is None:
      what = "masks" if masks is None else "params"
      raise ValueError(f"masked(...).update needs {what}: tx.update(grads, state, params, masks=masks)")
    state = _masked_state(state, params, masks)
    updates, state = inner.update(apply_masks(grads, masks), state, apply_masks(params, masks), **extra)
    weights = leaves_by_path(params)
    away = {name: (mask, weights[name]) for name, mask in masks.items()}
    return _taken_away(updates, away), _masked_state(state, params, masks)

  return optax.GradientTransformationExtraArgs(init, update)


def mask_gradients() -> optax.GradientTransformationExtraArgs:
  """Returns a transformation that zeroes masked gradients: `update(grads, state, params, masks=masks)`.

  First in a chain, so that pruned weights do not count in a clipped norm and get no moments. Weights that
  are zero then stay zero in optimizers that do not move a weight whose value, gradient and state are all
  zero (SGD, Adam, AdamW, ...), if the mask was there from the optimizer's first step; it costs one
  multiplication. Muon, added noise, and masks taken in mid-training move them: use `masked` there.
  """

  def update(updates: Any, state: Any, params: Any = None, *, masks: Masks, **extra: Any) -> tuple[Any, Any]:
    del params, extra
    return apply_masks(updates, masks), state

  return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def _taken_away(updates: Any, away: dict[str, tuple[jax.Array, jax.Array]]) -> Any:
  """The updates, minus the weight where its mask is False: their sum is exactly zero."""

  def one(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
    name = name_of(path)
    if name not in away:
      return update
    mask, weight = away[name]
    return jnp.where(mask, update, -weight)  # of the wider type of the two, else the sum is rounded

  return jax.tree_util.tree_map_with_path(one, updates)


def _masked_state(state: Any, params: Any, masks: Masks) -> Any:
  """Zeros the masked entries of every array in an optimizer's state that belongs to a parameter.

  It belongs to the parameter whose path ends its own, the longest of these, if its last axes have the
  parameter's shape (the first may be a history, as of L-BFGS).
  """
  shapes = {name: jnp.shape(x) for name, x in leaves_by_path(params).items()}

  def one(path: tuple[Any, ...], leaf: Any) -> Any:
    parts = name_of(path).split("/") if path else [""]
    endings = ("/".join(parts[i:]) for i in range(len(parts) + 1))
    name = next((ending for ending in endings if ending in shapes), "")
    if name not in masks or not jnp.issubdtype(leaf.dtype, jnp.inexact):
      return leaf
    n = len(shapes[name])
    if not n or jnp.shape(leaf)[jnp.ndim(leaf) - n :] != shapes[name]:
      return leaf
    return jnp.where(masks[name], leaf, jnp.zeros((), leaf.dtype))

  return jax.tree_util.tree_map_with_path(one, state)
