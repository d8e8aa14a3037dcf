"""What `make gpu` times and compares, a step and a form; those of a paper or a library are in its gpu.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import cli
from vita_jax.base.files import load_python_file
from vita_jax.train import batches
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import make_programs


class Step(NamedTuple):
  """A training step: `make()` returns `(step, state, batch)`, `step(state, batch, t) -> (state, metrics)`.

  `name` begins with the paper's, or its folder's.
  """

  name: str
  make: Callable[[], tuple[Callable, Any, Any]]


class Form(NamedTuple):
  """Two forms of an operation; values and gradients differ by `tolerance` of the largest entry at most."""

  name: str
  ours: Callable[..., Any]
  expected: Callable[..., Any]
  inputs: tuple[Any, ...]
  tolerance: float


def of_config(path: str, *, stage: int = 0, seeds: int = 1, **overrides: Any) -> Callable[[], tuple]:
  """Returns a `make` of Step: a stage of a shipped config's experiment, on its first batch.

  Args:
    path: FILE[:ARGUMENT] in configs/.
    stage: its number; -1 is the last.
    seeds: how many run together.
    overrides: keys of the config, dotted.
  """

  def make():
    file, _, argument = path.partition(":")
    config = load_python_file(cli.find_config(file)).get_config(argument)
    config.update_from_flattened_dict({"seeds": seeds, **overrides})
    experiment = cli.build(config)
    stages = experiment.stages[: stage % len(experiment.stages) + 1]
    programs = make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")
    seed = programs.place(np.arange(seeds, dtype=np.uint32) if seeds > 1 else np.uint32(0))
    state = programs.init(seed)
    for one in stages:
      state = programs.enter(one, state)
    data = batches.stage_data(one)
    arrays = {name: found.arrays for name, found in data.items()}
    specs = {name: batches.spec(found) for name, found in data.items()}
    batch = jax.jit(lambda arrays: batches.train_batch(specs, arrays, {}, seed, jnp.int32(0)))(arrays)
    return one.step, state, batch

  return make


def repeat(
  step: Callable, state: Any, batch: Any, *, number: Callable[[int], int] = int
) -> Callable[[int], None]:
  """Returns `run(n)`, which takes n more steps on one batch and waits for them; the state is donated.

  Args:
    step: `step(state, batch, t) -> (state, metrics)`.
    state: at first.
    batch: of every step.
    number: t of the step that is the i-th.
  """
  run, taken = jax.jit(lambda state, batch, t: step(state, batch, t)[0], donate_argnums=0), 0
  batch = jax.device_put(batch)

  def advance(n: int) -> None:
    nonlocal state, taken
    for _ in range(n):
      state, taken = run(state, batch, jnp.int32(number(taken))), taken + 1
    jax.block_until_ready(state)

  return advance
