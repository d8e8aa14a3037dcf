"""L2O: Training Stronger Baselines for Learning to Optimize (NeurIPS 2020, arXiv 2010.09089).

Claim: with a curriculum (progressively longer optimizations) and imitation of analytical optimizers, the
oldest and simplest learned optimizer, a coordinate-wise LSTM of 5,141 weights, beats later, larger ones.
The optimizers are in `vita_jax.optim`; here is how they are trained.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from vita_jax._lazy import submodules
from vita_jax.base.choose import choose
from vita_jax.data.images import load_images
from vita_jax.data.resident import Resident
from vita_jax.optim import KINDS
from vita_jax.papers.l2o import resume, steps, tasks
from vita_jax.papers.l2o.export import exported
from vita_jax.papers.l2o.final import late_log_loss, optimize
from vita_jax.papers.l2o.optimizees import optimizee
from vita_jax.papers.l2o.recipe import most_steps, recipe_of
from vita_jax.train.experiment import Eval, Experiment, Report, Stage

__all__ = ["build"]

__getattr__, __dir__ = submodules(__name__)


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

  def report(state, evaluate, sweep):
    numbers = {f"final_{name}": value for name, value in evaluate("final", state).items()}
    if numbers["final_diverged"] == 1.0:
      found = "the best of training" if jnp.isfinite(state["curriculum"].best) else "those it started with"
      warnings.warn(
        f"all {config.final.runs} final optimizations diverged: the weights kept are {found}; train longer,"
        " or lower config.meta.learning_rate",
        stacklevel=2,
      )
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
        most_steps(recipe),
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
