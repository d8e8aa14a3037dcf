"""The compiled programs: each is traced once, and runs may share them."""

import jax
import numpy as np
import pytest

from train import tiny
from vita_jax import train
from vita_jax.train import cluster
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import Programs


def _counted(experiment):
  traces = []
  stages = tuple(
    stage._replace(step=lambda *args, step=stage.step: (traces.append(0), step(*args))[1])
    for stage in experiment.stages
  )
  return experiment._replace(stages=stages), traces


def test_runs_that_share_programs_trace_a_step_once(tmp_path):
  experiment, traces = _counted(tiny.experiment())
  config = tiny.get_config()
  programs = Programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")

  def run(name):
    return train.run(experiment, config, tmp_path / name, quiet=True, programs=programs)["metrics"]

  first, traced = run("first"), len(traces)
  assert run("second") == first and len(traces) == traced > 0


def test_a_chunk_and_single_steps_reach_the_same_state():
  programs = Programs(tiny.experiment(), make_mesh(tiny.get_config().mesh), on_nonfinite="stop")
  (stage,), seed, found = programs.experiment.stages, programs.place(np.uint32(1)), []
  for kind in ("chunk", "single"):
    state, cursor = programs.init(seed), programs.cursor()
    run = getattr(programs, kind)(stage, state)
    if kind == "chunk":
      state, cursor, _ = run(state, seed, cursor, programs.place(np.int32(5)))
    else:
      for _ in range(5):
        state, cursor, _ = run(state, seed, cursor, {})
    found.append((int(cursor.at), int(cursor.bad), np.asarray(state["params"]["w"]).tobytes()))
  assert found[0] == found[1] and found[0][:2] == (5, 0)


def test_an_array_is_sent_once():
  programs = Programs(tiny.experiment(), make_mesh(tiny.get_config().mesh), on_nonfinite="stop")
  assert programs.place(tiny.ROWS) is programs.place(tiny.ROWS)
  assert isinstance(programs.place(tiny.ROWS), jax.Array)


def test_an_unknown_policy_is_refused():
  with pytest.raises(ValueError, match="unknown config.on_nonfinite 'ignore'.*stop, skip"):
    Programs(tiny.experiment(), make_mesh(tiny.get_config().mesh), on_nonfinite="ignore")


def test_evaluations_and_sweeps_tell_the_watchdog_of_every_batch():
  experiment = tiny.experiment()
  evals = {"all": experiment.evals["all"]._replace(data=tiny.data("stream", 3))}  # 10 rows: four batches
  programs = Programs(
    experiment._replace(evals=evals), make_mesh(tiny.get_config().mesh), on_nonfinite="stop"
  )
  state, told = programs.init(programs.place(np.uint32(1))), [cluster._beat.pieces]
  for action in (
    lambda: programs.evaluate("all", state),
    lambda: programs.sweep(lambda state, batch: batch["x"], state, "all"),
  ):
    action()
    told.append(cluster._beat.pieces)
  assert np.diff(told).min() >= 4
