"""Devices as a mesh with the axes `seed`, `data`, `model`, and which layouts an experiment can have."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import AxisType

from vita_jax.train.experiment import Experiment

AXES = ("seed", "data", "model")


def use_cpu_devices(n: int) -> None:
  """Makes JAX run on the CPU split into `n` devices; must be called before JAX is first used."""
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", n)


def make_mesh(layout: Mapping[str, int]) -> jax.sharding.Mesh:
  """A mesh over all devices; the axis given as -1 takes what is left.

  Raises:
    ValueError: the product of the axes is not the number of devices.
  """
  sizes = [int(layout[axis]) for axis in AXES]
  devices, known = jax.device_count(), int(np.prod([s for s in sizes if s != -1]))
  if sizes.count(-1) == 1 and known > 0 and devices % known == 0:
    sizes[sizes.index(-1)] = devices // known
  if -1 in sizes or int(np.prod(sizes)) != devices:
    shown = " x ".join(f"{axis}={layout[axis]}" for axis in AXES)
    raise ValueError(
      f"config.mesh {shown} does not cover the {devices} device(s): their product must be {devices}"
      " (-1 on one axis fills what is left; --cpu_devices=N splits a CPU)"
    )
  # Auto axes: jax.make_mesh defaults to Explicit, under which gathers and segment sums fail.
  return jax.make_mesh(tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def check_layout(mesh: jax.sharding.Mesh, experiment: Experiment, how: str) -> None:
  """Refuses, before anything is compiled, a layout that an experiment cannot have.

  Raises:
    ValueError: replicas or batches that do not divide by their mesh axis.
  """
  seeds, data = mesh.shape["seed"], mesh.shape["data"]
  replicas = experiment.replicas or 1
  if replicas % seeds:
    raise ValueError(f"config.mesh.seed={seeds} does not divide config.seeds={replicas}")
  if how == "map" and experiment.replicas and seeds > 1:
    raise ValueError(
      "config.replicate='map' runs seeds one after the other: set config.mesh.seed=1 or 'vmap'"
    )
  for stage in experiment.stages:
    if stage.steps > 2**31 - 1:
      raise ValueError(f"stage '{stage.name}' has {stage.steps} steps: at most {2**31 - 1} can be counted")
    size = stage.data.batch_size
    if size is not None and size % data:
      raise ValueError(
        f"config.mesh.data={data} does not divide the batch size {size} of stage '{stage.name}'"
      )
