"""A few steps of experiments of the table on 1 or 2 CPU devices: on_devices.py N FOLDER OUT.json NAME ..."""

import json
import sys
from pathlib import Path

from vita_jax.train.mesh import use_cpu_devices

sys.path.insert(0, str(Path(__file__).parents[1]))


def main(devices: int, folder: Path, out: Path, names: list[str]) -> None:
  use_cpu_devices(devices)
  from laws.table import ROWS
  from vita_jax import train

  found = {}
  for name in names:
    row = ROWS[name]
    config = row.config(folder)
    config.seeds = 2
    if devices == 2:
      config.mesh.update(row.mesh)
    experiment = train.replicate(row.build(config), 2)
    stages = tuple(s._replace(steps=min(s.steps, 5)) for s in experiment.stages)
    workdir = folder / f"{name}_{devices}"
    train.run(experiment._replace(stages=stages, report=None), config, workdir, quiet=True)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["split"] == "train"][-1]
    found[name] = last["metrics"]
  out.write_text(json.dumps(found))


if __name__ == "__main__":
  main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
