"""From data to batches: what a step, a sweep and an eval see, the same for every kind of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vita_jax.data.resident import Resident, batch_at, check, n_rows, n_sweep_batches, sweep_batch_at
from vita_jax.data.stream import Stream
from vita_jax.train.experiment import Experiment, Stage, Sweep

Data = Resident | Stream


def per_replica(data: Data) -> bool:
  """Returns whether each replica draws its own rows: then a replicated batch has a leading replica axis."""
  return data.batch_size is not None and data.order == "shuffled"


def stage_data(stage: Stage) -> dict[str, Data]:
  """Returns all data of a stage by name: `data` and the entries of `also`."""
  return {"data": stage.data, **stage.also}


def check_data(experiment: Experiment) -> None:
  """Refuses data of stages that cannot be batched.

  Raises:
    ValueError: see `vita_jax.data.check`.
  """
  for stage in experiment.stages:
    for data in stage_data(stage).values():
      check(data)


def spec(data: Data) -> Data:
  """Returns the hashable, static part of some data: without its arrays or its source."""
  if isinstance(data, Resident):
    return data._replace(arrays=None)  # type: ignore[arg-type]  # no dict: it must be hashable
  return data._replace(source=None, transform=None, buckets=None)


def row_layout(data: Data, *, replicated: bool) -> P:
  """Returns how rows of a batch lie on a mesh: over its axis `data`, and each replica's own over `seed`."""
  return P("seed", "data") if replicated and per_replica(data) else P("data")


def train_batch(
  specs: Mapping[str, Data],
  arrays: Mapping[str, Any],
  streamed: Mapping[str, Any],
  seeds: jax.Array,
  t: jax.Array,
  mesh: jax.sharding.Mesh | None = None,
) -> dict[str, Any]:
  """Returns batch number `t`: the rows of `data`, and those of `also[name]` under their name. Traced.

  `arrays` holds the Resident arrays by name, `streamed` the batches of Stream data, read on the host.
  `seeds` is one seed, or [replicas] of them. On a mesh, rows are laid out over its axis `data`.
  """

  def rows(name: str, data: Data) -> Any:
    if isinstance(data, Stream):
      return streamed[name]
    data = data._replace(arrays=arrays[name])

    def one(seed: jax.Array) -> dict[str, Any]:
      return batch_at(data, data.arrays, seed, t)

    if per_replica(data) and seeds.ndim:
      return jax.vmap(one)(seeds)
    return one(jnp.zeros_like(seeds, shape=()) if data.order == "shared" else seeds.ravel()[0])

  def laid_out(data: Data, batch: Any) -> Any:
    if mesh is None or mesh.size == 1 or data.batch_size is None:
      return batch
    layout = row_layout(data, replicated=seeds.ndim > 0)
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, layout))

  batches = {name: laid_out(data, rows(name, data)) for name, data in specs.items()}
  return {**batches.pop("data"), **batches}


def resident_sweep(specs: Mapping[str, Data], arrays: Mapping[str, Any]) -> Sweep:
  """Returns `sweep(fn, state, over="data")` as a map inside a compiled program (Resident data only)."""

  def sweep(fn: Callable[..., Any], state: Any, over: str = "data") -> Any:
    data = specs[over]
    if not isinstance(data, Resident):
      raise TypeError(f"the data '{over}' is a Stream, which no compiled program can sweep")
    data = data._replace(arrays=arrays[over])
    if data.batch_size is None:
      return fn(state, data.arrays)
    outputs = jax.lax.map(
      lambda i: fn(state, sweep_batch_at(data, data.arrays, i)), jnp.arange(n_sweep_batches(data))
    )
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[: n_rows(data)], outputs)

  return sweep
