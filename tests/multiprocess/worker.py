"""One process of a run of an experiment of tests/laws/table.py: what launch/train.py does with a paper's.

python tests/multiprocess/worker.py --row=digits_stream --workdir=DIR --overrides='{"mesh.data": 4}'
"""

import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import cli  # noqa: E402
from absl import flags  # noqa: E402

ROW = flags.DEFINE_string("row", None, "Name in tests/laws/table.py, or wide.", required=True)
OVERRIDES = flags.DEFINE_string("overrides", "{}", "JSON: config.NAME -> value.")
LATE = flags.DEFINE_float("late", 0.0, "Seconds to wait before joining.")
FAIL_AT = flags.DEFINE_integer("fail_at", None, "Raise when this process reads that batch of a stream.")
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
  if FAIL_AT.value is not None:
    experiment = _failing(experiment)
  if config.seeds > 1:
    experiment = train.replicate(experiment, config.seeds, config.replicate)
  summary = train.run(experiment, config, workdir)
  cli.print_summary(summary, WORKDIR.value)
  cluster.leave()


def _failing(experiment):
  """The experiment, whose streamed rows cannot be read once FAIL_AT batches have been."""
  count = 0

  def transform(row, rng):
    del rng
    nonlocal count
    count += 1
    if count > FAIL_AT.value:
      raise OSError("the disk of this process is gone")
    return row

  stages = tuple(s._replace(data=s.data._replace(transform=transform)) for s in experiment.stages)
  return experiment._replace(stages=stages)


if __name__ == "__main__":
  cli.run(main)
