"""Predicts labels, scores or answers for a user's own data.

python launch/predict.py --workdir=DIR --data=my.npz --out=P.npz
"""

from __future__ import annotations

from pathlib import Path

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
  exported, seed = cli.exported(WORKDIR.value, SEED.value)
  outputs = run_program(exported, exported.read(DATA.value))
  if exported.decode:
    outputs = {**outputs, **exported.decode(DATA.value, outputs)}
  write_npz(OUT.value, outputs)
  shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in outputs.items())
  print(f"{OUT.value}: {shapes} (weights of seed {seed})")


if __name__ == "__main__":
  cli.run(main)
