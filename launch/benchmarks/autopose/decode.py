"""Worker: flip test and decoding of the maps of 1,000 people. Argument: "ours", or "numpy", a loop.

The loop is what published evaluation code does, person by person and keypoint by keypoint.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks.measure import serve

PEOPLE, SIZE, KEYPOINTS = 1000, (64, 48), 17
KINDS = ("ours", "numpy")


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


def by_loop(plain: np.ndarray, mirrored: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Averages and decodes one keypoint of one person after the other."""
  joints = np.zeros((len(plain), KEYPOINTS, 2), np.float32)
  scores = np.zeros((len(plain), KEYPOINTS), np.float32)
  height, width = SIZE
  for i in range(len(plain)):
    for k in range(KEYPOINTS):
      other = mirrored[i, :, ::-1, order[k]].copy()
      other[:, 1:] = other[:, :-1].copy()
      heat = (plain[i, :, :, k] + other) / 2
      row, column = np.unravel_index(np.argmax(heat), heat.shape)
      scores[i, k] = heat[row, column]
      if scores[i, k] <= 0:
        continue
      joints[i, k] = column, row
      if 1 < column < width - 1 and 1 < row < height - 1:
        joints[i, k] += 0.25 * np.sign(
          [heat[row, column + 1] - heat[row, column - 1], heat[row + 1, column] - heat[row - 1, column]]
        )
  return joints, scores


def ours() -> tuple[Any, tuple[Any, Any]]:
  """Returns the compiled function of the two maps, and these."""
  import jax

  from vita_jax.pose import COCO, decode, flip_heatmaps

  def both(plain: jax.Array, mirrored: jax.Array) -> Any:
    return decode((plain + flip_heatmaps(mirrored, COCO)) / 2)

  return jax.jit(both), tuple(jax.device_put(maps()))


def main(kind: str) -> None:
  """Serves the 1,000 people."""
  if kind == "numpy":
    from vita_jax.pose.skeletons import COCO, flip_order

    plain, mirrored = maps()
    order = np.array(flip_order(COCO))
    serve(lambda n: [by_loop(plain, mirrored, order) for _ in range(n)])
    return
  import jax

  run, both = ours()
  jax.block_until_ready(run(*both))
  serve(lambda n: jax.block_until_ready([run(*both) for _ in range(n)]))


if __name__ == "__main__":
  main(sys.argv[1])
