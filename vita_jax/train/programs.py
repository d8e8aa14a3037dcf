"""The compiled programs of a run: init, enter, a chunk of steps, a single step, an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vita_jax import metrics as metrics_lib
from vita_jax.data.resident import Resident, n_rows, n_sweep_batches, sweep_batch_at
from vita_jax.data.stream import Stream, read_batch, read_sweep_batch
from vita_jax.train.batches import resident_sweep, row_layout, spec, stage_data, train_batch
from vita_jax.train.experiment import Eval, Experiment, Stage, State, keep, never
from vita_jax.train.shardings import state_shardings
from vita_jax.train.transfer import local_part, put, put_rows


class Programs(NamedTuple):
  """What the loop calls; every function compiles once per distinct program.

  init: `seeds -> state`. enter: `(stage, state) -> state`. abstract: `stage number -> state shapes with
  shardings` after that stage's `enter`. chunk: `(stage, state) -> run`, whose `run(state, seeds, at,
  until, bad) -> (state, at, metric sums, bad)` takes many steps of Resident data. single: the same for
  one step with the batches of Stream data, `run(state, seeds, at, bad, streamed)`. evaluate: `(Eval or
  its name, state) -> {metric: value}`. sweep: `(fn, state, over) -> rows`, numpy, of `fn(state, batch)` over
  the data of the eval named `over`. place: puts arrays on the mesh, once. lower: `stage number ->
  jax.stages.Lowered` of one step, from shapes alone.
  """

  init: Callable
  enter: Callable
  abstract: Callable
  chunk: Callable
  single: Callable
  evaluate: Callable
  sweep: Callable
  place: Callable
  lower: Callable


def make_programs(experiment: Experiment, mesh: jax.sharding.Mesh, *, on_nonfinite: str) -> Programs:
  """Builds the programs of one run. `on_nonfinite`: "stop" raises the `bad` flag, "skip" undoes the step."""
  if on_nonfinite not in ("stop", "skip"):
    raise ValueError(f"config.on_nonfinite is '{on_nonfinite}': choose 'stop' or 'skip'")
  everywhere = NamedSharding(mesh, P())
  placed: dict[int, tuple[Any, jax.Array]] = {}  # by identity: a graph shared by stages is sent once
  compiled: dict[Any, Callable] = {}

  def place(tree):
    def one(x):
      if jnp.ndim(x) == 0:
        return put(x, everywhere)
      if id(x) not in placed:
        placed[id(x)] = (x, put(x, everywhere))
      return placed[id(x)][1]

    return jax.tree.map(one, tree)

  def sweep_batch(data: Stream, i: int):
    divides = data.batch_size % mesh.shape["data"] == 0
    layout, shape = NamedSharding(mesh, P("data") if divides else P()), (data.batch_size,)
    return put_rows(read_sweep_batch(data, i, part=local_part(layout, shape)), layout, shape)

  def arrays_of(stage: Stage):
    resident = {k: d for k, d in stage_data(stage).items() if isinstance(d, Resident)}
    return {name: place(data.arrays) for name, data in resident.items()}

  def cached(key, build):
    if key not in compiled:
      compiled[key] = build()
    return compiled[key]

  def with_shardings(abstract: State) -> State:
    shardings = state_shardings(mesh, experiment.shard, abstract)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings)

  def shardings_of(tree):
    return jax.tree.map(lambda x: x.sharding, tree)

  def init_state(seeds):
    keys = jax.vmap(jax.random.key)(seeds) if seeds.ndim else jax.random.key(seeds)
    return _strong(experiment.init(keys))

  def init(seeds):
    target = with_shardings(jax.eval_shape(init_state, seeds))
    return jax.jit(init_state, out_shardings=shardings_of(target))(seeds)

  def enter_state(stage, state, arrays):
    specs = {k: spec(d) for k, d in stage_data(stage).items()}
    return _strong(stage.enter(state, resident_sweep(specs, arrays)))

  def abstract_enter(stage: Stage, state):
    def sweep(fn, state, over="data"):
      data = stage_data(stage)[over]
      if isinstance(data, Resident) and data.batch_size is None:
        return fn(state, data.arrays)
      batch = read_sweep_batch(data, 0) if isinstance(data, Stream) else sweep_batch_at(data, data.arrays, 0)
      one = jax.eval_shape(fn, state, batch)
      return jax.tree.map(lambda x: jnp.zeros((n_rows(data), *x.shape[1:]), x.dtype), one)

    return jax.eval_shape(lambda s: _strong(stage.enter(s, sweep)), state)

  def abstract(number: int) -> State:
    seeds = jax.ShapeDtypeStruct((experiment.replicas,) if experiment.replicas else (), jnp.uint32)
    state = jax.eval_shape(init_state, seeds)
    for stage in experiment.stages[: number + 1]:
      state = state if stage.enter is keep else abstract_enter(stage, state)
    return with_shardings(state)

  def enter(stage: Stage, state: State) -> State:
    if stage.enter is keep:
      return state
    target = shardings_of(with_shardings(abstract_enter(stage, state)))
    if any(isinstance(data, Stream) for data in stage_data(stage).values()):
      new = stage.enter(state, _host_sweep(stage, place, sweep_batch, everywhere, cached))
      return jax.jit(_strong, out_shardings=target)(new)
    program = jax.jit(lambda s, a: enter_state(stage, s, a), out_shardings=target)
    return program(state, arrays_of(stage))

  def program_key(kind, stage, state):
    specs = tuple((k, spec(d)) for k, d in stage_data(stage).items())
    leaves, structure = jax.tree.flatten(shardings_of(state))
    return kind, stage.step, stage.done, specs, structure, tuple(leaves)

  def outputs(state):
    return shardings_of(state), everywhere, everywhere, everywhere

  def guarded_step(stage: Stage, specs):
    """One step -> (state, metrics, bad), with the non-finite policy applied."""

    def step(state, arrays, streamed, seeds, at):
      batch = train_batch(specs, arrays, streamed, seeds, at, mesh)
      new, metrics = stage.step(state, batch, at)
      ok = metrics_lib.finite(metrics)
      if on_nonfinite == "stop":
        return _strong(new), _strong(metrics), ~jnp.all(ok)
      metrics = {**_select(ok, metrics, jax.tree.map(jnp.zeros_like, metrics))}
      metrics["skipped"] = ((~ok).astype(jnp.float32), jnp.ones(ok.shape, jnp.float32))
      return _strong(_select(ok, new, state)), _strong(metrics), jnp.asarray(False)

    return step

  def chunk(stage: Stage, state: State):
    def build():
      step = guarded_step(stage, {k: spec(d) for k, d in stage_data(stage).items()})

      def run(state, arrays, seeds, at, until, bad):
        shapes = jax.eval_shape(step, state, arrays, {}, seeds, at)[1]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        def go_on(carry):
          state, at, _, bad = carry
          return (at < until) & ~stage.done(state, at) & ~bad

        def body(carry):
          state, at, sums, _ = carry
          state, metrics, bad = step(state, arrays, {}, seeds, at)
          return state, at + 1, metrics_lib.add(sums, metrics), bad

        return jax.lax.while_loop(go_on, body, (state, at, zeros, bad))

      return jax.jit(run, donate_argnums=0, out_shardings=outputs(state))

    program, arrays = cached(program_key("chunk", stage, state), build), arrays_of(stage)
    return lambda state, seeds, at, until, bad: program(state, arrays, seeds, at, until, bad)

  def single_program(stage: Stage, state: State):
    def build():
      step = guarded_step(stage, {k: spec(d) for k, d in stage_data(stage).items()})

      def run(state, arrays, streamed, seeds, at, bad):
        done = stage.done(state, at)
        stop = done | bad
        new, metrics, now_bad = step(state, arrays, streamed, seeds, at)
        metrics = jax.tree.map(lambda x: jnp.where(stop, jnp.zeros_like(x), x), metrics)
        # A state after a bad step is never used; passing the old one on costs memory traffic.
        kept = new if stage.done is never else _select(done, state, new)
        return kept, at + ~stop, metrics, bad | (now_bad & ~stop)

      return jax.jit(run, donate_argnums=0, out_shardings=outputs(state))

    return cached(program_key("single", stage, state), build)

  def single(stage: Stage, state: State):
    program, arrays = single_program(stage, state), arrays_of(stage)
    return lambda state, seeds, at, bad, streamed: program(state, arrays, streamed, seeds, at, bad)

  def lower(number: int) -> jax.stages.Lowered:
    stage, state, replicas = experiment.stages[number], abstract(number), experiment.replicas
    shape = lambda x, layout: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x), sharding=layout)  # noqa: E731
    arrays, streamed = {}, {}
    for name, data in stage_data(stage).items():
      if isinstance(data, Resident):
        arrays[name] = jax.tree.map(lambda x: shape(x, everywhere), data.arrays)
      else:
        layout = NamedSharding(mesh, row_layout(data, replicated=replicas is not None))
        rows = read_batch(data, list(range(replicas)) if replicas else 0, 0)
        streamed[name] = jax.tree.map(lambda x, layout=layout: shape(x, layout), rows)
    seeds = shape(np.zeros(replicas or (), np.uint32), everywhere)
    at, bad = shape(np.int32(0), everywhere), shape(np.bool_(False), everywhere)
    return single_program(stage, state).lower(state, arrays, streamed, seeds, at, bad)

  def evaluate(which: Eval | str, state: State) -> dict[str, Any]:
    one = experiment.evals[which] if isinstance(which, str) else which
    data = one.data
    if isinstance(data, Stream):
      step = cached(("eval", one.step, spec(data)), lambda: jax.jit(one.step, out_shardings=everywhere))
      sums = None
      for i in range(n_sweep_batches(data)):
        new = step(state, sweep_batch(data, i))
        sums = new if sums is None else metrics_lib.add(sums, new)
    else:
      build = lambda: jax.jit(_evaluation(one.step, spec(data)), out_shardings=everywhere)  # noqa: E731
      sums = cached(("eval", one.step, spec(data)), build)(state, place(data.arrays))
    return metrics_lib.divide(jax.device_get(sums))

  def sweep(fn, state: State, over: str):
    data = experiment.evals[over].data
    stage = Stage("report", 0, lambda state, batch, t: (state, {}), data)
    return jax.device_get(_host_sweep(stage, place, sweep_batch, everywhere, cached)(fn, state))

  return Programs(init, enter, abstract, chunk, single, evaluate, sweep, place, lower)


def _evaluation(step, data: Resident):
  """Sums `step` over all rows, in row order."""

  def run(state, arrays):
    full = data._replace(arrays=arrays)
    if full.batch_size is None:
      return step(state, arrays)
    first = step(state, sweep_batch_at(full, arrays, 0))
    add = lambda i, sums: metrics_lib.add(sums, step(state, sweep_batch_at(full, arrays, i)))  # noqa: E731
    return jax.lax.fori_loop(1, n_sweep_batches(full), add, first)

  return run


def _host_sweep(stage: Stage, place, sweep_batch, everywhere, cached):
  """`sweep` as a loop on the host, for stages that read a Stream; stages that sweep alike share a program."""

  def sweep(fn, state, over: str = "data"):
    data = stage_data(stage)[over]
    key = "sweep", fn, over, spec(data)
    if isinstance(data, Resident):
      whole = lambda s, a: resident_sweep({over: spec(data)}, {over: a})(fn, s, over)  # noqa: E731
      return cached(key, lambda: jax.jit(whole, out_shardings=everywhere))(state, place(data.arrays))
    run = cached(key, lambda: jax.jit(fn, out_shardings=everywhere))
    outputs = [run(state, sweep_batch(data, i)) for i in range(n_sweep_batches(data))]
    return jax.tree.map(lambda *xs: jnp.concatenate(xs)[: n_rows(data)], *outputs)

  return sweep


def _select(chosen: jax.Array, new: Any, old: Any) -> Any:
  """Leafwise `where(chosen, new, old)`; `chosen` is a scalar or [replicas], broadcast from the left."""
  shape = lambda x: chosen.reshape(chosen.shape + (1,) * (jnp.ndim(x) - chosen.ndim))  # noqa: E731
  return jax.tree.map(lambda x, y: jnp.where(shape(x), x, y), new, old)


def _strong(tree: Any) -> Any:
  """Strips weak types, which would make the first and second call of a step two programs."""

  def strong(x):
    x = jnp.asarray(x)
    is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended)
    return x if is_key else jax.lax.convert_element_type(x, x.dtype)

  return jax.tree.map(strong, tree)
