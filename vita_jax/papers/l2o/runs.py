"""Optimizations with any optimizer, in calls of about a second; their numbers, and files that keep them."""

from __future__ import annotations

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

from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.files import read_npz
from vita_jax.optim import KINDS
from vita_jax.papers.l2o import tasks
from vita_jax.papers.l2o.final import FLOOR
from vita_jax.papers.l2o.optimizees import OPTIMIZEES
from vita_jax.papers.l2o.programs import CHUNK, images_of, program

LEVELS = (-1.0, -2.0, -3.0)  # of ln loss
WINDOW = 100  # steps in a running mean, and at the end
POINTS = 1000  # of a kept curve, at most
SECONDS = 1.0  # of one call: what an interrupt waits for
MARGIN = 1.01  # a run diverged when it ends above this times its first loss; a dead network did not
REPORT, TUNING = 100, 101  # streams of random numbers; those of meta-training are in `tasks`


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
