"""The step of adversarial logos that `make gpu` times: NanoDet on pictures of noise with a mannequin."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.one_step import Step, of_config


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: two pictures, for a CPU."""
  pictures = 2 if small else 16
  return [Step(f"adv_logo, NanoDet, {pictures} pictures", functools.partial(_make, pictures))]


def _make(pictures: int) -> tuple:
  """What `Step.make` returns; the photographs are read while the folder is there."""
  with tempfile.TemporaryDirectory() as folder:
    for i in range(pictures + 1):
      noise = np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)
      Image.fromarray(noise).save(Path(folder) / f"{i}.png")
    settings = {
      "bodies.path": "mannequin",
      "bodies.train": (),
      "bodies.test": (),
      "backgrounds.path": folder,
      "backgrounds.train": pictures,
      "backgrounds.test": 1,
      "train.pictures": pictures,
      "train.every": 10.0,
      "test.angles": (0.0,),
    }
    return of_config("adv_logo/person.py:logo", **settings)()
