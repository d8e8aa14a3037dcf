"""The step of adversarial logos that `make gpu` times: NanoDet on photographs of noise with a mannequin."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.one_step import Step, of_config


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: two pictures, for a CPU."""
  pictures = 2 if small else 16
  folder = Path(tempfile.mkdtemp(prefix="vita_jax_noise_"))
  for i in range(pictures + 1):
    noise = np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / f"{i}.png")
  settings = {
    "bodies.path": "mannequin",
    "bodies.train": (),
    "bodies.test": (),
    "backgrounds.path": str(folder),
    "backgrounds.train": pictures,
    "backgrounds.test": 1,
    "train.pictures": pictures,
    "train.every": 10.0,
    "test.angles": (0.0,),
  }
  return [Step(f"adv_logo, NanoDet, {pictures} pictures", of_config("adv_logo/person.py:logo", **settings))]
