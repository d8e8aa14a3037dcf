"""Worker: flip test and decoding of the maps of 1,000 people. Argument: one of `KINDS`.

Those of NumPy are loops as published evaluation code has them, person by person, keypoint by keypoint: with
the quarter offset, or by DARK (the smoothing by SciPy).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import serve

PEOPLE, BATCH, SIZE, KEYPOINTS = 1000, 50, (64, 48), 17
KINDS = ("ours", "numpy", "ours_dark", "numpy_dark")


def maps() -> np.ndarray:
  """Draws maps with one peak each: float32 [2, people, height, width, keypoints], plain and mirrored."""
  rng = np.random.default_rng(0)
  found = []
  for _ in range(2):
    x, y = (rng.uniform(0, n - 1, (PEOPLE, 1, KEYPOINTS)).astype(np.float32) for n in SIZE[::-1])
    across = np.exp(-np.square(np.arange(SIZE[1], dtype=np.float32)[:, None] - x) / 8)
    down = np.exp(-np.square(np.arange(SIZE[0], dtype=np.float32)[:, None] - y) / 8)
    found.append(down[:, :, None] * across[:, None])
  return np.stack(found)


def quarter(heat: np.ndarray, row: int, column: int) -> np.ndarray:
  """Returns the offset of a keypoint in x and y: a quarter towards the greater neighbours."""
  height, width = SIZE
  if not (1 < column < width - 1 and 1 < row < height - 1):
    return np.zeros(2)
  right = heat[row, column + 1] - heat[row, column - 1]
  return 0.25 * np.sign([right, heat[row + 1, column] - heat[row - 1, column]])


def dark(heat: np.ndarray, row: int, column: int) -> np.ndarray:
  """Returns the offset of a keypoint in x and y: that of the maximum of a second-order expansion."""
  from scipy.ndimage import gaussian_filter

  height, width = SIZE
  if not (2 <= column < width - 2 and 2 <= row < height - 2):
    return np.zeros(2)
  smooth = gaussian_filter(heat, 2.0, mode="constant", truncate=2.5)
  p = np.log(np.maximum(smooth, 1e-10))[row - 2 : row + 3, column - 2 : column + 3]
  xy = 0.25 * (p[3, 3] - p[3, 1] - p[1, 3] + p[1, 1])
  second = (p[[2, 4], [4, 2]] - 2 * p[2, 2] + p[[2, 0], [0, 2]]) / 4
  slope = 0.5 * (p[[2, 3], [3, 2]] - p[[2, 1], [1, 2]])
  hessian = np.array([[second[0], xy], [xy, second[1]]])
  return -np.linalg.solve(hessian, slope) if np.linalg.det(hessian) else np.zeros(2)


def by_loop(
  plain: np.ndarray, mirrored: np.ndarray, order: np.ndarray, offset: Callable[..., np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
  """Averages and decodes one keypoint of one person after the other."""
  joints = np.zeros((len(plain), KEYPOINTS, 2), np.float32)
  scores = np.zeros((len(plain), KEYPOINTS), np.float32)
  for i in range(len(plain)):
    for k in range(KEYPOINTS):
      other = mirrored[i, :, ::-1, order[k]].copy()
      other[:, 1:] = other[:, :-1].copy()
      heat = (plain[i, :, :, k] + other) / 2
      row, column = np.unravel_index(np.argmax(heat), heat.shape)
      scores[i, k] = heat[row, column]
      if scores[i, k] <= 0:
        continue
      joints[i, k] = np.array([column, row]) + offset(heat, row, column)
  return joints, scores


def ours(method: str) -> tuple[Any, list[tuple[Any, Any]]]:
  """Returns the compiled function of two maps, and these, in batches as an evaluation has them."""
  import jax

  from vita_jax.pose import COCO, decode, flip_heatmaps

  def both(plain: jax.Array, mirrored: jax.Array) -> Any:
    return decode((plain + flip_heatmaps(mirrored, COCO)) / 2, method=method)

  plain, mirrored = (x.reshape(-1, BATCH, *x.shape[1:]) for x in maps())
  return jax.jit(both), [jax.device_put(pair) for pair in zip(plain, mirrored, strict=True)]


def main(kind: str) -> None:
  """Serves the 1,000 people."""
  library, _, method = kind.partition("_")
  if library == "numpy":
    from vita_jax.pose.skeletons import COCO, flip_order

    plain, mirrored = maps()
    order = np.array(flip_order(COCO))
    serve(lambda n: [by_loop(plain, mirrored, order, dark if method else quarter) for _ in range(n)])
    return
  import jax

  from vita_jax.base.memory import keep_freed_memory

  keep_freed_memory()  # as launch/train.py does
  run, batches = ours(method or "quarter")
  jax.block_until_ready(run(*batches[0]))
  serve(lambda n: [jax.block_until_ready([run(*pair) for pair in batches]) for _ in range(n)])


if __name__ == "__main__":
  main(sys.argv[1])
