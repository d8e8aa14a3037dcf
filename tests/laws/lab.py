"""One row of the table, built and compiled once for all laws: compiling is most of their time."""

import functools
from pathlib import Path

import jax
import numpy as np

from laws.table import ROWS
from vita_jax import train
from vita_jax.data.resident import Resident
from vita_jax.data.stream import read_batch
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import Programs

LENGTHS = (50, 5, 2)  # of chunks


class Lab:
  """`single`, `vmap` and `map`: the row as a single run and as two replicas, each with its programs."""

  def __init__(self, name: str, folder: Path):
    self.name, self.row, self.folder = name, ROWS[name], folder

  @functools.cached_property
  def single(self):
    return Bench(self.config(), self.row.build(self.config()))

  @functools.cached_property
  def vmap(self):
    return Bench(self.config(seeds=2), train.replicate(self.single.experiment, 2))

  @functools.cached_property
  def map(self):
    return Bench(self.config(seeds=2), train.replicate(self.single.experiment, 2, "map"))

  def config(self, **overrides):
    config = self.row.config(self.folder)
    config.update(overrides)
    return config

  @functools.cached_property
  def trained(self):
    """[(exported weights as bytes, steps traced so far)] of whole runs with chunks of the `LENGTHS`.

    The first is observed by every eval often and reports, the others are not observed at all.
    """
    experiment, traces, found = self.single.experiment, [], []

    def counted(step):
      return lambda *args: (traces.append(0), step(*args))[1]

    experiment = experiment._replace(
      stages=tuple(stage._replace(step=counted(stage.step)) for stage in experiment.stages)
    )
    programs = Programs(experiment, make_mesh(self.config().mesh), on_nonfinite="stop")
    observed = experiment._replace(evals={k: e._replace(every=3) for k, e in experiment.evals.items()})
    alone = experiment._replace(evals={}, report=None)
    for one, length in zip((observed, alone, alone), LENGTHS, strict=True):
      workdir = self.folder / f"length_{length}"
      train.run(one, self.config(steps_per_call=length), workdir, quiet=True, programs=programs)
      found.append(((workdir / "export" / "params.safetensors").read_bytes(), len(traces)))
    return found


class Bench:
  """An experiment with its programs on the devices there are."""

  def __init__(self, config, experiment):
    self.config, self.experiment = config, experiment
    self.programs = Programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")

  @functools.cached_property
  def stepped(self):
    """The state of seed 0, or of seeds 0 and 1, after 4 steps of every stage."""
    replicas = self.experiment.replicas
    return self.steps(np.arange(replicas, dtype=np.uint32) if replicas else np.uint32(0))

  def steps(self, seeds, n=4):
    """`n` steps of every stage, one at a time, without the loop."""
    seeds = self.programs.place(seeds)
    state = self.programs.init(seeds)
    for stage in self.experiment.stages:
      state = self.programs.enter(stage, state)
      single, cursor = self.programs.single(stage, state), self.programs.cursor()
      for t in range(n):
        streamed = {}
        if not isinstance(stage.data, Resident):
          streamed = {"data": read_batch(stage.data, np.asarray(seeds).tolist(), t)}
        state, cursor, _ = single(state, seeds, cursor, streamed)
    return jax.block_until_ready(state)
