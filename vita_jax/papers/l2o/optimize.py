"""One optimization of a problem with an optimizer that exists, learned or classical, as an `Experiment`.

A seed gives every optimizer the same x_0 and minibatches, so that differences are paired; rates are tuned on
streams of random numbers of their own. `vita_jax.optim.comparison` makes tables of such runs.
"""

from __future__ import annotations

import functools
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.data.images import load_images
from vita_jax.data.resident import Resident
from vita_jax.metrics import mean
from vita_jax.optim.by_name import (
  CLASSICAL,
  Optimizer,
  classical,
  read_optimizer,
  schedule_of,
  scheduled,
  shown,
)
from vita_jax.optim.comparison import numbers
from vita_jax.optim.optimizees import FLOOR, Optimizee, as_float, optimizee
from vita_jax.papers.l2o import tasks
from vita_jax.papers.l2o.progress import counted
from vita_jax.train.experiment import Eval, Evaluate, Experiment, Report, Stage, State, Sweep

SCORED, SCORED_AT_ONCE = 10_000, 500  # images that accuracy is measured on
STREAMS = {"report": 100, "tuning": 101}  # of random numbers; those of meta-training are in `tasks`
X_0, STATE, BATCH = range(3)  # streams within an optimization


class Run(NamedTuple):
  """An optimization, resolved: the optimizer, the problem, also in the form for it, and its lengths."""

  optimizer: Optimizer
  optimizee: Optimizee
  problem: tasks.Problem
  steps: int
  timed_steps: int
  schedule: str
  stream: int

  def build(self, weights: Any, key: jax.Array) -> optax.GradientTransformation:
    """Builds the optimizer; `key` of the optimization draws its first state where a kind needs that."""
    theta, rate = weights
    schedule, builder = schedule_of(self.schedule, self.steps), classical(self.optimizer.kind)
    if builder:
      return builder(theta if self.schedule == "constant" else lambda count: theta * schedule(count))
    tx = self.problem.build(theta, tasks.stream(key, STATE))
    return scheduled(tx, self.schedule, self.steps, rate if self.optimizer.rate else 1.0)


def build(config: Any) -> Experiment:
  """Builds the experiment of a config whose `experiment` is "optimize" (see `recipe.optimize_config`).

  Raises:
    ValueError, FileNotFoundError: an optimizer or a problem that does not exist, or missing images.
  """
  run, wanted = config.run, config.optimizee
  optimizer = read_optimizer(run.optimizer, run.learning_rate, sha256=run.sha256)
  found = optimizee(wanted.name, logit_relu=wanted.logit_relu)
  like = optimizer.kind
  if classical(like):  # where no coordinate sees another, all are one vector; others see tensors
    like = "l2o_dm" if like in CLASSICAL else "l2o_mlp"
  problem = tasks.problem(found, batch_size=wanted.batch_size, kind=like, **optimizer.options)
  this = Run(optimizer, found, problem, run.steps, run.timed_steps, run.schedule, STREAMS[run.draws])
  fit, held = images_of(found.data, run.split)
  step, evals = functools.partial(take_step, this), {}
  if found.logits:
    size = min(SCORED_AT_ONCE, len(held["label"]))
    score = functools.partial(_score, this)
    evals["held_out"] = Eval(Resident(held, size, order="rows"), score, every=0)
  if run.timed_steps:
    evals["timed"] = Eval(Resident(fit, None), functools.partial(_take_steps, this), every=0)
  enter = functools.partial(_first_gradient, this)
  return Experiment(
    init=functools.partial(start, this),
    stages=(Stage("optimize", run.steps, step, Resident(fit, None), enter=enter, done=_is_over),),
    params=functools.partial(_params, this),
    evals=evals,
    report=functools.partial(_report, this),
  )


def images_of(data: str, split: str) -> tuple[dict, dict]:
  """Loads (images to fit, at most 10,000 images of the other split to score); both {} where `data` is "".

  Raises:
    FileNotFoundError, ValueError: missing or damaged images.
  """
  if not data:
    return {}, {}
  images = load_images(data)
  fit, held = (images.test, images.train) if split == "test" else (images.train, images.test)
  rows = np.random.default_rng(0).permutation(len(held["label"]))[:SCORED]
  return fit, {name: x[rows] for name, x in held.items()}


