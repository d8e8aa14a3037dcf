"""Brain volumes: from one registered T1 volume to whole brain and both hippocampi (Self-PU, section 4).

The paper's data (ADNI) cannot be shared; these functions take any volumes registered alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vita_jax.data.files import read_npz
from vita_jax.data.pu_table import check_labelled

SHAPE = (121, 145, 121)  # of a registered volume
CROP = (slice(8, 112), slice(10, 138), slice(0, 112))  # -> 104 x 128 x 112
REGIONS = {  # within the crop
  "left": (slice(54, 84), slice(47, 77), slice(22, 52)),
  "right": (slice(21, 51), slice(47, 77), slice(22, 52)),
}
BRAIN = (50, 50, 50)
SHAPES = {"brain": BRAIN, "left": (30, 30, 30), "right": (30, 30, 30)}


def regions(volumes: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
  """Cuts volumes 121 x 145 x 121 into {"brain" [n, 50, 50, 50], "left", "right" [n, 30, 30, 30]}, float32.

  Each volume is divided by its maximum; the brain is the crop, resized by trilinear interpolation.

  Raises:
    ValueError: no volumes, volumes of differing or other shapes, one without a positive value.
  """
  import jax

  if not len(volumes):
    raise ValueError("there are no volumes")
  for i, volume in enumerate(volumes):
    if np.shape(volume) != SHAPE:
      raise ValueError(
        f"volume {i} has shape {np.shape(volume)}, each must have {SHAPE}: register and resample it first"
      )
    if not np.max(volume) > 0:
      raise ValueError(f"volume {i} has no positive value: it cannot be scaled to a maximum of 1")
  crops = [np.asarray(volume[CROP] / np.max(volume), np.float32) for volume in volumes]
  brain = np.stack([np.asarray(jax.image.resize(crop, BRAIN, "trilinear")) for crop in crops])
  return {"brain": brain} | {name: np.stack([c[at] for c in crops]) for name, at in REGIONS.items()}


def amyloid_labels(suvr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns (labelled, positive) bool [n]: SUVR from 1.18 on is labelled, from 1.08 on a hidden positive."""
  suvr = np.asarray(suvr)
  return suvr >= 1.18, suvr >= 1.08


def check_regions(arrays: dict[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
  """Returns the three regions of a file as float32.

  Raises:
    ValueError: one is missing, has another shape or another number of rows.
  """
  for name, shape in SHAPES.items():
    found = arrays[name].shape if name in arrays else None
    if found is None or found[1:] != shape or found[0] != len(arrays["brain"]):
      what = "is missing" if found is None else f"has shape {found}"
      raise ValueError(
        f"{source}: '{name}' {what}, wanted [rows, {', '.join(map(str, shape))}]; see regions()"
      )
  return {name: np.asarray(arrays[name], np.float32) for name in SHAPES}


def load_volumes(path: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
  """Loads an npz of regions (see `regions`) with PU labels.

  Returns:
    (regions, `labelled` bool [n], `positive` int8 [n]: the true class, -1 where the file has none).

  Raises:
    FileNotFoundError: no such file.
    ValueError: a region or `labelled` is missing or has another shape; no labelled or no unlabelled rows.
  """
  arrays = read_npz(path)
  found = check_regions(arrays, path)
  if "labelled" not in arrays:
    raise ValueError(f"{path}: 'labelled' is missing: bool [rows], True for a labelled positive")
  labelled = arrays["labelled"].astype(bool)
  check_labelled(labelled, path)
  return found, labelled, arrays.get("positive", np.full(len(labelled), -1)).astype(np.int8)
