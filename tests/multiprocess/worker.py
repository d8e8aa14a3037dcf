"""One process of a run of an experiment of tests/laws/table.py: what launch/train.py does with a paper's.

python tests/multiprocess/worker.py --row=digits_stream --workdir=DIR --overrides='{"mesh.data": 4}'
"""

import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from absl import flags  # noqa: E402

from vita_jax import cli  # noqa: E402

ROW = flags.DEFINE_string("row", None, "Name in tests/laws/table.py, or wide.", required=True)
OVERRIDES = flags.DEFINE_string("overrides", "{}", "JSON: config.NAME -> value.")
LATE = flags.DEFINE_float("late", 0.0, "Seconds to wait before joining.")
FAIL_AT = flags.DEFINE_integer("fail_at", None, "Raise when this process reads that batch of a stream.")
STALL_AT = flags.DEFINE_integer("stall_at", None, "Wait for ever when this process reads that row.")
STALL_IN = flags.DEFINE_enum("stall_in", None, ["evaluate", "report"], "Wait for ever in one of these.")
UNLIKE = flags.DEFINE_enum("unlike", None, ["data", "version", "code"], "What this process has otherwise.")
WORKDIR = cli.define_workdir()
join = cli.define_cluster()


def main() -> None:
  time.sleep(LATE.value)
  join()
  from laws.table import ROWS

  from multiprocess import wide
  from vita_jax import train
  from vita_jax.train import cluster

  workdir = Path(WORKDIR.value)
  row = {**ROWS, "wide": wide.ROW}[ROW.value]
  folder = workdir.parent / "files"  # of every process alike
  folder.mkdir(parents=True, exist_ok=True)
  config = row.config(folder)
  config.update_from_flattened_dict(json.loads(OVERRIDES.value))
  experiment = row.build(config)
  if FAIL_AT.value is not None or STALL_AT.value is not None:
    experiment = _failing(experiment)
  if STALL_IN.value:
    experiment = _stalling(experiment)
  if UNLIKE.value:
    experiment = _unlike(experiment)
  if config.seeds > 1:
    experiment = train.replicate(experiment, config.seeds, config.replicate)
  summary = train.run(experiment, config, workdir)
  cli.print_summary(summary, WORKDIR.value)
  cluster.leave()


def _failing(experiment):
  """The experiment, whose streamed rows cannot be read once FAIL_AT of them were, or never come."""
  count = 0

  def transform(row, rng):
    del rng
    nonlocal count
    count += 1
    if FAIL_AT.value is not None and count > FAIL_AT.value:
      raise OSError("the disk of this process is gone")
    if STALL_AT.value is not None and count > STALL_AT.value:
      time.sleep(10_000)
    return row

  stages = tuple(s._replace(data=s.data._replace(transform=transform)) for s in experiment.stages)
  return experiment._replace(stages=stages)


def _stalling(experiment):
  """The experiment, whose evaluation or report never ends in a process that has --stall_in."""
  if STALL_IN.value == "report":
    return experiment._replace(report=lambda *_: time.sleep(10_000))
  (one,) = experiment.evals.values()

  def evaluate(state, batch):
    time.sleep(10_000)  # while it is traced: as good as any other moment
    return one.step(state, batch)

  return experiment._replace(evals={"test": one._replace(step=evaluate)})


def _unlike(experiment):
  """The experiment with other data; or a process that says that it has another version or other code."""
  from vita_jax.train import identity

  if UNLIKE.value == "version":
    real = identity.versions()
    identity.versions = lambda: {**real, "jax": "0.0.1"}
  elif UNLIKE.value == "code":
    identity._code_digest = lambda: "0" * 16
  else:
    (stage,) = experiment.stages
    data = stage.data._replace(arrays={**stage.data.arrays, "image": stage.data.arrays["image"] * 2})
    return experiment._replace(stages=(stage._replace(data=data),))
  return experiment


if __name__ == "__main__":
  cli.run(main)