def start(run: Run, key: jax.Array) -> State:
  """Draws x_0 and the optimizer's first state."""
  # `key` is jax.random.key(seed), whose last word is the seed.
  key = tasks.stream(jax.random.key(0), run.stream, jax.random.key_data(key)[-1])
  x = run.problem.init(tasks.stream(key, X_0))
  weights = jax.tree.map(jnp.asarray, (run.optimizer.weights, jnp.float32(run.optimizer.rate)))
  return {
    "x": x,
    "tx": run.build(weights, key).init(x),
    "gradient": jax.tree.map(jnp.zeros_like, x),
    "weights": weights,
    "first": jnp.zeros(()),
    "losses": jnp.full(run.steps, jnp.nan),
    "over": jnp.asarray(False),
    "key": key,
  }


def _first_gradient(run: Run, state: State, sweep: Sweep) -> State:
  """Computes the loss at x_0 and its gradient, on the first minibatch."""

  def of_first_batch(state, batch):
    loss = run.problem.loss(batch)
    return jax.value_and_grad(loss)(state["x"], tasks.stream(state["key"], BATCH, 0))

  first, gradient = sweep(of_first_batch, state)
  return {**state, "first": first, "gradient": gradient}


def take_step(run: Run, state: State, batch: Any, t: jax.Array) -> tuple[State, dict]:
  """Moves x, and records the loss after it on a fresh minibatch, which also gives the next gradient.

  A step to a non-finite x is not taken: the optimization is over, and the losses from there on stay NaN.
  """
  tx = run.build(state["weights"], state["key"])
  delta, memory = tx.update(state["gradient"], state["tx"], state["x"])
  moved = optax.apply_updates(state["x"], delta)
  finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(moved)]).all()
  ours, theirs = (moved, memory), (state["x"], state["tx"])
  x, memory = jax.tree.map(lambda new, old: jnp.where(finite, new, old), ours, theirs)
  loss_of, key = run.problem.loss(batch), tasks.stream(state["key"], BATCH, t + 1)
  loss, gradient = jax.value_and_grad(loss_of)(x, key)
  if (seen := shown(run.optimizer.kind, memory, x)) is not x:
    loss = loss_of(seen, key)
  loss = jnp.where(finite, loss, jnp.nan)
  new = {
    **state,
    "x": x,
    "tx": memory,
    "gradient": gradient,
    "losses": state["losses"].at[t].set(loss),
    "over": ~finite,
  }
  return new, {"ln_loss": counted(jnp.log(loss + FLOOR), finite)}


def _params(run: Run, state: State) -> Any:
  return run.problem.unravel(shown(run.optimizer.kind, state["tx"], state["x"]))


def _is_over(state: State, t: jax.Array) -> jax.Array:
  return state["over"]


def _score(run: Run, state: State, batch: Any) -> dict:
  logits_of = run.optimizee.logits
  assert logits_of is not None  # only then is there such an eval
  logits = logits_of(_params(run, state), as_float(batch["image"]))
  return {"accuracy": mean(jnp.argmax(logits, -1) == batch["label"], batch["mask"])}


def _take_steps(run: Run, state: State, batch: Any) -> dict:
  """Takes some more steps, to be timed; what is returned only keeps the compiler from leaving them out."""
  end = jax.lax.fori_loop(0, run.timed_steps, lambda t, s: take_step(run, s, batch, t)[0], state)
  return {"ln_loss": counted(jnp.log(jnp.mean(end["losses"])), ~end["over"])}


def _report(run: Run, state: State, evaluate: Evaluate, sweep: Sweep) -> Report:
  del sweep
  found = numbers(float(state["first"]), np.asarray(state["losses"], np.float64))
  if run.optimizee.logits:
    score = evaluate("held_out", state)["accuracy"]
    found["accuracy"] = math.nan if math.isnan(found["ln_loss"]) else score
  if run.timed_steps:
    seconds = []
    for _ in range(4):
      begin = time.perf_counter()
      evaluate("timed", state)
      seconds.append(time.perf_counter() - begin)
    found["microseconds"] = 1e6 * min(seconds[1:]) / run.timed_steps  # the first call may compile
  return Report(found)
