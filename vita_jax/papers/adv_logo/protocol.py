"""The test: dressed bodies on photographs that did not train, seen by detectors with calibrated thresholds.

Detectors give scores on unlike scales, so each gets a threshold by which one of twenty photographs without
people alarms. Photographs that alarm by themselves are left out, as are pictures in which the detector does
not see the clean body; how many is part of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import render
from vita_jax.base.hashing import arrays_sha256
from vita_jax.base.tree import named_leaves
from vita_jax.data import augment
from vita_jax.data.cache import cache_folder, cached_arrays
from vita_jax.metrics.detection import Found, average_precision, box_iou
from vita_jax.nn.detectors import Sight, look, threshold_of
from vita_jax.papers.adv_logo.data import Inputs
from vita_jax.papers.adv_logo.recipe import Trial
from vita_jax.papers.adv_logo.views import Views, dress

OVERLAP = 0.5  # with the body's box, from which a box is the body's


class Control(NamedTuple):
  """What a detector sees without the logo: its threshold, and sights of photographs and of clean bodies."""

  threshold: float
  photographs: np.ndarray  # best scores [photographs]
  clean: np.ndarray  # best scores [views, photographs]


class Outcome(NamedTuple):
  """What became of every tested picture, [views, photographs] each.

  Attributes:
    score: the best person score.
    kept: bool, pictures that count.
    hidden: bool, no score above the threshold anywhere (the released rule).
    unmatched: bool, no box above it that overlaps the body's by more than half.
    scores, boxes: K boxes, [views, photographs, K] and [..., K, 4]. truth: the body's, [..., 4].
    body, angle: of the views.
    dropped: what was left out, and why, as numbers. alarming: names of the photographs among it.
    threshold: of the detector.
  """

  score: np.ndarray
  kept: np.ndarray
  hidden: np.ndarray
  unmatched: np.ndarray
  scores: np.ndarray
  boxes: np.ndarray
  truth: np.ndarray
  body: np.ndarray
  angle: np.ndarray
  dropped: Mapping[str, int]
  alarming: tuple[str, ...]
  threshold: float


def scene(textures: jax.Array, view: Views, photographs: np.ndarray, offsets: np.ndarray) -> np.ndarray:
  """Composes one view with several photographs, float32 [P, N, N, 3].

  Args:
    textures: float32 [T, H, W, 3], as shown.
    view: one view, without leading axis.
    photographs: uint8 [P, N, N, 3].
    offsets: int32 [P].
  """
  return np.asarray(_scene(textures, Views(*(jnp.asarray(x) for x in view)), photographs, offsets))


@jax.jit
def _scene(textures: jax.Array, view: Views, photographs: jax.Array, offsets: jax.Array) -> jax.Array:
  pictures, _ = dress(textures, Views(*(x[None] for x in view)))
  count = photographs.shape[0]
  picture = jnp.broadcast_to(pictures, (count, *pictures.shape[1:]))
  alpha = jnp.broadcast_to(view.alpha, (count, *view.alpha.shape))
  return render.paste(picture, alpha, photographs.astype(jnp.float32) / 255, offsets)


def spoiled(pictures: np.ndarray, test: Trial) -> np.ndarray:
  """Applies blur, brightness and JPEG of the test, in this order, to pictures [n, N, N, 3] in [0, 1]."""
  if not (test.blur or test.brightness or test.jpeg):
    return pictures
  images = np.round(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
  if test.blur:
    images = np.stack([augment.blur(image, sigma=test.blur) for image in images])
  if test.brightness:
    images = np.clip(images + 255 * test.brightness, 0, 255).astype(np.uint8)
  if test.jpeg:
    images = np.stack([augment.jpeg(image, quality=test.jpeg) for image in images])
  return images.astype(np.float32) / 255


def sights(detector: Any, textures: jax.Array, views: Views, inputs: Inputs, test: Trial) -> Sight:
  """Shows every view on every held-out photograph to a detector; fields [views, photographs, ...]."""
  photographs = inputs.held_out.pictures
  found = []
  for i in range(len(views.angle)):
    pictures = scene(textures, Views(*(x[i] for x in views)), photographs, inputs.offsets[i])
    found.append(look(detector, spoiled(pictures, test)))
  return Sight(*(np.stack(x) for x in zip(*found, strict=True)))


def control(detector: Any, inputs: Inputs, test: Trial) -> Control:
  """Calibrates a detector's threshold, and shows it photographs and clean bodies; cached."""

  def make() -> dict[str, np.ndarray]:
    alone = [
      look(detector, spoiled(x.astype(np.float32) / 255, test)).score
      for x in (inputs.backgrounds.pictures, inputs.held_out.pictures)
    ]
    nothing = jnp.zeros((1, 1, 1, 3))
    clean = sights(detector, nothing, inputs.clean, inputs, test).score
    return {"backgrounds": alone[0], "photographs": alone[1], "clean": clean}

  parts: dict[str, Any] = {f"weights/{k}": x for k, x in named_leaves(detector.variables).items()}
  parts |= {f"views/{k}": x for k, x in inputs.clean._asdict().items()}
  parts |= {"train": inputs.backgrounds.pictures, "test": inputs.held_out.pictures, "at": inputs.offsets}
  spoil = (test.jpeg, test.blur, test.brightness)
  key = f"adv_logo 1 {detector.name} {spoil} {arrays_sha256({k: np.asarray(x) for k, x in parts.items()})}"
  found = cached_arrays(cache_folder("adv_logo"), key, make, prefix=f"{detector.name}_")
  threshold = threshold_of(found["backgrounds"], test.false_alarms)
  return Control(threshold, found["photographs"], found["clean"])


