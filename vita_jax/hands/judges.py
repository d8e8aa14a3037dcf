"""Where the joints of a pictured hand are, by networks, and how far from where they should be.

Whoever makes pictures must not train with the network that judges them: MediaPipe's "full" is for reports.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.metrics import pck_auc
from vita_jax.nn.hand_landmarks import judge, load_hand_landmarks

SIDE, PAPER_SIDE = 224, 256  # pixels that errors, and distances of PCK, are told in
BATCH = 32
PRESENT = 0.5  # probability from which there is a hand
WORST = 95


class Judge(NamedTuple):
  """A network that finds joints.

  Attributes:
    prefix: of its numbers, e.g. "" of the landmark network, "small_" of a small one.
    find: pictures float32 [n, S, S, 3] in [0, 1] -> joints [n, 21, 2] in their pixels, and the probability
      [n] that there is a hand, or None.
  """

  prefix: str
  find: Callable[[jax.Array], tuple[jax.Array, jax.Array | None]]


def landmark_judge(which: str = "full") -> Judge:
  """Makes a judge of MediaPipe's hand landmark network; pictures are resized to 224.

  Raises:
    FileNotFoundError: no weights.
  """
  module, variables = load_hand_landmarks(which, form="top")
  return Judge("", jax.jit(partial(_landmarks, module, variables)))


def _landmarks(module: Any, variables: Any, pictures: jax.Array) -> tuple[jax.Array, jax.Array]:
  found = judge(module, variables, pictures)
  return found.joints[..., :2], found.presence


def found_joints(judge: Judge, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
  """Finds joints in pictures, uint8 [n, S, S, 3], batch by batch: [n, 21, 2] and presence [n], or None."""
  size, joints, presence = min(BATCH, len(pictures)), [], []
  for start in range(0, len(pictures), size):
    batch = pictures[start : start + size]
    full = np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])
    found, there = judge.find(jnp.asarray(full, jnp.float32) / 255)
    joints.append(np.asarray(found)[: len(batch)])
    if there is not None:
      presence.append(np.asarray(there)[: len(batch)])
  return np.concatenate(joints), np.concatenate(presence) if presence else None


def mean_pose_errors(known: np.ndarray, uv: np.ndarray, *, size: int) -> np.ndarray:
  """Computes how far poses are from the mean known pose of the side, palm or back, that they show.

  What can be told without drawing a pose at all: a generator whose pictures are not nearer is not guided by
  more than the side. Which side it is, is read off the joints: the sign of the turn, at the wrist, from the
  knuckle of the index to that of the little finger.

  Args:
    known: [m, 21, 2] in pixels, e.g. of all training hands, all left or all right.
    uv: [n, 21, 2], as well.
    size: side of the pictures.

  Returns:
    float [n], mean distances in pixels of 224.

  Examples:
    >>> poses = np.random.default_rng(0).uniform(0, 64, (50, 21, 2))
    >>> mean_pose_errors(poses, poses[:1], size=64).shape
    (1,)
  """
  sides, own = _side(known), _side(uv)
  means = np.stack(
    [
      known[sides == side].mean(axis=0) if (sides == side).any() else known.mean(axis=0)
      for side in (False, True)
    ]
  )
  return SIDE * np.linalg.norm(uv - means[own.astype(int)], axis=-1).mean(axis=1) / size


def _side(uv: np.ndarray) -> np.ndarray:
  index, little = uv[:, 5] - uv[:, 0], uv[:, 17] - uv[:, 0]
  return index[:, 0] * little[:, 1] > index[:, 1] * little[:, 0]


def pose_numbers(judge: Judge, pictures: np.ndarray, uv: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
  """Compares the joints that a judge finds with the pose that was asked for.

  Args:
    judge: e.g. `landmark_judge()`.
    pictures: uint8 [n, S, S, 3].
    uv: [n, 21, 2] in their pixels.

  Returns:
    `pose_error`, the mean distance in pixels of 224, and `pose_error_p95` over pictures; `pck_auc`, the area
    below the share of joints within 0 to 30 pixels of 256; `presence`, the mean probability of a hand, and
    `absent`, the share of pictures below 1/2; and the mean error of each picture [n].
  """
  joints, presence = found_joints(judge, pictures)
  distances = np.linalg.norm(joints - uv, axis=-1) / pictures.shape[1]  # in sides of the picture
  errors = SIDE * distances.mean(axis=1)
  found = {
    "pose_error": float(errors.mean()),
    f"pose_error_p{WORST}": float(np.percentile(errors, WORST)),
    "pck_auc": pck_auc(PAPER_SIDE * distances),
  }
  if presence is not None:
    found |= {"presence": float(presence.mean()), "absent": float((presence < PRESENT).mean())}
  return found, errors
