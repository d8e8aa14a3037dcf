"""Trains a small estimator on few real hands and many generated ones, and says what those are worth.

  python launch/mm_hand/augment.py --runs=runs/mm_hand/mm_hand,runs/mm_hand/pix2pix --out=augment.json

Each run is the folder of a finished one of configs/mm_hand, or its parts of one seed each; all have the same
hands. Sets: --real pictures with nothing, with classical augmentation, with --more pictures of each run's
generator in new poses, and with as many true renderings of these poses, the ceiling. The estimator has four
convolutions and --steps steps on every set; numbers are of the held-out hands, in pixels of 224, and of PCK
from 0 to 30 pixels of 256, one for each seed, and differences are paired by seed. Each seed is a generator of
the runs, with other real hands and another estimator; --seeds beyond those take the generators in turn again.
The generators have learned from all training hands, of which the estimator sees --real: what they add is
knowledge of those, and the ceiling says how much there is to add.
Time: 45 seconds for each set and seed on one CPU core; three more sets than there are runs.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from vita_jax import cli
from vita_jax.base.files import write_json

RUNS = flags.DEFINE_list("runs", None, "Folders of finished runs of configs/mm_hand.", required=True)
OUT = flags.DEFINE_string("out", None, "JSON file to write.", required=True)
REAL = flags.DEFINE_integer("real", 100, "Real pictures in every set.", lower_bound=1)
MORE = flags.DEFINE_integer("more", 400, "Further pictures.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 1000, "Steps of the estimator.", lower_bound=1)
SEEDS = flags.DEFINE_integer(
  "seeds", 0, "Estimators on each set; default: one for each generator.", lower_bound=0
)


def main() -> None:
  if not Path(OUT.value).expanduser().resolve().parent.is_dir():
    raise ValueError(f"--out={OUT.value} must be a file in a folder that exists")
  from vita_jax.papers.mm_hand.data import read_inputs
  from vita_jax.papers.mm_hand.downstream import as_json, compare, drawn_by, table
  from vita_jax.papers.mm_hand.recipe import recipe_of
  from vita_jax.train.runs import find_runs

  config, runs = find_runs(RUNS.value)
  inputs = read_inputs(recipe_of(config))
  arms = {
    label: [drawn_by(cli.exported(str(folder), seed)[0]) for folder, seed in parts]
    for label, parts in runs.items()
  }
  found = compare(inputs, arms, real=REAL.value, more=MORE.value, steps=STEPS.value, seeds=SEEDS.value)
  counts = {"real": REAL.value, "more": MORE.value, "steps": STEPS.value, "seeds": SEEDS.value}
  settings = {**counts, "runs": RUNS.value}
  write_json(OUT.value, as_json(found, **settings))
  print(f"\n{table(found)}\n\n{table(found, metric='pose_error')}\n\n{OUT.value}: all of it")


if __name__ == "__main__":
  cli.run(main)
