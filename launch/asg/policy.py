"""Draws the multipliers that a controller gave each group of layers over training, from a finished run.

  python launch/asg/policy.py --workdir=runs/asg/emoji
  python launch/asg/policy.py --workdir=runs/asg/emoji --seed_number=2 --out=policy.png

The run is one of a method that decides, asg or random_policy. Its policy.csv has a line for each decision:
the step, what the controller saw (means over the window before: loss, KL, progress, mean and deviation of the
last layer's weights), and the multiplier of each group, 0 (frozen) to 1. The picture shows groups from the
input down against steps. Of several seeds --seed_number chooses one, 0 the first.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from vita_jax import cli
from vita_jax.report.layerwise import policy_figure, read_policy
from vita_jax.report.pictures import save_figure

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.", required=True)
NUMBER = flags.DEFINE_integer("seed_number", 0, "Which of the run's seeds.", lower_bound=0)
OUT = flags.DEFINE_string("out", None, "PNG file to write; default: policy.png in the workdir.")


def main() -> None:
  folder = Path(WORKDIR.value).expanduser()
  if not folder.is_dir():
    raise FileNotFoundError(f"no folder {folder}: --workdir takes that of a finished run")
  places = [folder / f"policy_{NUMBER.value}.csv", *([folder / "policy.csv"] if not NUMBER.value else [])]
  file = next((path for path in places if path.is_file()), None)
  if file is None:
    raise FileNotFoundError(
      f"no {places[-1].name} in {folder}: give a finished run of configs/asg/*.py:asg or :random_policy, with"
      " that many seeds"
    )
  steps, multipliers, names = read_policy(file)
  out = Path(OUT.value).expanduser() if OUT.value else folder / "policy.png"
  save_figure(out, lambda: policy_figure(steps, multipliers, names))
  means = ", ".join(f"{name} {mean:.2f}" for name, mean in zip(names, multipliers.mean(0), strict=True))
  print(f"{out}: {len(steps)} decisions; mean multipliers: {means}")


if __name__ == "__main__":
  cli.run(main)
