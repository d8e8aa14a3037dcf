"""Published networks that find the pose of one person, as references: pictures in, COCO's keypoints out."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.nn.detectors import movenet
from vita_jax.nn.detectors.detector import load
from vita_jax.nn.resize import resize

NAMES = ("movenet_lightning", "movenet_thunder")
BATCH = 32  # pictures at a time


class Poses(NamedTuple):
  """Keypoints of pictures: `joints` float32 [n, 17, 2] of x and y in pixels, `scores` float32 [n, 17]."""

  joints: np.ndarray
  scores: np.ndarray


def find_poses(name: str, images: np.ndarray, *, folder: str | os.PathLike | None = None) -> Poses:
  """Finds the pose of the most central person of each picture.

  Pictures are resized (bilinear) to the network's side, those that are not square distorted.

  Args:
    name: one of `NAMES`.
    images: uint8 [n, h, w, 3], RGB.
    folder: of the weights, see `vita_jax.nn.detectors.load`.

  Raises:
    ValueError: an unknown name, or pictures of another shape.
    FileNotFoundError: there are no weights.
  """
  choose("network", name, NAMES)
  if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
    raise ValueError(
      f"pictures are uint8 [n, height, width, 3]; these are {images.dtype} {list(images.shape)}"
    )
  detector = load(name, folder, form="top")
  net = movenet.MoveNet(movenet.WIDTHS[detector.size], form="top")

  @jax.jit
  def found(variables: Any, pictures: jax.Array) -> jax.Array:
    x = resize(pictures.astype(jnp.float32) / 255.0, (detector.size, detector.size))
    outputs: Any = net.apply(variables, x)
    return movenet.keypoints(outputs)

  count, (height, width) = len(images), images.shape[1:3]
  batch = min(BATCH, count)
  padded = np.concatenate([images, np.zeros((-count % batch, *images.shape[1:]), np.uint8)])
  parts = [np.asarray(found(detector.variables, padded[i : i + batch])) for i in range(0, count, batch)]
  yxs = np.concatenate(parts)[:count]
  joints = yxs[..., 1::-1] * np.array([width, height], np.float32)
  return Poses(joints.astype(np.float32), yxs[..., 2])
