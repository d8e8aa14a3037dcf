"""Weights by name: the same numbers in torch's process and in ours, so that fixtures hold no weights."""

import zlib

import numpy as np


def seeded(shapes):
  """Name -> shape, torch's, to name -> float32: maps keep their size through layers, and no two are alike."""
  found = {}
  for name, shape in shapes.items():
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
      x = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith(("running_var", "weight")):
      x = rng.uniform(0.5, 1.0, shape)
    else:
      x = 0.1 * rng.normal(size=shape)
    found[name] = x.astype(np.float32)
  return found


def images(*shape, seed=0):
  """[n, h, w, 3], float32."""
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
