"""Draws tested hands by several runs side by side: source, target pose, what each run draws, truth.

  python launch/mm_hand/sheet.py --runs=runs/mm_hand/mm_hand,runs/mm_hand/pix2pix --out=arms.png

Each run is the folder of a finished one of configs/mm_hand, or its parts of one seed each; all have the same
hands. --rows of them are spread evenly over the test; after these come --failures, the hands of which the
first run's drawing is farthest from the pose, by the full landmark network.
Time: 70 seconds of one CPU core for four runs.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from absl import flags

from vita_jax import cli

RUNS = flags.DEFINE_list("runs", None, "Folders of finished runs of configs/mm_hand.", required=True)
OUT = flags.DEFINE_string("out", None, "PNG file to write.", required=True)
HANDS = flags.DEFINE_enum("hands", "test", ["test", "identities"], "New poses, or new identities as well.")
ROWS = flags.DEFINE_integer("rows", 6, "Hands spread over the test.", lower_bound=1)
FAILURES = flags.DEFINE_integer("failures", 2, "Failures of the first run after them.", lower_bound=0)
SEED = flags.DEFINE_integer("seed", None, "Seed whose weights draw; default: the runs' first.")


def main() -> None:
  out = Path(OUT.value).expanduser()
  if out.suffix != ".png" or not out.resolve().parent.is_dir():
    raise ValueError(f"--out={OUT.value} must be a .png file in a folder that exists")
  import numpy as np

  from vita_jax.hands.judges import landmark_judge, pose_numbers
  from vita_jax.papers.mm_hand.data import read_inputs
  from vita_jax.papers.mm_hand.downstream import drawn_by, drawn_pairs
  from vita_jax.papers.mm_hand.recipe import recipe_of
  from vita_jax.papers.mm_hand.report import sheet
  from vita_jax.report.pictures import save_figure
  from vita_jax.train.runs import find_runs

  config, runs = find_runs(RUNS.value)
  tests = read_inputs(recipe_of(config)).tests
  if HANDS.value not in tests:
    raise ValueError(f"--hands={HANDS.value}: these runs are tested on {', '.join(tests)} alone")
  pairs, drawn = tests[HANDS.value], {}
  for label, parts in runs.items():
    seed = parts[0][1] if SEED.value is None else SEED.value
    folder = dict((seed, folder) for folder, seed in parts).get(seed, parts[0][0])
    drawn[label] = drawn_pairs(pairs, drawn_by(cli.exported(str(folder), seed)[0]))
  rows = np.unique(np.linspace(0, len(pairs["image"]) - 1, ROWS.value).astype(int))
  if FAILURES.value:
    _, errors = pose_numbers(landmark_judge(), next(iter(drawn.values())), pairs["uv"])
    worst = np.argsort(-errors, kind="stable")
    rows = np.concatenate([rows, worst[~np.isin(worst, rows)][: FAILURES.value]])
  columns = {"source": pairs["source"], **drawn, "truth": pairs["image"]}
  if save_figure(out, partial(sheet, columns, pairs["uv"], rows)):
    print(f"{out}: {len(rows)} hands, rows {', '.join(map(str, rows))} of '{HANDS.value}'")


if __name__ == "__main__":
  cli.run(main)
