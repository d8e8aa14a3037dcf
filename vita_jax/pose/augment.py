"""Augmentation of person crops: on the host for pictures of any size, and inside a compiled step for crops.

The host's is the published one (HRNet, Sun et al., CVPR 2019), in its order: half body, scale, rotation,
mirror.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.pose.crops import PIXELS, Crop, apply_matrix, crop_matrix, warp
from vita_jax.pose.skeletons import Skeleton, flip_order


class Augmentation(NamedTuple):
  """What is drawn for each person; the defaults are COCO's.

  Attributes:
    scale: s; the factor is 1 + s N(0, 1), clipped to [1 - s, 1 + s].
    rotation: r in degrees; the angle is r N(0, 1), clipped to [-2 r, 2 r].
    turned: probability of a rotation.
    flip: probability of a mirrored picture.
    half_body: probability that only the upper or the lower half is cropped.
    more_than: keypoints that must be visible for that.
    upper_first: probability that the upper half is preferred: that of N(0, 1) < 0.5, as the published code
      has it.
    shift: pixels of the crop, in x and in y: uniform in [-shift, shift]; on the device alone.
  """

  scale: float = 0.35
  rotation: float = 45.0
  turned: float = 0.6
  flip: float = 0.5
  half_body: float = 0.3
  more_than: int = 8
  upper_first: float = 0.6914624612740131
  shift: tuple[float, float] = (0.0, 0.0)


COCO_AUGMENTATION = Augmentation()
MPII_AUGMENTATION = Augmentation(scale=0.25, rotation=30.0, half_body=0.0)
SIMPLE_AUGMENTATION = Augmentation(scale=0.3, rotation=40.0, half_body=0.0)  # SimpleBaseline's, COCO


class CropPerson(NamedTuple):
  """A transform of rows of persons, for a `Stream`: cuts the crop out, augmented or not.

  Rows have `image` uint8 [H, W, 3], `joints` [K, 2] and `visible` [K] in the picture, `centre` [2] and
  `scale` [2]. They come back with `image` of the crop and `joints` in its pixels; `centre` and `scale` are
  those used, as `crops.to_picture` needs them (for crops that are not turned or mirrored). Keypoints outside
  of the crop stay visible: the targets leave out those whose Gaussian is outside. Other keys stay.

  Attributes:
    crop: size and convention.
    skeleton: of the keypoints.
    augmentation: None: nothing is drawn.
  """

  crop: Crop
  skeleton: Skeleton
  augmentation: Augmentation | None = None

  def __call__(self, row: Mapping[str, Any], rng: np.random.Generator | None = None) -> dict[str, Any]:
    image, joints, visible = row["image"], np.asarray(row["joints"], np.float64), np.asarray(row["visible"])
    centre, scale = np.asarray(row["centre"], np.float64), np.asarray(row["scale"], np.float64)
    angle = 0.0
    if self.augmentation is not None:
      assert rng is not None
      found = half_body(rng, joints, visible, self.skeleton, self.augmentation, aspect=self.crop.aspect)
      centre, scale = (centre, scale) if found is None else found
      factor, angle, mirrored = draw(rng, self.augmentation)
      scale = scale * factor
      if mirrored:
        image, joints, visible, centre = mirror(image, joints, visible, centre, self.skeleton)
    crop = self.crop
    matrix = crop_matrix(centre, scale, size=crop.size, rotation=angle, convention=crop.convention)
    return {
      **row,
      "image": warp(image, matrix, size=crop.size),
      "joints": apply_matrix(matrix, joints).astype(np.float32),
      "visible": visible.astype(np.float32),
      "centre": centre.astype(np.float32),
      "scale": scale.astype(np.float32),
    }


def draw(rng: np.random.Generator, augmentation: Augmentation) -> tuple[float, float, bool]:
  """Draws (factor of the scale, angle in degrees, whether mirrored)."""
  a = augmentation
  factor = float(np.clip(1 + a.scale * rng.standard_normal(), 1 - a.scale, 1 + a.scale))
  angle = 0.0
  if rng.random() <= a.turned:
    angle = float(np.clip(a.rotation * rng.standard_normal(), -2 * a.rotation, 2 * a.rotation))
  return factor, angle, bool(rng.random() <= a.flip)


def half_body(
  rng: np.random.Generator,
  joints: np.ndarray,
  visible: np.ndarray,
  skeleton: Skeleton,
  augmentation: Augmentation,
  *,
  aspect: float,
) -> tuple[np.ndarray, np.ndarray] | None:
  """Draws whether only half of the body is cropped, and returns its (centre, scale); None: the box stays.

  The centre is the mean of the visible keypoints of the half, the scale their extent, made to the aspect,
  times 1.5. Of a half with no more than two visible keypoints the other one is taken.
  """
  seen = np.asarray(visible) > 0
  a = augmentation
  if seen.sum() <= a.more_than or not skeleton.upper or rng.random() >= a.half_body:
    return None
  upper, lower = ([i for i in half if seen[i]] for half in (skeleton.upper, skeleton.lower))
  preferred = rng.random() < a.upper_first and len(upper) > 2
  chosen = upper if preferred or len(lower) <= 2 else lower
  if len(chosen) < 2:
    return None
  points = np.asarray(joints, np.float64)[chosen]
  width, height = points.max(axis=0) - points.min(axis=0)
  scale = np.array([max(width, aspect * height), max(height, width / aspect)]) / PIXELS * 1.5
  return (points.mean(axis=0), scale) if scale[0] > 0 else None


def mirror(
  image: Any, joints: Any, visible: Any, centre: Any, skeleton: Skeleton
) -> tuple[Any, Any, Any, Any]:
  """Mirrors a picture [H, W, C] and what is known of it: x -> W - 1 - x, left and right keypoints swapped."""
  order, last = np.array(flip_order(skeleton)), image.shape[1] - 1
  turned = np.array([-1.0, 1.0]), np.array([last, 0.0])
  joints = (joints * turned[0] + turned[1])[order]
  return image[:, ::-1], joints, visible[order], centre * turned[0] + turned[1]


def augment_on_device(
  key: jax.Array,
  images: jax.Array,
  joints: jax.Array,
  visible: jax.Array,
  skeleton: Skeleton,
  augmentation: Augmentation,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Augments crops that are held on the device, inside a compiled step.

  Each crop is scaled and turned about its middle, (w - 1) / 2, moved and mirrored, by draws of its own.

  Args:
    key: of all that is drawn.
    images: [n, h, w, C], uint8 or floating.
    joints: [n, K, 2] in pixels of the crop.
    visible: [n, K].
    skeleton: of the keypoints.
    augmentation: without `half_body`, which needs the whole picture.

  Returns:
    (images, joints, visible), of the same shapes and types.

  Raises:
    ValueError: a half-body probability.
  """
  a = augmentation
  if a.half_body:
    raise ValueError(
      f"half_body is {a.half_body}: it needs the picture around a crop; set it to 0, or crop on the host"
    )
  n, height, width = images.shape[:3]
  keys = jax.random.split(key, 5)
  if a.flip:
    order = np.array(flip_order(skeleton))
    turned = jax.random.bernoulli(keys[0], a.flip, (n,))
    images = jnp.where(turned[:, None, None, None], images[:, :, ::-1], images)
    other = (joints * jnp.array([-1.0, 1.0]) + jnp.array([width - 1.0, 0.0]))[:, order]
    joints = jnp.where(turned[:, None, None], other, joints)
    visible = jnp.where(turned[:, None], visible[:, order], visible)
  if not (a.scale or (a.rotation and a.turned) or any(a.shift)):
    return images, joints, visible
  factor = jnp.clip(1 + a.scale * jax.random.normal(keys[1], (n,)), 1 - a.scale, 1 + a.scale)
  angle = jnp.clip(a.rotation * jax.random.normal(keys[2], (n,)), -2 * a.rotation, 2 * a.rotation)
  angle = jnp.where(jax.random.bernoulli(keys[3], a.turned, (n,)), angle, 0.0)
  moved = jax.random.uniform(keys[4], (n, 2), minval=-1.0, maxval=1.0) * jnp.asarray(a.shift)
  middle = jnp.array([width - 1.0, height - 1.0]) / 2
  # A crop as large as the picture, of which the box is `factor` times as large: the picture shrinks by it.
  scale = factor[:, None] * jnp.array([width - 1.0, height - 1.0]) / PIXELS
  size = (height, width)
  matrices = crop_matrix(jnp.broadcast_to(middle, (n, 2)), scale, size=size, rotation=angle, convention="udp")
  matrices = matrices.at[..., 2].add(moved)
  images = jax.vmap(lambda image, matrix: warp(image, matrix, size=size))(images, matrices)
  return images, apply_matrix(matrices, joints).astype(joints.dtype), visible
