"""Made-up rows of hands that fit together: a hand of sticks before a camera."""

import numpy as np

from vita_jax.pose.skeletons import HAND

INTRINSICS = np.array([[300.0, 0, 80], [0, 310, 60], [0, 0, 1]], np.float32)


def stick_hand(seed=0, *, right=False):
  """A row of 120 x 160 pixels: xyz in mm, uv = K xyz / z, the depth of the joints around each of them."""
  rng = np.random.default_rng(seed)
  xyz = np.zeros((21, 3), np.float32)
  for finger in range(5):
    along = np.array([0.35 * (finger - 2), -1, 0])
    along /= np.linalg.norm(along)
    start = (40 if finger == 0 else 85) * along
    bones = (0, 45, 34, 28) if finger == 0 else (0, 38 - 2 * finger, 25, 18)
    for i, length in enumerate(np.cumsum(bones)):
      xyz[1 + 4 * finger + i] = start + length * along + rng.normal(0, 2, 3)
  if right:
    xyz[:, 0] *= -1
  xyz += np.float32([0, 80, 750])
  seen = xyz @ INTRINSICS.T
  uv = seen[:, :2] / seen[:, 2:]
  depth = np.full((120, 160), 1500, np.float32)
  for (x, y), z in zip(np.round(uv).astype(int), xyz[:, 2], strict=True):
    depth[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4] = z - 8
  return {
    "image": rng.integers(0, 255, (120, 160, 3), np.uint8),
    "depth": depth,
    "mask": depth < 1000,
    "uv": uv.astype(np.float32),
    "xyz": xyz,
    "intrinsics": INTRINSICS.copy(),
    "right": np.asarray(right),
  }


def joint(name):
  """The number of a joint."""
  return HAND.names.index(name)