def measure(detector: Any, textures: jax.Array, inputs: Inputs, test: Trial) -> Outcome:
  """Tests textures on a detector.

  Args:
    detector: of `vita_jax.nn.detectors`.
    textures: float32 [T, H, W, 3], as shown (after the median filter).
    inputs: views and photographs. test: the recipe's.
  """
  known = control(detector, inputs, test)
  found = sights(detector, textures, inputs.test, inputs, test)
  seen = known.clean > known.threshold
  fine = np.broadcast_to(known.photographs <= known.threshold, seen.shape)
  body, angle = np.asarray(inputs.test.body), np.asarray(inputs.test.angle)
  # A body that the detector sees in less than half of the pictures tells nothing about a logo.
  visible = {
    int(i): bool(seen[body == i][fine[body == i]].mean() >= 0.5) for i in np.unique(body) if fine.any()
  }
  whole = np.array([visible.get(int(i), False) for i in body])[:, None]
  alarming = tuple(np.array(inputs.held_out.names)[known.photographs > known.threshold].tolist())
  dropped = {
    "photographs": len(alarming),
    "bodies": sum(not v for v in visible.values()),
    "pictures": int((fine & whole & ~seen).sum()),
  }
  shift = inputs.held_out.pictures.shape[1] - inputs.test.alpha.shape[1]
  moved = np.zeros((*seen.shape, 4), np.float32) + inputs.test.box[:, None]
  moved[..., [0, 2]] += inputs.offsets[..., None]
  moved[..., [1, 3]] += shift
  overlap = box_iou(found.boxes, moved[..., None, :])[..., 0]
  mine = (found.scores > known.threshold) & (overlap > OVERLAP)
  return Outcome(
    score=found.score,
    kept=fine & whole & seen,
    hidden=found.score <= known.threshold,
    unmatched=np.logical_not(mine.any(axis=-1)),
    scores=found.scores,
    boxes=found.boxes,
    truth=moved,
    body=body,
    angle=angle,
    dropped=dropped,
    alarming=alarming,
    threshold=known.threshold,
  )


def numbers(outcome: Outcome, inputs: Inputs) -> dict[str, float | None]:
  """Summarizes an outcome: success rates, scores and AP by angle and body, and what was left out.

  `success_10`: share of the pictures within 10 degrees, of bodies that trained, in which no score exceeds
  the threshold; `success_20` at 20, `success_30` and `success_45` within so many degrees; `unseen_10` of
  bodies that did not train; `matched_10` by overlap of boxes; `score_10` and `ap_10`. None where no picture
  counts; what was not tested at all has no number.
  """
  trained, others = range(inputs.n_trained), range(inputs.n_trained, len(inputs.bodies))
  slices = {
    "success_10": (0, 10, trained),
    "success_20": (20, 20, trained),
    "success_30": (0, 30, trained),
    "success_45": (0, 45, trained),
    "unseen_10": (0, 10, others),
  }
  found: dict[str, float | None] = {}
  for name, (least, most, bodies) in slices.items():
    views = _views(outcome, least, most, bodies)
    if views.any():
      found[name] = mean(outcome.hidden, outcome.kept & views)
  near = outcome.kept & _views(outcome, 0, 10, trained)
  found["matched_10"] = mean(outcome.unmatched, near)
  found["score_10"] = mean(outcome.score, near)
  found["ap_10"] = precision_of(outcome, near)
  found |= {f"dropped_{name}": float(count) for name, count in outcome.dropped.items()}
  return {**found, "pictures": float(outcome.kept.sum()), "threshold": outcome.threshold}


def _views(outcome: Outcome, least: float, most: float, bodies: range) -> np.ndarray:
  """Which views [views, 1] are of these bodies and angles, whichever way they are turned."""
  angle = np.abs(outcome.angle)
  return ((angle >= least) & (angle <= most) & np.isin(outcome.body, list(bodies)))[:, None]


def precision_of(outcome: Outcome, counted: np.ndarray) -> float | None:
  """Returns the average precision at overlap 0.5 of the pictures that count; None where none does."""
  places = np.argwhere(counted)
  if not len(places):
    return None
  found = [(outcome.scores[i, j], outcome.boxes[i, j]) for i, j in places]
  kept = [Found(scores[scores > 0], boxes[scores > 0]) for scores, boxes in found]
  return average_precision(kept, [outcome.truth[i, j][None] for i, j in places], threshold=OVERLAP)


def mean(values: np.ndarray, counted: np.ndarray) -> float | None:
  """Returns the mean of the values that count; None where none does."""
  return float(values[counted].mean()) if counted.any() else None
