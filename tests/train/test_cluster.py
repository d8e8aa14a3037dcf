"""One process alone: every word of `cluster` returns at once; and who is recognised as a launcher."""

import json
import os
import re
import threading

import numpy as np
import pytest
from launch.commands import FORKS, PATIENCE

from train import tiny
from vita_jax import train
from vita_jax.data import Stream
from vita_jax.train import cluster


@pytest.mark.parametrize(
  ("environ", "kind"),
  [
    ({}, "none"),
    ({"SLURM_JOB_ID": "3", "SLURM_NTASKS": "4"}, "none"),  # the batch script itself, outside srun
    ({"SLURM_JOB_ID": "3", "SLURM_STEP_NUM_TASKS": "1"}, "none"),
    ({"SLURM_JOB_ID": "3", "SLURM_STEP_NUM_TASKS": "4"}, "slurm"),
    ({"OMPI_COMM_WORLD_SIZE": "2"}, "ompi"),
    ({"OMPI_COMM_WORLD_SIZE": "1"}, "none"),
    ({"TPU_WORKER_HOSTNAMES": "a,b"}, "tpu"),
    ({"TPU_WORKER_HOSTNAMES": "a"}, "none"),
  ],
)
def test_the_launcher_is_known_by_its_environment(environ, kind):
  assert cluster.launcher(environ) == kind


def test_alone_everything_is_agreed_at_once():
  cluster.join()
  assert not cluster.joined() and cluster.is_main()
  np.testing.assert_array_equal(cluster.gather([1, 2]), [[1, 2]])
  assert cluster.all_agree(True) and not cluster.all_agree(False)
  done = []
  cluster.on_main(lambda: done.append(1))
  cluster.announce("nobody hears this")
  cluster.leave()
  assert done == [1]


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    ({"coordinator": "a:1"}, "needs all of --coordinator, --num_processes and --process_id"),
    ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "is not in 0 ... 1"),
    ({"coordinator": "a", "num_processes": 2, "process_id": 0}, "is not HOST:PORT"),
  ],
)
def test_a_process_by_hand_is_checked(flags, words):
  with pytest.raises(ValueError, match=words):
    cluster.join(**flags)


def _looks(says, *, seconds):
  """What a watch finds that looks once a second, while two processes say `says(second)`; "" if nothing."""
  watch = cluster.Watch(2, patience=10, busy=100, now=0)
  for second in range(seconds):
    beats = {i: json.dumps(cluster.Told(*told)) for i, told in enumerate(says(second)) if told}
    if cause := watch.look(beats, second):
      return second, cause
  return None, ""


def test_the_watchdog_lets_runs_go_on_that_make_steps_or_say_what_they_do():
  assert _looks(lambda s: [(s, s // 9, "", 0, 0.0)] * 2, seconds=500)[1] == ""
  assert _looks(lambda s: [(s, 7, "compile", 0, 0.0), (s, 7, "", 0, 0.0)], seconds=99)[1] == ""
  # An evaluation of any length, batch by batch; and a step as slow as ten of those before.
  assert _looks(lambda s: [(s, 7, "evaluate", s // 90, 0.0)] * 2, seconds=900)[1] == ""
  assert _looks(lambda s: [(s, s // 40, "", 0, 45.0)] * 2, seconds=500)[1] == ""


@pytest.mark.parametrize(
  ("says", "second", "words"),
  [
    (lambda s: [(s, s, "", 0, 0.0), None], 11, "process 1 was not heard from for 10 s"),
    (lambda s: [(s, s, "", 0, 0.0), (min(s, 5), 3, "save", 0, 0.0)], 16, "process 1 was not heard from for"),
    (
      lambda s: [(s, 4, "", 0, 0.0), (s, 3, "", 0, 0.0)],
      11,
      "no process made a step for 10 s (process 0 at step 4, process 1 at step 3): they wait for each other",
    ),
    (
      lambda s: [(s, 4, "evaluate", 1, 0.0), (s, 4, "", 1, 0.0)],
      101,
      "no progress for 100 s (process 0 is busy with 'evaluate'): one hangs, or needs more --busy_seconds",
    ),
  ],
)
def test_the_watchdog_ends_runs_that_are_silent_or_stand_still(says, second, words):
  found, cause = _looks(says, seconds=300)
  assert words in cause and found == second


def test_the_rule_that_spreads_cuts_the_longest_axis_that_divides():
  import jax
  from jax.sharding import PartitionSpec as P

  from vita_jax.train.shardings import Spread, spread, with_leading

  class Mesh:
    shape = {"data": 4, "seed": 2}

  rule = spread("data")
  assert isinstance(rule, Spread)
  assert rule.spec((8, 16), Mesh) == P(None, "data") and rule.spec((16, 8), Mesh) == P("data")
  assert (
    rule.spec((6, 8), Mesh) == P(None, "data") and rule.spec((3,), Mesh) == P() and rule.spec((), Mesh) == P()
  )
  lifted = with_leading(rule, "seed")
  assert lifted.spec((2, 8, 16), Mesh) == P("seed", None, "data") and lifted.spec((2,), Mesh) == P("seed")
  assert with_leading(P("model"), "seed") == P("seed", "model")
  assert train.base_config().mesh.data == -1 and jax.process_count() == 1


@pytest.mark.parametrize(
  ("told", "words"),
  [
    (
      (7, "evaluate"),
      "no progress for 100 s .this process is busy with 'evaluate'.: it hangs, or needs more",
    ),
    ((7, ""), "no process made a step for 10 s .this process at step 7.: it hangs, or needs more --watchdog"),
  ],
)
def test_a_process_alone_is_watched_too(told, words):
  watch = cluster.Watch(1, patience=10, busy=100, now=0)
  said = [watch.look({0: json.dumps(cluster.Told(s, *told, 0, 0.0))}, s) for s in range(110)]
  assert re.match(words, next(filter(None, said)))


class Blocks:
  """Rows of which none ever comes, from the second look on: the first is for the digest of the data."""

  def __len__(self):
    return 1

  def __getitem__(self, i):
    if threading.current_thread() is not threading.main_thread() or cluster._beat.doing == "evaluate":
      threading.Event().wait()
    return {"x": np.float32(1)}


def _hang(workdir, errors):
  """What a fork does: a run whose evaluation waits for data for good."""
  os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
  cluster.join(watchdog_seconds=1, busy_seconds=3)
  experiment = tiny.experiment()
  evaluation = experiment.evals["all"]._replace(data=Stream(Blocks(), 1))
  train.run(experiment._replace(evals={"all": evaluation}), tiny.get_config(), workdir)


def test_an_evaluation_that_hangs_ends_the_only_process_with_a_line(tmp_path):
  errors = tmp_path / "errors"
  process = FORKS.Process(target=_hang, args=(str(tmp_path / "W"), str(errors)))
  process.start()
  process.join(PATIENCE)
  process.kill()
  (line,) = [line for line in errors.read_text().splitlines() if line.startswith("error: ")]
  assert process.exitcode == 1
  assert "this process is busy with 'evaluate'" in line and "the same command resumes the run" in line
