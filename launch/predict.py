"""Labels and probabilities for a user's own data.

python launch/predict.py --workdir=DIR --data=my.npz --out=P.npz
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import flags

from vita_jax import cli

WORKDIR = cli.define_workdir()
DATA = flags.DEFINE_string("data", None, "File to predict, see the paper's README.", required=True)
OUT = flags.DEFINE_string("out", None, "The npz file to write.", required=True)
SEED = flags.DEFINE_integer("seed", None, "Seed whose weights are used; default: the run's first.")


def main() -> None:
  import jax

  if not OUT.value.endswith(".npz") or not Path(OUT.value).resolve().parent.is_dir():
    raise ValueError(f"--out={OUT.value} must be a .npz file in a folder that exists")
  exported, seed = cli.exported(WORKDIR.value, SEED.value)
  inputs = exported.read(DATA.value)
  outputs = jax.device_get(jax.jit(lambda p, x: exported.program(p, **x))(exported.params, inputs))
  np.savez_compressed(OUT.value, **outputs)
  shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in outputs.items())
  print(f"{OUT.value}: {shapes} (weights of seed {seed})")


if __name__ == "__main__":
  cli.run(main)
