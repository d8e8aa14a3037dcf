"""The compiled programs of a run: init, enter, a chunk of steps, a single step, an evaluation, a sweep."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vita_jax import metrics as metrics_lib
from vita_jax.base.choose import choose
from vita_jax.base.tree import named_leaves
from vita_jax.data.resident import Resident, n_rows, n_sweep_batches, sweep_batch_at
from vita_jax.data.stream import Stream, read_batch, read_sweep_batch
from vita_jax.train import cluster
from vita_jax.train.batches import Data, resident_sweep, row_layout, spec, stage_data, train_batch
from vita_jax.train.experiment import Eval, Experiment, Metrics, Stage, State, Sweep, keep, never
from vita_jax.train.shardings import state_shardings
from vita_jax.train.transfer import local_part, put, put_rows

SKIPS = 30  # with on_nonfinite "skip": so many bad steps in a row freeze a seed, and end a run of one


class Cursor(NamedTuple):
  """Where a stage is, kept on the device.

  Attributes:
    at: int32, the steps taken.
    bad: int32, of one seed or [replicas]: how many steps in a row were not finite, up to now.
    cause: int32 like `bad`: what was not finite in the last such step, see `Programs.cause`.
  """

  at: Any
  bad: Any
  cause: Any


class Programs:
  """What the loop calls. Each distinct program is compiled once, however often it is asked for.

  Hand the same `Programs` to several calls of `train.run` on one experiment and nothing is compiled twice.
  """

  def __init__(self, experiment: Experiment, mesh: jax.sharding.Mesh, *, on_nonfinite: str):
    """Prepares the programs of an experiment on a mesh; nothing is compiled yet.

    Args:
      experiment: single or replicated.
      mesh: see `mesh.make_mesh`.
      on_nonfinite: "stop" ends the calls at a step that is not finite; "skip" undoes it, and freezes a
        seed after `SKIPS` of them in a row.

    Raises:
      ValueError: an unknown `on_nonfinite`.
    """
    self.experiment, self.mesh = experiment, mesh
    self.on_nonfinite = choose("config.on_nonfinite", on_nonfinite, ("stop", "skip"))
    self._everywhere = NamedSharding(mesh, P())
    self._placed: dict[int, tuple[Any, jax.Array]] = {}  # by identity: a graph shared by stages is sent once
    self._compiled: dict[Any, Callable] = {}

  def place(self, tree: Any) -> Any:
    """Puts arrays on every device of the mesh; an array that was placed before is not sent again."""

    def one(x):
      if jnp.ndim(x) == 0:
        return put(x, self._everywhere)
      if id(x) not in self._placed:
        self._placed[id(x)] = (x, put(x, self._everywhere))
      return self._placed[id(x)][1]

    return jax.tree.map(one, tree)

  def cursor(self, at: int = 0, bad: np.ndarray | int = 0) -> Cursor:
    """Makes the cursor of a stage of which `at` steps are taken, the last `bad` of them not finite."""
    shape = (self.experiment.replicas,) if self.experiment.replicas else ()
    counts = np.broadcast_to(np.asarray(bad, np.int32), shape)
    return Cursor(*(put(x, self._everywhere) for x in (np.int32(at), counts, np.zeros(shape, np.int32))))

  def failed(self, bad: Any) -> Any:
    """Returns whether a run whose seeds have these counts of bad steps in a row cannot go on; also traced."""
    return (bad >= SKIPS).all() if self.on_nonfinite == "skip" else (bad > 0).any()

  def cause(self, number: int, metrics: Metrics, state: State) -> str:
    """Returns the name of what `Cursor.cause` numbers with "skip": a metric, or a leaf of the weights."""
    return [*_checked_metrics(metrics), *self._weights(state)][number]

  def not_finite(self, state: State) -> dict[str, np.ndarray]:
    """Returns the names of the weights that are not finite -> bool, of one seed or [replicas]."""
    flags = jax.device_get(self._cached("finite", self._finite)(state))
    return {name: ~fine for name, fine in flags.items() if not fine.all()}

  def init(self, seeds: jax.Array) -> State:
    """Computes the first state: of one seed (uint32 scalar), or of [replicas] seeds."""
    target = self._with_shardings(jax.eval_shape(self._init_state, seeds))
    return jax.jit(self._init_state, out_shardings=_shardings_of(target))(seeds)

  def abstract(self, number: int) -> State:
    """Returns shapes, dtypes and shardings of the state in stage `number`, after its `enter`."""
    replicas = self.experiment.replicas
    seeds = jax.ShapeDtypeStruct((replicas,) if replicas else (), jnp.uint32)
    state = jax.eval_shape(self._init_state, seeds)
    for stage in self.experiment.stages[: number + 1]:
      state = state if stage.enter is keep else _abstract_enter(stage, state)
    return self._with_shardings(state)

  def enter(self, stage: Stage, state: State) -> State:
    """Computes the state after the transition into a stage."""
    if stage.enter is keep:
      return state
    target = _shardings_of(self._with_shardings(_abstract_enter(stage, state)))
    data = stage_data(stage)
    if any(isinstance(one, Stream) for one in data.values()):
      new = stage.enter(state, self._host_sweep(data))
      return jax.jit(_strong, out_shardings=target)(new)
    specs = {name: spec(one) for name, one in data.items()}

    def run(state, arrays):
      return _strong(stage.enter(state, resident_sweep(specs, arrays)))

    return jax.jit(run, out_shardings=target)(state, self._arrays(stage))

  def chunk(self, stage: Stage, state: State) -> Callable:
    """Compiles many steps of a stage of Resident data in one call, until its end or the step `until`.

    Returns:
      `run(state, seeds, cursor, until) -> (state, cursor, metric sums)`; it takes the memory of its state.
    """
    build = functools.partial(self._build_chunk, stage)
    program, arrays = self._stage_program("chunk", stage, state, build), self._arrays(stage)

    def run(state, seeds, cursor, until):
      return program(state, arrays, seeds, cursor, until)

    return run

  def single(self, stage: Stage, state: State) -> Callable:
    """Compiles one step of a stage; `streamed` holds the batches of its Stream data, read on the host.

    Returns:
      `run(state, seeds, cursor, streamed) -> (state, cursor, metric sums)`; it takes the memory of its state.
      After the stage's end it changes nothing.
    """
    program, arrays = self._single(stage, state), self._arrays(stage)

    def run(state, seeds, cursor, streamed):
      return program(state, arrays, streamed, seeds, cursor)

    return run

  def lower(self, number: int) -> jax.stages.Lowered:
    """Lowers one step of stage `number` from shapes alone: nothing is computed or placed."""
    stage, state, replicas = self.experiment.stages[number], self.abstract(number), self.experiment.replicas

    def shape(layout: NamedSharding, x: Any) -> jax.ShapeDtypeStruct:
      return jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x), sharding=layout)

    everywhere = functools.partial(shape, self._everywhere)
    arrays, streamed = {}, {}
    for name, data in stage_data(stage).items():
      if isinstance(data, Resident):
        arrays[name] = jax.tree.map(everywhere, data.arrays)
      else:
        layout = NamedSharding(self.mesh, row_layout(data, replicated=replicas is not None))
        rows = read_batch(data, list(range(replicas)) if replicas else 0, 0)
        streamed[name] = jax.tree.map(functools.partial(shape, layout), rows)
    seeds = everywhere(np.zeros(replicas or (), np.uint32))
    counts = everywhere(np.zeros(replicas or (), np.int32))
    cursor = Cursor(everywhere(np.int32(0)), counts, counts)
    return self._single(stage, state).lower(state, arrays, streamed, seeds, cursor)

  def evaluate(self, which: Eval | str, state: State) -> dict[str, Any]:
    """Computes {metric: float, or a list over replicas} of an eval (or of the experiment's of that name)."""
    one = self.experiment.evals[which] if isinstance(which, str) else which
    data = one.data
    if isinstance(data, Resident):
      whole = functools.partial(_evaluate, one.step, spec(data))
      sums = self._cached(("eval", one.step, spec(data)), whole)(state, self.place(data.arrays))
    else:
      step, sums = self._cached(("eval", one.step, spec(data)), one.step), None
      for i in range(n_sweep_batches(data)):
        new = step(state, self._sweep_batch(data, i))
        sums = new if sums is None else metrics_lib.add(sums, new)
        cluster.piece_done()
    found = metrics_lib.divide(jax.device_get(sums))
    cluster.piece_done()  # reports evaluate many times
    return found

  def sweep(self, fn: Callable, state: State, over: str) -> Any:
    """Computes the rows, as numpy, of `fn(state, batch)` over the data of the eval `over`, in row order."""
    sweep = self._host_sweep({over: self.experiment.evals[over].data})
    rows = jax.device_get(sweep(fn, state, over))
    cluster.piece_done()
    return rows

  def _init_state(self, seeds: jax.Array) -> State:
    keys = jax.vmap(jax.random.key)(seeds) if seeds.ndim else jax.random.key(seeds)
    return _strong(self.experiment.init(keys))

  def _with_shardings(self, abstract: State) -> State:
    shardings = state_shardings(self.mesh, self.experiment.shard, abstract)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings)

  def _arrays(self, stage: Stage) -> dict[str, Any]:
    resident = {k: d for k, d in stage_data(stage).items() if isinstance(d, Resident)}
    return {name: self.place(data.arrays) for name, data in resident.items()}

  def _sweep_batch(self, data: Stream, i: int) -> dict[str, Any]:
    divides = data.batch_size % self.mesh.shape["data"] == 0
    layout, shape = NamedSharding(self.mesh, P("data") if divides else P()), (data.batch_size,)
    return put_rows(read_sweep_batch(data, i, part=local_part(layout, shape)), layout, shape)

  def _cached(self, key: Any, fn: Callable) -> Callable:
    """`fn` compiled, with results on every device."""
    if key not in self._compiled:
      self._compiled[key] = jax.jit(fn, out_shardings=self._everywhere)
    return self._compiled[key]

  def _stage_program(self, kind: str, stage: Stage, state: State, build: Callable[[], Callable]) -> Callable:
    """The compiled `build()`; stages with the same step, end and kinds of data share it."""
    shardings = _shardings_of(state)
    specs = tuple((k, spec(d)) for k, d in stage_data(stage).items())
    leaves, structure = jax.tree.flatten(shardings)
    key = kind, stage.step, stage.done, specs, structure, tuple(leaves)
    if key not in self._compiled:
      outputs = shardings, self._everywhere, self._everywhere
      self._compiled[key] = jax.jit(build(), donate_argnums=0, out_shardings=outputs)
    return self._compiled[key]

  def _single(self, stage: Stage, state: State) -> Any:
    return self._stage_program("single", stage, state, functools.partial(self._build_single, stage))

  def _weights(self, state: State) -> dict[str, jax.Array]:
    """The floating-point leaves of `state["params"]`, or of what the experiment calls its weights."""
    tree = {"params": state["params"] if "params" in state else self.experiment.params(state)}
    return {n: x for n, x in named_leaves(tree).items() if jnp.issubdtype(x.dtype, jnp.inexact)}

  def _finite(self, state: State) -> dict[str, jax.Array]:
    """Whether each of the weights is finite: bool, of one seed or [replicas]."""
    first = 1 if self.experiment.replicas else 0
    weights = self._weights(state)
    return {n: jnp.all(jnp.isfinite(x), axis=tuple(range(first, x.ndim))) for n, x in weights.items()}

  def _guarded_step(self, stage: Stage) -> Callable:
    """One step `-> (state, metrics, cursor)` on batch `cursor.at`, with the non-finite policy applied."""
    specs = {name: spec(data) for name, data in stage_data(stage).items()}

    def step(
      state: State, arrays: Any, streamed: Any, seeds: jax.Array, cursor: Cursor
    ) -> tuple[State, Metrics, Cursor]:
      batch = train_batch(specs, arrays, streamed, seeds, cursor.at, self.mesh)
      new, metrics = stage.step(state, batch, cursor.at)
      checks = [jnp.isfinite(metrics[name][0]) for name in _checked_metrics(metrics)]
      if self.on_nonfinite == "skip":  # here `new` is read anyway; with "stop" once per call is enough
        checks += self._finite(new).values()
      checks.append(jnp.asarray(True))  # a step may have no metrics
      flags = jnp.stack([jnp.broadcast_to(x, cursor.bad.shape) for x in checks])
      fine, frozen = jnp.all(flags, axis=0), cursor.bad >= SKIPS
      bad = jnp.where(fine, 0, cursor.bad + 1)
      cause = jnp.where(fine, cursor.cause, jnp.argmin(flags, axis=0).astype(jnp.int32))
      if self.on_nonfinite == "stop":
        return _strong(new), _strong(metrics), Cursor(cursor.at + 1, bad, cause)
      kept = _select(fine & ~frozen, metrics, _zeros(metrics))
      counts = (~fine).astype(jnp.float32), jnp.ones(fine.shape, jnp.float32)
      kept = {**kept, "skipped": _select(frozen, _zeros(counts), counts)}
      cursor = Cursor(cursor.at + 1, jnp.where(frozen, cursor.bad, bad), cause)
      return _strong(_select(fine & ~frozen, new, state)), _strong(kept), cursor

    return step

  def _checked(self, state: State, cursor: Cursor) -> Cursor:
    """With "stop": the cursor after a call, at whose end the weights are not finite either."""
    if self.on_nonfinite == "skip" or not self._weights(state):
      return cursor
    fine = jnp.all(jnp.stack(list(self._finite(state).values())), axis=0)
    return cursor._replace(bad=jnp.where(fine, cursor.bad, jnp.maximum(cursor.bad, 1)))

  def _build_chunk(self, stage: Stage) -> Callable:
    step = self._guarded_step(stage)

    def run(state, arrays, seeds, cursor, until):
      shapes = jax.eval_shape(step, state, arrays, {}, seeds, cursor)[1]
      zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

      def go_on(carry):
        state, cursor, _ = carry
        return (cursor.at < until) & ~stage.done(state, cursor.at) & ~self.failed(cursor.bad)

      def body(carry):
        state, cursor, sums = carry
        state, metrics, cursor = step(state, arrays, {}, seeds, cursor)
        return state, cursor, metrics_lib.add(sums, metrics)

      state, cursor, sums = jax.lax.while_loop(go_on, body, (state, cursor, zeros))
      return state, self._checked(state, cursor), sums

    return run

  def _build_single(self, stage: Stage) -> Callable:
    step = self._guarded_step(stage)

    def run(state, arrays, streamed, seeds, cursor):
      done = stage.done(state, cursor.at)
      stop = done | self.failed(cursor.bad)
      new, metrics, after = step(state, arrays, streamed, seeds, cursor)
      metrics = jax.tree.map(lambda x: jnp.where(stop, jnp.zeros_like(x), x), metrics)
      # A state after a bad step is never used; passing the old one on costs memory traffic.
      kept = new if stage.done is never else _select(done, state, new)
      return kept, _select(stop, cursor, self._checked(kept, after)), metrics

    return run

  def _host_sweep(self, data: dict[str, Data]) -> Sweep:
    """`sweep` as a loop on the host: of stages that read a Stream, and of reports."""

    def sweep(fn: Callable[..., Any], state: State, over: str = "data") -> Any:
      chosen = data[over]
      key = "sweep", fn, over, spec(chosen)
      if isinstance(chosen, Resident):
        whole = functools.partial(_sweep_resident, fn, spec(chosen))
        return self._cached(key, whole)(state, self.place(chosen.arrays))
      run, outputs = self._cached(key, fn), []
      for i in range(n_sweep_batches(chosen)):
        outputs.append(run(state, self._sweep_batch(chosen, i)))
        cluster.piece_done()
      return jax.tree.map(lambda *xs: jnp.concatenate(xs)[: n_rows(chosen)], *outputs)

    return sweep


