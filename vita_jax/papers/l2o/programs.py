"""What a comparison compiles: optimizations with a kind of optimizer; and the images that they see."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.images import load_images
from vita_jax.optim import KINDS
from vita_jax.papers.l2o import tasks
from vita_jax.papers.l2o.optimizees import as_float, optimizee

CHUNK = 500  # steps in one call, at most
SCORED, SCORED_AT_ONCE = 10_000, 500  # images that accuracy is measured on
X_0, STATE, BATCH = range(3)  # streams of random numbers within an optimization

# name -> (rate -> optax transformation); add your own: CLASSICAL["lion"] = optax.lion
CLASSICAL: dict[str, Callable[[Any], optax.GradientTransformation]] = {
  "sgd": optax.sgd,
  "momentum": functools.partial(optax.sgd, momentum=0.9),
  "nag": functools.partial(optax.sgd, momentum=0.9, nesterov=True),
  "rmsprop": optax.rmsprop,
  "adam": optax.adam,
  "adagrad": optax.adagrad,
}


class Split(NamedTuple):
  """What an optimizee is fitted to, the images that its accuracy is measured on (None: nothing is
  classified) as arrays [batches, batch, ...] with weights of 0 on repeated ones, and a digest of both."""

  fit: Any
  held: Any
  digest: str


@functools.lru_cache(maxsize=2)
def images_of(data: str, split: str) -> Split:
  """The images of a name, the `split` to be fitted to ("test" | "train") on the device.

  Raises:
    FileNotFoundError, ValueError: missing or damaged images.
  """
  if not data:
    return Split({}, None, "")
  images = load_images(data)
  fit, held = (images.test, images.train) if split == "test" else (images.train, images.test)
  rows = np.random.default_rng(0).permutation(len(held["label"]))[:SCORED]
  batches = -(-len(rows) // SCORED_AT_ONCE)
  shape = (batches, -(-len(rows) // batches))
  padded = np.resize(rows, shape)
  weights = (np.arange(padded.size) < len(rows)).astype(np.float32).reshape(shape)
  scored = {"image": held["image"][padded], "label": held["label"][padded], "weight": weights}
  digest = "".join(arrays_sha256(arrays) for arrays in (fit, held))
  return Split(*jax.device_put((fit, scored)), digest)


class Program(NamedTuple):
  """The compiled functions of a task and a kind, over a leading axis of runs but in `arrays` and theta.

  Attributes:
    start: `(arrays, theta or rates, keys) -> (carry, first loss)`; a carry is (x, state, gradient).
    advance: `(arrays, theta or rates, keys, carry, t, n) -> (carry, losses [CHUNK], finite)`: n more steps.
    accuracy: `(x, held) -> fraction`.
  """

  start: Callable
  advance: Callable
  accuracy: Callable | None


@functools.lru_cache(maxsize=16)
def program(task: str, kind: str, options: tuple, batch_size: int, logit_relu: bool) -> Program:
  """The functions of a task and a kind of optimizer: compiled once for all thetas, rates, seeds and lengths.

  As in `final.optimize`, the loss after each step on a fresh minibatch is recorded, and the same
  minibatch gives the next step's gradient.
  """
  learned, optimized = kind in KINDS, optimizee(task, logit_relu=logit_relu)
  like = kind if learned else "l2o_dm"  # no coordinate sees another: classical ones work on one vector, too
  problem = tasks.problem(optimized, batch_size=batch_size, kind=like, **dict(options))
  build = problem.build if learned else lambda rate, key: CLASSICAL[kind](rate)

  def start(arrays, parameter, key):
    x = problem.init(tasks.stream(key, X_0))
    first, gradient = jax.value_and_grad(problem.loss(arrays))(x, tasks.stream(key, BATCH, 0))
    return (x, build(parameter, tasks.stream(key, STATE)).init(x), gradient), first

  def advance(arrays, parameter, key, carry, t, n):
    tx = build(parameter, tasks.stream(key, STATE))
    loss = jax.value_and_grad(problem.loss(arrays))

    def step(i, carry):
      (x, state, gradient), losses = carry
      delta, state = tx.update(gradient, state, x)
      x = optax.apply_updates(x, delta)
      value, gradient = loss(x, tasks.stream(key, BATCH, t + i + 1))
      return (x, state, gradient), losses.at[i].set(value)

    carry, losses = jax.lax.fori_loop(0, n, step, (carry, jnp.full(CHUNK, jnp.nan)))
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(carry[0])])
    return carry, losses, jnp.all(finite)

  def accuracy(x, held):
    params = problem.unravel(x)

    def correct(batch):
      hits = jnp.argmax(optimized.logits(params, as_float(batch["image"])), -1) == batch["label"]
      return jnp.sum(hits * batch["weight"])

    return jnp.sum(jax.lax.map(correct, held)) / jnp.sum(held["weight"])

  axis = None if learned else 0
  return Program(
    jax.jit(jax.vmap(start, (None, axis, 0))),
    jax.jit(jax.vmap(advance, (None, axis, 0, 0, None, None))),
    jax.jit(jax.vmap(accuracy, (0, None))) if optimized.logits else None,
  )
