"""L2O: Training Stronger Baselines for Learning to Optimize (NeurIPS 2020, arXiv 2010.09089).

Claim: with a curriculum (progressively longer optimizations) and imitation of analytical optimizers, the
oldest and simplest learned optimizer, a coordinate-wise LSTM of 5,141 weights, beats later, larger ones.
The optimizers are in `vita_jax.optim`; here is how they are trained.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

from vita_jax.data.images import load_images
from vita_jax.data.resident import Resident
from vita_jax.optim import KINDS
from vita_jax.papers.l2o import curriculum, resume, steps, tasks
from vita_jax.papers.l2o.export import exported
from vita_jax.papers.l2o.final import late_log_loss, optimize
from vita_jax.papers.l2o.optimizees import optimizee
from vita_jax.papers.l2o.steps import Recipe
from vita_jax.papers.l2o.teachers import teacher
from vita_jax.train.config import choose
from vita_jax.train.experiment import Eval, Experiment, Report, Stage


def build(config: Any) -> Experiment:
  """The experiment of a config: meta-trains a learned optimizer.

  Args:
    config: from `configs/l2o/*.py`; every field is explained in `papers/l2o/config.py`.

  Raises:
    ValueError, FileNotFoundError: an option that cannot be, or missing data.
  """
  kind = choose("config.optimizer.kind", config.optimizer.kind, tuple(KINDS))
  problem_of = optimizee(config.optimizee.name, logit_relu=config.optimizee.logit_relu)
  options = {name: value for name, value in config.optimizer.items() if name != "kind"}
  single = functools.partial(
    tasks.problem, problem_of, batch_size=config.optimizee.batch_size, kind=kind, **options
  )
  problem = single()
  images = load_images(problem_of.data) if problem_of.data else None
  choose("config.tasks", config.tasks, ("map", "vmap"))
  together = config.meta_batch if config.tasks == "vmap" else 0
  recipe = recipe_of(config, single(side_by_side=together))

  def init(key):
    theta = KINDS[kind].init_theta(jax.random.fold_in(key, tasks.INIT))
    state = steps.start(recipe, theta, key)
    return resume.resumed(state, config.resume_from) if config.resume_from else state

  def final(state, batch):
    loss = problem.loss(batch)

    def one(key):
      init_key, run_key = jax.random.split(key)
      tx = problem.build(state["kept"], init_key)
      _, losses = optimize(tx, loss, problem.init(init_key), run_key, steps=config.final.steps)
      return losses[0], late_log_loss(losses), losses[-1]

    keys = jax.random.split(tasks.stream(state["key"], tasks.FINAL), config.final.runs)
    first, late, last = jax.lax.map(one, keys)
    runs = jnp.asarray(config.final.runs, jnp.float32)
    diverged = ~(jnp.isfinite(late) & (last <= first))
    return {"ln_loss": (jnp.sum(late), runs), "diverged": (jnp.sum(diverged, dtype=jnp.float32), runs)}

  def report(state, evaluate):
    numbers = {f"final_{name}": value for name, value in evaluate("final", state).items()}
    for name in ("inner_steps", "epoch", "skipped", "validations"):
      numbers[name] = int(state[name])
    return Report(
      {**numbers, "stage": int(state["curriculum"].stage), "best": float(state["curriculum"].best)}
    )

  test = Resident(images.test if images else {}, None)
  return Experiment(
    init=init,
    stages=(
      Stage(
        "meta_train",
        _most_steps(recipe),
        steps.make_step(recipe),
        Resident(images.train if images else {}, None),
        done=lambda state, t: state["over"],
      ),
    ),
    params=lambda state: state["kept"],
    evals={"final": Eval(test, final, every=0)},
    shard=_sharded(kind) if recipe.side_by_side else ((".*", P()),),
    report=report,
    export=lambda state: exported(kind, options, state["kept"], config),
  )


def recipe_of(config: Any, problem: tasks.Problem) -> Recipe:
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


def _sharded(kind: str) -> tuple[tuple[str, P], ...]:
  """Optimizations side by side lie along the mesh axis `data`; theta is everywhere."""
  if not KINDS[kind].coordinatewise:
    return (("task/.*", P("data")), (".*", P()))
  return (
    ("task/tx/[hc][12]", P(None, "data")),  # features lead
    ("task/.*count", P()),
    ("task/.*", P("data")),
    (".*", P()),
  )


def _most_steps(recipe: Recipe) -> int:
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
