"""The types that everything is made of: a paper is an `Experiment`, a value made of pure functions.

The loop knows nothing of papers; a paper's steps know nothing of meshes, checkpoints, clocks, flags or files.
(`build`, `report` and `export` are host code, which may read and write files.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from vita_jax.data.resident import Resident
from vita_jax.data.stream import Stream
from vita_jax.train.shardings import Spread

Array = jax.Array
Tree = Any
State = dict[str, Any]  # a dict pytree that holds EVERYTHING that influences training
Batch = Mapping[str, Any]
Metrics = Mapping[str, tuple[Array, Array]]  # name -> (sum, weight); the value is sum / weight
Sweep = Callable[..., Tree]  # sweep(fn, state, over="data") -> outputs [n_rows, ...] in row order
Evaluate = Callable[..., dict[str, Any]]  # evaluate(name of an eval, state) -> {metric: float}


def keep(state: State, sweep: Sweep) -> State:
  """Returns the state as it is: the default of `Stage.enter`."""
  del sweep
  return state


def never(state: State, t: Array) -> Array:
  """Returns False, the default of `Stage.done`: the stage runs its full number of steps."""
  del state, t
  return jnp.asarray(False)


class Stage(NamedTuple):
  """A stretch of training with one step function and one source of batches.

  Attributes:
    name: shown in the logs.
    steps: upper bound of the number of steps; static.
    step: `(state, batch, t) -> (state, metrics)`, pure; `t` int32 is the step within the stage and is
      never batched by `replicate`, so that a `lax.cond` on it stays a real branch.
    data: where batch number `t` comes from.
    also: further data of this stage. Batch number `t` of `also[name]` arrives as `batch[name]`.
    enter: `(state, sweep) -> state`, the transition into this stage, deterministic in the state. It
      clears what made the last stage `done` and may change the structure of the state.
    done: `(state, t) -> bool`, true when the stage is over after `t` steps. Once true it must stay
      true for that state and any later `t`: a finished replica is frozen, not asked again.
  """

  name: str
  steps: int
  step: Callable[[State, Batch, Array], tuple[State, Metrics]]
  data: Resident | Stream
  also: Mapping[str, Resident | Stream] = {}
  enter: Callable[[State, Sweep], State] = keep
  done: Callable[[State, Array], Array] = never


class Eval(NamedTuple):
  """An observation: `step(state, batch) -> metrics`, summed over all rows of `data`.

  It runs every `every` steps of the stages named in `stages` (empty: of all), and at a stage's end.
  """

  data: Resident | Stream
  step: Callable[[State, Batch], Metrics]
  every: int
  stages: tuple[str, ...] = ()


class Report(NamedTuple):
  """Final numbers of one seed; figures: name -> matplotlib Figure, or a function that draws one; files:
  name -> text or bytes, written to the workdir (with several seeds `audit.md` becomes `audit_0.md`, ...)."""

  metrics: Mapping[str, Any]
  figures: Mapping[str, Any] = {}
  files: Mapping[str, str | bytes] = {}


class Exported(NamedTuple):
  """What a user takes away.

  Attributes:
    params: the weights, a tree of arrays (written as safetensors).
    program: `program(params, **inputs) -> dict of arrays`, pure; what `launch/export.py` turns into a
      `jax.export` program and what `launch/predict.py` runs.
    inputs: name -> (shape, dtype) with symbolic dimension names as strings, e.g. `("nodes, 7", "float32")`.
    read: `read(path) -> inputs`, reads a user's data file into the program's inputs.
    card: plain facts that belong beside the weights (JSON-able); they are in the safetensors file, too.
    write: `write(folder)` writes further files beside them, e.g. in formats of the paper's own.
    decode: `decode(path, outputs) -> further arrays`, what a user reads of the outputs of a data file.
    save: `save(path, outputs, folder) -> what it wrote`, files that a user looks at: pictures, results of a
      format of the field; `launch/predict.py` gives it a folder beside the npz file.
    rows_per_call: how many rows the program gets at once, where its inputs are rows; 0: all of them.
  """

  params: Tree
  program: Callable[..., Mapping[str, Array]]
  inputs: Mapping[str, tuple[str, str]]
  read: Callable[[str], Mapping[str, Any]]
  card: Mapping[str, Any] = {}
  write: Callable[[Path], None] | None = None
  decode: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] | None = None
  save: Callable[[str, Mapping[str, Any], Path], str] | None = None
  rows_per_call: int = 0


class Experiment(NamedTuple):
  """A paper's experiment as a value.

  Attributes:
    init: `key -> state`; with `replicas` set, `keys [replicas] -> state` with a leading axis.
    stages: run one after the other.
    params: `state -> tree`, what a user means by "the weights".
    evals: observations by name; they never change the state.
    shard: (regex, PartitionSpec or `shardings.spread(axis)`) pairs on the '/'-joined path of a state
      leaf; first match wins.
    report: `(state, evaluate, sweep) -> Report` of one seed, host code, after the last stage; None reports
      every eval. `evaluate(name, state)` gives the metrics of an eval, `sweep(fn, state, over=name)` the
      rows of its data: `fn(state, batch)` for all batches, joined in row order, padding removed, as numpy.
    export: `state -> Exported`, or None when there is nothing beyond the weights.
    replicas: number of seeds in the state's leading axis; None for a single run (see `replicate`).
  """

  init: Callable[[Array], State]
  stages: tuple[Stage, ...]
  params: Callable[[State], Tree]
  evals: Mapping[str, Eval] = {}
  shard: tuple[tuple[str, P | Spread], ...] = ((".*", P()),)
  report: Callable[[State, Evaluate, Sweep], Report] | None = None
  export: Callable[[State], Exported] | None = None
  replicas: int | None = None


def keep_best(state: State, value: Array, params: Tree) -> State:
  """Keeps `params` under `state["kept"]` when `value` (scalar) exceeds `state["best"]`; ties keep the first.

  The state needs `best` (float32, start at -inf) and `kept` (a tree like `params`). Works replicated.
  """
  better = value > state["best"]
  kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), params, state["kept"])
  return {**state, "best": jnp.where(better, value, state["best"]), "kept": kept}
