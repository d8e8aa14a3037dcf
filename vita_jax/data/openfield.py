"""116 frames of a mouse in an open field, from above, four keypoints labelled by hand: $VITA_DATA_DIR alone.

From the demonstration of DeepLabCut (Mathis et al., Nature Neuroscience 2018), grey, 320 x 240. All frames
are of one video: a split measures how well poses of this mouse are interpolated, not other mice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vita_jax.base.hashing import arrays_sha256
from vita_jax.data import sources
from vita_jax.data.files_image import read_image
from vita_jax.data.files_text import open_cells
from vita_jax.data.people import extent_areas, extent_boxes
from vita_jax.pose.evaluate import torso_lengths
from vita_jax.pose.skeletons import OPENFIELD

SOURCE = "pose/openfield"
# Of the bytes of all 116 pictures, by name.
FRAMES = "a3aa099386eb35b6bd30ff2dddc8ad6664e2723e379b6303393e25a5a0eb8cf4"
WIDTH, HEIGHT = 128, 240  # of the left part of a frame, which holds every mouse
SIZE = (128, 64)  # of that part halved, and padded below
TEST = 28


def load_mouse() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Loads the left 128 columns of the frames, halved by a 2 x 2 box and padded with 0 from 120 to 128 rows.

  The test frames are 28 drawn at random by a fixed seed.

  Returns:
    (train, test), 88 and 28 rows: {"image" uint8 [n, 128, 64, 3] (grey, three times), "joints" float32
    [n, 4, 2], "visible" [n, 4] (all 1), "box" [n, 4] the extent of the keypoints, "area" [n], "length" [n]
    from snout to tail base}.

  Raises:
    FileNotFoundError: the files are not under $VITA_DATA_DIR.
    ValueError: other files than the recorded ones.
  """
  files = sources.source_files(SOURCE)
  if files is None:
    raise FileNotFoundError(f"no mouse: there is {sources.missing(SOURCE)}; put pose/openfield there")
  (table,) = files.values()
  names, values = _labels(table)
  folder = table.parent / "images"
  if gone := [name for name in names if not (folder / name).is_file()]:
    raise FileNotFoundError(f"no frame {folder / gone[0]}, which {table} names: put it there")
  content = {name: np.frombuffer((folder / name).read_bytes(), np.uint8) for name in names}
  if (digest := arrays_sha256(content)) != FRAMES:
    raise ValueError(f"the frames in {folder} are damaged or others: sha256 {digest}, expected {FRAMES}")
  frames = np.stack([read_image(x.tobytes(), mode="L")[:HEIGHT, :WIDTH, 0] for x in content.values()])
  halved = frames.reshape(-1, HEIGHT // 2, 2, WIDTH // 2, 2).astype(np.float32).mean(axis=(2, 4))
  images = np.zeros((len(names), *SIZE, 3), np.uint8)
  images[:, : HEIGHT // 2] = np.round(halved)[..., None]
  joints = (values.reshape(-1, OPENFIELD.n_keypoints, 2) + 0.5) / 2 - 0.5
  visible = np.ones(joints.shape[:2], np.float32)
  found: dict[str, np.ndarray] = {
    "image": images,
    "joints": joints.astype(np.float32),
    "visible": visible,
    "box": extent_boxes(joints, visible).astype(np.float32),
    "area": extent_areas(joints, visible).astype(np.float32),
    "length": torso_lengths(joints, visible, OPENFIELD).astype(np.float32),
  }
  order = np.random.default_rng(0).permutation(len(names))
  test, train = np.sort(order[:TEST]), np.sort(order[TEST:])
  return {k: x[train] for k, x in found.items()}, {k: x[test] for k, x in found.items()}


def _labels(path: Path) -> tuple[list[str], np.ndarray]:
  """Names of the frames, and float64 [n, 8] of x and y of each keypoint."""
  rows = [cells for _, cells in open_cells(path).rows]
  return [row[0] for row in rows], np.array([[float(x) for x in row[1:]] for row in rows])
