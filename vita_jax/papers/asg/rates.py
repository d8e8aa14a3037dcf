"""Multipliers of layer groups by method, and the optimizer that has them in its state."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.base.choose import choose
from vita_jax.optim.groups import layer_decay, scale_by_group, torch_sgd, velocity_sgd
from vita_jax.optim.layerwise import Settings, layerwise_policy
from vita_jax.optim.schedules import warmup_poly
from vita_jax.papers.asg.model import Nets
from vita_jax.papers.asg.recipe import Rates, Recipe, Tune

Tree = Any


def fixed_multipliers(rates: Rates, names: tuple[str, ...]) -> np.ndarray:
  """Returns the multipliers of a method that decides nothing, float32 [groups]; the last group's is 1.

  Raises:
    ValueError: `rates.trained` names a group that there is not.
  """
  if rates.decay:
    return layer_decay(len(names), factor=rates.decay)
  found = np.full(len(names), rates.backbone, np.float32)
  if rates.trained:
    chosen = {names[0] if name == "first" else choose("layer group", name, names) for name in rates.trained}
    found = np.array([name in chosen for name in names], np.float32)
  found[-1] = 1.0
  return found


def multipliers_at(recipe: Recipe, nets: Nets, t: jax.Array) -> jax.Array | None:
  """Returns the multipliers at step t, float32 [groups]; None where the optimizer's state has them."""
  rates = recipe.rates
  if rates.kind == "fixed":
    return jnp.asarray(fixed_multipliers(rates, nets.names))
  if rates.kind == "probe_first":
    probing = t < round(rates.probe * recipe.tune.steps)
    return jnp.where(probing, jnp.array([0.0, 1.0]), jnp.ones(2))
  return None


def settings_of(recipe: Recipe, nets: Nets, *, epoch: int, steps: int, action: str) -> Settings:
  """Returns how the controller acts in a run of so many steps."""
  keys = recipe.controller
  return Settings(
    epoch=min(epoch, steps),
    steps=steps,
    head=nets.observed,
    smallest=keys.smallest,
    shrink=keys.shrink,
    rollout=keys.rollout,
    action=action,
    reward=keys.reward,
    kl_weight=recipe.proxy.weight,
    kl_cap=recipe.proxy.cap,
    legacy_window=keys.legacy_window,
    legacy_memoryless=keys.legacy_memoryless,
  )


def windowed_optimizer(
  recipe: Recipe, nets: Nets, settings: Settings, theta: Tree, key: jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
  """Makes SGD whose multipliers a policy decides, window by window; random where theta is all zeros."""
  scale = layerwise_policy(theta, nets.groups, settings, policy=nets.policy, key=key)
  return sgd(recipe.tune, scale, settings.steps)


def grouped_optimizer(recipe: Recipe, nets: Nets, steps: int) -> optax.GradientTransformationExtraArgs:
  """Makes SGD whose multipliers are set from outside."""
  return sgd(recipe.tune, scale_by_group(nets.groups), steps)


def sgd(tune: Tune, scale: optax.GradientTransformation, steps: int) -> optax.GradientTransformationExtraArgs:
  """Makes SGD in one of its two forms, weight decay in the gradient."""
  rate: Any = tune.rate
  if tune.schedule == "warmup_poly":
    rate = warmup_poly(tune.rate, steps, warmup=tune.warmup)
  make = velocity_sgd if tune.sgd == "velocity" else torch_sgd
  return make(rate, scale, momentum=tune.momentum, weight_decay=tune.decay)
