"""`replicate`: one experiment, many seeds, as one program. No paper contains a seed loop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from vita_jax.data.stream import Stream
from vita_jax.train.batches import per_replica, stage_data
from vita_jax.train.experiment import Evaluate, Experiment, Exported, Report, Stage, State, Sweep, keep, never
from vita_jax.train.shardings import with_leading

STEPS = "replica_steps"  # int32 [replicas]: how many steps each replica really took


def replica(state: State, i: int) -> State:
  """Returns the state of replica `i` of a replicated state, as the single run would have it."""
  return {k: jax.tree.map(lambda x: x[i], v) for k, v in state.items() if k != STEPS}


def replicate(experiment: Experiment, n: int, how: str = "vmap") -> Experiment:
  """Runs `n` seeds of an experiment side by side; replica `i` equals the single run with `seed + i`.

  Every leaf of the state gets a leading axis [n], sharded over the mesh axis `seed`. A replica whose
  `done` is true is frozen (its metrics get weight 0); a stage ends when all are done.

  Args:
    experiment: a single experiment (`replicas` is None).
    n: number of seeds.
    how: "vmap" batches the replicas: fastest for small models; equal to single runs to a float
      tolerance. "map" runs them one after the other inside the step: bit-identical to single runs, and
      a `lax.cond` on the state stays a real branch.

  Raises:
    ValueError: `n < 1`, an unknown `how`, or an experiment that is replicated already.
  """
  if how not in ("vmap", "map"):
    raise ValueError(f"config.replicate is '{how}': choose 'vmap' or 'map'")
  if n < 1 or experiment.replicas is not None:
    raise ValueError(f"cannot replicate {n} times an experiment with replicas={experiment.replicas}")

  def init(keys: jax.Array) -> State:
    if jnp.shape(keys)[:1] != (n,):
      raise ValueError(
        f"{n} replicas need {n} keys, got keys of shape {list(jnp.shape(keys))}: give"
        f" jax.vmap(jax.random.key)(jnp.arange({n}))"
      )
    state = jax.vmap(experiment.init)(keys) if how == "vmap" else jax.lax.map(experiment.init, keys)
    return {**state, STEPS: jnp.zeros((n,), jnp.int32)}

  def report(state: State, evaluate: Evaluate, sweep: Sweep) -> Report:
    assert experiment.report is not None

    def evaluate_one(name: str, one: State) -> dict[str, Any]:
      return evaluate(experiment.evals[name], one)  # its own, not the replicated one of that name

    reports = [experiment.report(replica(state, i), evaluate_one, sweep) for i in range(n)]
    metrics = {name: [r.metrics[name] for r in reports] for name in reports[0].metrics}
    files = {_numbered(name, i): text for i, r in enumerate(reports) for name, text in r.files.items()}
    return Report(metrics, reports[0].figures, files)

  def export(state: State) -> Exported:
    assert experiment.export is not None
    return experiment.export(replica(state, 0))

  return Experiment(
    init=init,
    stages=tuple(_stage(stage, how) for stage in experiment.stages),
    params=lambda state: jax.vmap(experiment.params)(_inner(state)),
    evals={k: e._replace(step=_eval_step(e.step, how)) for k, e in experiment.evals.items()},
    shard=((STEPS, P("seed")), *((path, with_leading(rule, "seed")) for path, rule in experiment.shard)),
    report=report if experiment.report else None,
    export=export if experiment.export else None,
    replicas=n,
  )


def _numbered(name: str, i: int) -> str:
  stem, dot, ending = name.rpartition(".")
  return f"{stem}_{i}{dot}{ending}"


def _inner(state: State) -> State:
  return {name: leaf for name, leaf in state.items() if name != STEPS}


def _over_replicas(fn: Callable[..., Any], how: str, state: Any, batch: dict, batch_axes: dict) -> Any:
  """`fn(state, batch)` for each replica; `batch_axes[name]` is 0 (own rows) or None (shared)."""
  if how == "vmap":
    return jax.vmap(fn, in_axes=(0, batch_axes))(state, batch)
  shared = {k: v for k, v in batch.items() if batch_axes[k] is None}
  own = {k: v for k, v in batch.items() if batch_axes[k] == 0}
  return jax.lax.map(lambda args: fn(args[0], {**shared, **args[1]}), (state, own))


# Memoised: stages that share a step function must share its wrapper too, or each would be compiled anew.
@functools.cache
def _step(
  step: Callable[..., Any],
  done: Callable[..., Any],
  how: str,
  own_rows: bool,
  also_own_rows: tuple[tuple[str, bool], ...],
) -> Callable[..., Any]:
  def replicated(state: State, batch: dict, t: jax.Array) -> tuple[State, Any]:
    axes: dict[str, int | None] = dict.fromkeys(batch, 0 if own_rows else None)
    axes.update({name: 0 if own else None for name, own in also_own_rows})
    inner = _inner(state)

    def one(state_frozen, batch):
      state, frozen = state_frozen
      if done is never:
        return step(state, batch, t)
      if how == "map":  # a real branch: a frozen replica costs nothing
        shapes = jax.eval_shape(step, state, batch, t)[1]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.cond(frozen, lambda: (state, zeros), lambda: step(state, batch, t))
      new, metrics = step(state, batch, t)
      new = jax.tree.map(lambda x, old: jnp.where(frozen, old, x), new, state)
      return new, jax.tree.map(lambda x: jnp.where(frozen, jnp.zeros_like(x), x), metrics)

    frozen = jax.vmap(done, in_axes=(0, None), axis_size=state[STEPS].size)(inner, t)
    new, metrics = _over_replicas(one, how, (inner, frozen), batch, axes)
    return {**new, STEPS: state[STEPS] + ~frozen}, metrics

  return replicated


@functools.cache
def _done(done):
  return lambda state, t: jnp.all(
    jax.vmap(done, in_axes=(0, None), axis_size=state[STEPS].size)(_inner(state), t)
  )


@functools.cache
def _enter(enter: Callable[..., State], how: str, host_sweep: bool) -> Callable[..., State]:
  def replicated(state: State, sweep: Sweep) -> State:
    def one(s: State) -> State:
      return enter(s, sweep)

    if host_sweep:  # a sweep over a Stream is a host loop: one replica after the other
      states = [one(replica(state, i)) for i in range(state[STEPS].size)]
      new = jax.tree.map(lambda *xs: jnp.stack(xs), *states)
    else:
      new = (jax.vmap(one) if how == "vmap" else functools.partial(jax.lax.map, one))(_inner(state))
    return {**new, STEPS: state[STEPS]}

  return replicated


@functools.cache
def _eval_step(step: Callable[..., Any], how: str) -> Callable[..., Any]:
  return lambda state, batch: _over_replicas(step, how, _inner(state), batch, dict.fromkeys(batch, None))


def _stage(stage: Stage, how: str) -> Stage:
  also = tuple((name, per_replica(data)) for name, data in stage.also.items())
  host_sweep = any(isinstance(data, Stream) for data in stage_data(stage).values())
  return stage._replace(
    step=_step(stage.step, stage.done, how, per_replica(stage.data), also),
    done=stage.done if stage.done is never else _done(stage.done),
    enter=keep if stage.enter is keep else _enter(stage.enter, how, host_sweep),
  )
