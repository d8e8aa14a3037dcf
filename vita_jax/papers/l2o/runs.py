"""Optimizations with any optimizer, in short calls; their numbers, and the files that keep them."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.data.files import arrays_sha256, read_npz
from vita_jax.data.images import load_images
from vita_jax.optim import KINDS
from vita_jax.papers.l2o import tasks
from vita_jax.papers.l2o.final import FLOOR
from vita_jax.papers.l2o.optimizees import OPTIMIZEES, as_float, optimizee

LEVELS = (-1.0, -2.0, -3.0)  # of ln loss
WINDOW = 100  # steps in a running mean, and at the end
POINTS = 1000  # of a kept curve, at most
CHUNK = 500  # steps in one call, at most
SECONDS = 1.0  # of one call: what an interrupt waits for
SCORED, SCORED_AT_ONCE = 10_000, 500  # images that accuracy is measured on
MARGIN = 1.01  # a run diverged when it ends above this times its first loss; a dead network did not
REPORT, TUNING = 100, 101  # streams of random numbers; those of meta-training are in `tasks`
X_0, STATE, BATCH = range(3)  # within an optimization

# name -> (rate -> optax transformation); add your own: CLASSICAL["lion"] = optax.lion
CLASSICAL: dict[str, Callable[[Any], optax.GradientTransformation]] = {
  "sgd": optax.sgd,
  "momentum": functools.partial(optax.sgd, momentum=0.9),
  "nag": functools.partial(optax.sgd, momentum=0.9, nesterov=True),
  "rmsprop": optax.rmsprop,
  "adam": optax.adam,
  "adagrad": optax.adagrad,
}


class Entrant(NamedTuple):
  """An optimizer to compare.

  Attributes:
    label: unique name in the table.
    kind: a name in `CLASSICAL` or in `vita_jax.optim.KINDS`.
    theta: weights of a learned one.
    options: (name, value) of its builder.
    rate: learning rate of a classical one; None tunes it.
  """

  label: str
  kind: str
  theta: Any = None
  options: tuple[tuple[str, Any], ...] = ()
  rate: float | None = None


class Protocol(NamedTuple):
  """What is equal for all optimizers; see `comparison.each_result`."""

  steps: int
  split: str
  batch_size: int
  logit_relu: bool


class Job(NamedTuple):
  """What tells runs of an optimizer apart: rate of a classical one, `REPORT` or `TUNING`, and seed."""

  rate: float | None
  stream: int
  seed: int


class Run(NamedTuple):
  """One optimization.

  Attributes:
    steps: int32 [points], last step of each window of the curve.
    curve: float32 [points], mean of ln(loss + 1e-12) over the window; NaN after a non-finite parameter.
    first: loss at x_0.
    loss, ln_loss: means over the last 100 steps of the loss and of ln(loss + 1e-12).
    best_ln_loss, best_step: lowest running 100-step mean of ln loss, and the step where it ends (0: none).
    reached: int32 [levels], first step whose running 100-step mean is at most the level; 0 for never.
    accuracy: of the last parameters on the other split; NaN where nothing is classified.
    seconds: per step, median over calls; compilation does not count.
  """

  steps: np.ndarray
  curve: np.ndarray
  first: float
  loss: float
  ln_loss: float
  best_ln_loss: float
  best_step: int
  reached: np.ndarray
  accuracy: float
  seconds: float

  @property
  def diverged(self) -> bool:
    """Whether it ended more than 1 % above its first loss, or not finite."""
    return not (math.isfinite(self.ln_loss) and self.loss <= MARGIN * self.first)


def run_all(
  task: str,
  entrant: Entrant,
  jobs: Sequence[Job],
  protocol: Protocol,
  *,
  store: str | Path | None,
  log: Callable[[str], None],
) -> list[Run]:
  """The runs of the jobs: what `store` has is read, the rest is computed and kept there."""
  paths = {job: Path(store) / task / _file(task, entrant, job, protocol) for job in jobs if store}
  done = {job: run for job, path in paths.items() if (run := _read(path, log))}
  missing = [job for job in jobs if job not in done]
  # A CPU's caches like one after the other (1.3 times as fast on MNIST); elsewhere side by side.
  size = 1 if jax.default_backend() == "cpu" else max(len(missing), 1)
  for i in range(0, len(missing), size):
    group = missing[i : i + size]
    title = f"{task}, {entrant.label}, {_title(group[0])}"
    title += f" and {len(group) - 1} more" if len(group) > 1 else ""
    runs = _optimize(task, entrant, group, protocol, lambda text, title=title: log(f"{title}: {text}"))
    for job, run in zip(group, runs, strict=True):
      done[job] = run
      if store:
        _write(paths[job], run)
  return [done[job] for job in jobs]


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


def _optimize(task, entrant, jobs, protocol, log) -> list[Run]:
  """Runs the jobs side by side, in calls of about a second."""
  images = images_of(OPTIMIZEES[task].data, protocol.split)
  compiled = program(task, entrant.kind, entrant.options, protocol.batch_size, protocol.logit_relu)
  keys = jnp.stack([tasks.stream(jax.random.key(0), job.stream, job.seed) for job in jobs])
  parameter = entrant.theta if entrant.kind in KINDS else jnp.array([job.rate for job in jobs], jnp.float32)
  arguments = (images.fit, parameter, keys)
  carry, first = compiled.start(*arguments)
  jax.block_until_ready(compiled.advance(*arguments, carry, 0, 0))  # compiles, and takes no step
  losses = np.full((len(jobs), protocol.steps), np.nan)
  t, n, paces, told = 0, 10, [], time.monotonic()
  while t < protocol.steps:
    n = min(n, protocol.steps - t)
    begin = time.perf_counter()
    carry, values, finite = jax.block_until_ready(compiled.advance(*arguments, carry, t, n))
    paces.append((time.perf_counter() - begin) / n)
    losses[:, t : t + n] = np.asarray(values)[:, :n]
    t += n
    ended = t == protocol.steps or not np.asarray(finite).any()  # what is not finite remains so: x + delta
    if ended or time.monotonic() - told > 10:
      late, told = np.log(np.mean(losses[:, max(t - WINDOW, 0) : t]) + FLOOR), time.monotonic()
      log(f"{t} of {protocol.steps} steps, ln loss {late:.2f}, {1e6 * np.median(paces):.0f} us per step")
    if ended:
      break
    n = int(np.clip(SECONDS / paces[-1], 10, CHUNK))
  accuracy = compiled.accuracy(carry[0], images.held) if compiled.accuracy else np.full(len(jobs), np.nan)
  rows = zip(np.asarray(first).tolist(), losses, np.asarray(accuracy).tolist(), strict=True)
  return [summary(*row, seconds=float(np.median(paces[1:] or paces))) for row in rows]


def summary(first: float, losses: np.ndarray, accuracy: float, *, seconds: float) -> Run:
  """The numbers of one optimization with losses float64 [steps >= 100]."""
  steps, logs = len(losses), np.log(losses + FLOOR)
  edges = np.linspace(0, steps, min(POINTS, steps) + 1).astype(int)
  running = np.lib.stride_tricks.sliding_window_view(logs, WINDOW).mean(1)
  running = np.where(np.isfinite(running), running, np.inf)
  best = int(running.argmin())
  at = [int((running <= level).argmax()) + WINDOW if (running <= level).any() else 0 for level in LEVELS]
  return Run(
    steps=edges[1:].astype(np.int32),
    curve=(np.add.reduceat(logs, edges[:-1]) / np.diff(edges)).astype(np.float32),
    first=first,
    loss=float(losses[-WINDOW:].mean()),
    ln_loss=float(logs[-WINDOW:].mean()),
    best_ln_loss=float(running[best]) if np.isfinite(running[best]) else math.nan,
    best_step=best + WINDOW if np.isfinite(running[best]) else 0,
    reached=np.array(at, np.int32),
    accuracy=accuracy,
    seconds=seconds,
  )


def _title(job: Job) -> str:
  return f"tuning {job.rate:g}, seed {job.seed}" if job.stream == TUNING else f"seed {job.seed}"


def _file(task: str, entrant: Entrant, job: Job, protocol: Protocol) -> str:
  """The name of a run's file: equal when it would compute the same; the label does not matter."""
  leaves = jax.tree_util.tree_leaves_with_path(entrant.theta)
  theta = arrays_sha256({jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves})
  digest = images_of(OPTIMIZEES[task].data, protocol.split).digest
  identity = (task, entrant.kind, entrant.options, theta, *job, *protocol, digest)
  text = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
  rate = "" if job.rate is None else f"-{job.rate:g}"
  return f"{entrant.kind}{rate}-{'tuning' if job.stream == TUNING else 'seed'}{job.seed}-{text}.npz"


def _read(path: Path, log: Callable[[str], None]) -> Run | None:
  if not path.is_file():
    return None
  try:
    return Run(**{name: x if x.ndim else x.item() for name, x in read_npz(path).items()})
  except (ValueError, TypeError):
    log(f"{path} is damaged: this run is computed again")
    return None


def _write(path: Path, run: Run) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_suffix(".partial")
  with partial.open("wb") as file:
    np.savez_compressed(file, **run._asdict())
  os.replace(partial, path)
