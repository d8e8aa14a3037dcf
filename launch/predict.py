"""Predicts labels, scores, answers or keypoints for a user's own data.

python launch/predict.py --workdir=DIR --data=my.npz --out=P.npz

Models of pictures write what a user looks at, e.g. drawings, to the folder P, too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import flags

from vita_jax import cli
from vita_jax.base.files import write_npz
from vita_jax.train.program_file import run_program

WORKDIR = cli.define_workdir()
DATA = flags.DEFINE_string("data", None, "File to predict, see the paper's README.", required=True)
OUT = flags.DEFINE_string("out", None, "The npz file to write.", required=True)
SEED = flags.DEFINE_integer("seed", None, "Seed whose weights are used; default: the run's first.")


def main() -> None:
  if not OUT.value.endswith(".npz") or not Path(OUT.value).resolve().parent.is_dir():
    raise ValueError(f"--out={OUT.value} must be a .npz file in a folder that exists")
  if Path(OUT.value).resolve() == Path(DATA.value).expanduser().resolve():
    raise ValueError(
      f"--out={OUT.value} is the file of --data, which would be overwritten: give another name"
    )
  if not Path(DATA.value).expanduser().exists():  # now, and not when the model is built
    raise FileNotFoundError(f"no file {DATA.value}; check the path")
  exported, seed = cli.exported(WORKDIR.value, SEED.value)
  outputs = run_program(exported, exported.read(DATA.value))
  if exported.decode:
    outputs = {**outputs, **exported.decode(DATA.value, outputs)}
  for name, values in outputs.items():
    if values.dtype.kind == "f" and np.isnan(values).any():  # a label of it would be a number of nothing
      row = int(np.argwhere(np.isnan(values))[0][0]) if values.ndim else 0
      raise ValueError(
        f"{name} of row {row} of {DATA.value} is NaN: the model cannot take what that row holds"
      )
  write_npz(OUT.value, outputs)
  shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in outputs.items())
  print(f"{OUT.value}: {shapes} (weights of seed {seed})")
  if exported.save:
    folder = Path(OUT.value).with_suffix("")
    folder.mkdir(exist_ok=True)
    print(f"{folder}: {exported.save(DATA.value, outputs, folder)}")


if __name__ == "__main__":
  cli.run(main)
