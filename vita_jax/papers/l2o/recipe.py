"""How theta is trained: the settings of a config, checked and resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import optax

from vita_jax.base.choose import choose
from vita_jax.optim import KINDS
from vita_jax.papers.l2o import curriculum
from vita_jax.papers.l2o.tasks import Problem
from vita_jax.papers.l2o.teachers import teacher


class Recipe(NamedTuple):
  """How theta is trained; the fields are those of the config, checked and resolved.

  Attributes:
    problem, teachers: what is optimized, and name -> optax transformation.
    meta: the optimizer of theta.
    lengths: N of each stage. unroll_length: T. ratios: share of imitation epochs of each stage.
    validation_every, validation_rounds, fixed_validation: E, R / meta_batch, and whether R never changes.
    patience, inner_steps, epochs: when training ends.
    meta_loss: "sum" | "log_ratio". meta_batch, side_by_side: optimizations at once, and how.
    teacher_steps, save_every: see `segment`.
    learns_start: the optimizer's first state depends on theta.
    clips: the meta-optimizer clips every entry, and so takes non-finite ones for zero.
  """

  problem: Problem
  teachers: Mapping[str, optax.GradientTransformation]
  meta: optax.GradientTransformation
  lengths: tuple[int, ...]
  unroll_length: int
  ratios: tuple[float, ...]
  validation_every: int
  validation_rounds: int
  fixed_validation: bool
  patience: str
  inner_steps: int
  epochs: int
  meta_loss: str
  meta_batch: int
  side_by_side: bool
  teacher_steps: int
  save_every: int
  learns_start: bool
  clips: bool


def recipe_of(config: Any, problem: Problem) -> Recipe:
  """The training recipe of a config.

  Raises:
    ValueError: an option that cannot be; names it and what it can be.
  """
  lengths, ratios, unroll = tuple(config.stages), tuple(config.imitation.ratio), config.unroll_length
  if unroll < 1 or not lengths or any(n < unroll or n % unroll for n in lengths):
    raise ValueError(f"config.stages {lengths} have to be multiples of config.unroll_length {unroll}")
  if not ratios or not all(0.0 <= r <= 1.0 for r in ratios):
    raise ValueError(f"config.imitation.ratio {ratios} has to hold shares between 0 and 1")
  if min(config.meta_batch, config.validation.every, config.validation.runs, config.epochs) < 1:
    raise ValueError("config.meta_batch, validation.every, validation.runs and epochs have to be at least 1")
  if unroll % config.save_every:
    raise ValueError(f"config.save_every {config.save_every} has to divide config.unroll_length {unroll}")
  choose("config.patience", config.patience, curriculum.PATIENCE)
  choose("config.meta_loss", config.meta_loss, ("sum", "log_ratio"))
  choose("config.validation.draws", config.validation.draws, ("fresh", "fixed"))
  names = config.imitation.teachers if any(ratios) else ()
  return Recipe(
    problem=problem,
    teachers={name: teacher(name, config.imitation.learning_rate) for name in names},
    meta=meta_optimizer(config.meta),
    lengths=lengths,
    unroll_length=unroll,
    ratios=ratios,
    validation_every=config.validation.every,
    validation_rounds=-(-config.validation.runs // config.meta_batch),
    fixed_validation=config.validation.draws == "fixed",
    patience=config.patience,
    inner_steps=config.inner_steps,
    epochs=config.epochs,
    meta_loss=config.meta_loss,
    meta_batch=config.meta_batch,
    side_by_side=config.tasks == "vmap",
    teacher_steps=config.imitation.steps,
    save_every=config.save_every,
    learns_start=KINDS[config.optimizer.kind].learns_start,
    clips=config.meta.clip_value > 0,
  )


def meta_optimizer(meta: Any) -> optax.GradientTransformation:
  """Of theta: Adam, or RMSprop with decay 0.9 and epsilon 1e-20 (L2O-Scale), after clipping if asked."""
  choose("config.meta.optimizer", meta.optimizer, ("adam", "rmsprop"))
  clips = []
  if meta.clip_norm > 0:
    clips.append(optax.clip_by_global_norm(meta.clip_norm))
  if meta.clip_value > 0:
    clips.append(optax.clip(meta.clip_value))
  rule = optax.adam if meta.optimizer == "adam" else lambda rate: optax.rmsprop(rate, decay=0.9, eps=1e-20)
  return optax.chain(*clips, rule(meta.learning_rate))


def most_steps(recipe: Recipe) -> int:
  """An upper bound of the number of segments."""
  shortest, longest = min(recipe.lengths), max(recipe.lengths)
  epochs, unroll = recipe.epochs, recipe.unroll_length
  if recipe.inner_steps:
    epochs = min(epochs, -(-recipe.inner_steps // (shortest * recipe.meta_batch)))
    training = recipe.inner_steps // (unroll * recipe.meta_batch) + longest // unroll
  else:
    training = epochs * longest // unroll
  validations = 2 * (epochs // recipe.validation_every + 1)
  return training + validations * recipe.validation_rounds * longest // unroll