def make_programs(experiment: Experiment, mesh: jax.sharding.Mesh, *, on_nonfinite: str) -> Programs:
  """Returns `Programs(...)`: the name that benchmarks and tests use."""
  return Programs(experiment, mesh, on_nonfinite=on_nonfinite)


def _checked_metrics(metrics: Metrics) -> list[str]:
  """Names in the order of `Cursor.cause`; "skipped" is what "skip" itself adds."""
  return sorted(metrics.keys() - {"skipped"})


def _evaluate(step: Callable, data: Any, state: State, arrays: Any) -> Metrics:
  """The sums of `step` over all rows, in row order."""
  full = data._replace(arrays=arrays)
  if full.batch_size is None:
    return step(state, arrays)

  def add(i, sums):
    return metrics_lib.add(sums, step(state, sweep_batch_at(full, arrays, i)))

  first = step(state, sweep_batch_at(full, arrays, 0))
  return jax.lax.fori_loop(1, n_sweep_batches(full), add, first)


def _sweep_resident(fn: Callable, data: Any, state: State, arrays: Any) -> Any:
  return resident_sweep({"data": data}, {"data": arrays})(fn, state)


def _abstract_enter(stage: Stage, state: State) -> State:
  """Shapes of the state after `enter`, whose sweeps are not run."""

  def sweep(fn, state, over="data"):
    data = stage_data(stage)[over]
    if isinstance(data, Resident) and data.batch_size is None:
      return fn(state, data.arrays)
    batch = read_sweep_batch(data, 0) if isinstance(data, Stream) else sweep_batch_at(data, data.arrays, 0)
    one = jax.eval_shape(fn, state, batch)
    return jax.tree.map(lambda x: jnp.zeros((n_rows(data), *x.shape[1:]), x.dtype), one)

  return jax.eval_shape(lambda s: _strong(stage.enter(s, sweep)), state)


def _zeros(tree: Any) -> Any:
  return jax.tree.map(jnp.zeros_like, tree)


def _shardings_of(tree: Any) -> Any:
  return jax.tree.map(lambda x: x.sharding, tree)


def _select(chosen: jax.Array, new: Any, old: Any) -> Any:
  """Leafwise `where(chosen, new, old)`; `chosen` is a scalar or [replicas], broadcast from the left."""

  def one(x, y):
    return jnp.where(chosen.reshape(chosen.shape + (1,) * (jnp.ndim(x) - chosen.ndim)), x, y)

  return jax.tree.map(one, new, old)


def _strong(tree: Any) -> Any:
  """Strips weak types, which would make the first and second call of a step two programs."""

  def strong(x):
    x = jnp.asarray(x)
    is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended)
    return x if is_key else jax.lax.convert_element_type(x, x.dtype)

  return jax.tree.map(strong, tree)
