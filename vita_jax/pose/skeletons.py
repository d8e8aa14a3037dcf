"""Descriptions of keypoints: names, left and right, tolerances, limbs. No other code knows their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vita_jax.base.choose import hint

Pairs = tuple[tuple[int, int], ...]


class Skeleton(NamedTuple):
  """What a data set says of its keypoints; `skeleton` makes a checked one.

  Attributes:
    name: of the description.
    names: of the keypoints, in the order of the data.
    flip_pairs: keypoints that change places where the picture is mirrored, (left, right).
    sigmas: tolerance of each keypoint as a share of sqrt(area), COCO's sigma: OKS is exp(-d^2 / (8 area
      sigma^2)).
    limbs: pairs of keypoints between which a line is drawn.
    upper: keypoints of the upper half, for half-body augmentation; () turns it off.
    lower: keypoints of the lower half.
    torso: two groups of keypoints; PCK's length is the distance between their means. ((), ()): there is none.
  """

  name: str
  names: tuple[str, ...]
  flip_pairs: Pairs
  sigmas: tuple[float, ...]
  limbs: Pairs = ()
  upper: tuple[int, ...] = ()
  lower: tuple[int, ...] = ()
  torso: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

  @property
  def n_keypoints(self) -> int:
    """How many keypoints there are."""
    return len(self.names)


def skeleton(
  name: str,
  names: Sequence[str],
  *,
  flip_pairs: Sequence[Sequence[int]] | None = None,
  sigmas: Sequence[float] | float = 0.05,
  limbs: Sequence[Sequence[int]] = (),
  upper: Sequence[int] = (),
  lower: Sequence[int] = (),
  torso: Sequence[Sequence[int]] = ((), ()),
) -> Skeleton:
  """Makes a description of keypoints and checks it.

  Args:
    name: of the description.
    names: of the keypoints, each once.
    flip_pairs: see `Skeleton`; None: those whose names differ in "left" and "right" alone.
    sigmas: see `Skeleton`; one number is for all keypoints. COCO's are .025 (eyes) to .107 (hips).
    limbs: see `Skeleton`.
    upper: see `Skeleton`.
    lower: see `Skeleton`.
    torso: see `Skeleton`.

  Raises:
    ValueError: no keypoints or one named twice; a keypoint in two flip pairs or paired with itself; a "left"
      without its "right"; a number that is no keypoint; sigmas of another count, or not above 0.

  Examples:
    >>> skeleton("arm", ["left_hand", "right_hand", "neck"], limbs=[(0, 2), (1, 2)]).flip_pairs
    ((0, 1),)
  """
  names = tuple(str(n) for n in names)
  if not names or len(set(names)) < len(names):
    raise ValueError(f"skeleton '{name}': give at least one keypoint, and each name once: {', '.join(names)}")
  pairs = _sided(name, names) if flip_pairs is None else tuple((int(a), int(b)) for a, b in flip_pairs)
  values = (float(sigmas),) * len(names) if isinstance(sigmas, int | float) else tuple(map(float, sigmas))
  found = Skeleton(
    name,
    names,
    pairs,
    values,
    tuple((int(a), int(b)) for a, b in limbs),
    tuple(map(int, upper)),
    tuple(map(int, lower)),
    (tuple(map(int, torso[0])), tuple(map(int, torso[1]))),
  )
  return check(found)


def check(found: Skeleton) -> Skeleton:
  """Returns a description in which everything fits together.

  Raises:
    ValueError: see `skeleton`.
  """
  flips = [i for pair in found.flip_pairs for i in pair]
  if len(set(flips)) < len(flips):
    twice = next(i for i in flips if flips.count(i) > 1)
    raise ValueError(
      f"skeleton '{found.name}': keypoint {twice} is in two flip pairs, or paired with itself: each keypoint"
      " has at most one partner, and a middle one has none"
    )
  used = {
    "flip_pairs": flips,
    "limbs": [i for pair in found.limbs for i in pair],
    "upper": found.upper,
    "lower": found.lower,
    "torso": [i for group in found.torso for i in group],
  }
  for field, places in used.items():
    if odd := [i for i in places if not 0 <= i < found.n_keypoints]:
      raise ValueError(
        f"skeleton '{found.name}': {field} has {odd[0]}, and the keypoints are 0 to {found.n_keypoints - 1}"
      )
  if len(found.sigmas) != found.n_keypoints or min(found.sigmas) <= 0:
    raise ValueError(
      f"skeleton '{found.name}': there are {len(found.sigmas)} sigmas for {found.n_keypoints} keypoints:"
      " give one for each, above 0"
    )
  return found


def flip_order(skeleton: Skeleton) -> tuple[int, ...]:
  """Returns for each keypoint the one whose place it takes in a mirrored picture.

  Examples:
    >>> flip_order(COCO)[:5]
    (0, 2, 1, 4, 3)
  """
  order = list(range(skeleton.n_keypoints))
  for a, b in skeleton.flip_pairs:
    order[a], order[b] = b, a
  return tuple(order)


def of_category(category: Mapping[str, Any], *, sigmas: Sequence[float] | float | None = None) -> Skeleton:
  """Reads the description from a category of a file in COCO's format: its "keypoints" and "skeleton".

  Keypoints that are COCO's 17 give `COCO`. Others are paired by "left" and "right" in their names.

  Args:
    category: the entry of "categories".
    sigmas: see `skeleton`; None: .05 for all.

  Raises:
    ValueError: a category without keypoints, or one that `skeleton` refuses.
  """
  label = str(category.get("name", category.get("id", "")))
  names = category.get("keypoints")
  if not isinstance(names, list) or not names:
    raise ValueError(f"the category '{label}' has no keypoints: list their names under \"keypoints\"")
  if tuple(names) == COCO.names and sigmas is None:
    return COCO
  limbs = [(a - 1, b - 1) for a, b in category.get("skeleton", [])]  # COCO counts from 1
  return skeleton(label, names, limbs=limbs, sigmas=0.05 if sigmas is None else sigmas)


def _sided(name: str, names: Sequence[str]) -> Pairs:
  """The pairs of names that differ in left and right alone."""
  pairs = []
  for i, joint in enumerate(names):
    for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
      if left in joint:
        partner = joint.replace(left, right)
        if partner not in names:
          raise ValueError(
            f"skeleton '{name}': '{joint}' has no '{partner}'{hint(partner, names)}: rename it, or give"
            " flip_pairs"
          )
        pairs.append((i, names.index(partner)))
  return tuple(pairs)


COCO = skeleton(
  "coco",
  "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist"
  " right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle".split(),
  sigmas=[s / 1000 for s in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)],
  limbs=(
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9)),
    *((8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
  ),
  upper=range(11),
  lower=range(11, 17),
  torso=((5, 6), (11, 12)),
)
# The sigmas are COCO's of the same joint; pelvis as hip, thorax and neck as shoulder, head top as ear. MPII
# itself measures PCKh, which needs none.
MPII = skeleton(
  "mpii",
  "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top"
  " right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist".split(),
  flip_pairs=((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
  sigmas=[s / 1000 for s in (89, 87, 107, 107, 87, 89, 107, 79, 79, 35, 62, 72, 79, 79, 72, 62)],
  limbs=(
    *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11), (11, 12), (12, 7)),
    *((7, 13), (13, 14), (14, 15)),
  ),
  torso=((7,), (6,)),
)
# A mouse from above. Its length is that from snout to tail base.
OPENFIELD = skeleton(
  "openfield",
  ("snout", "left_ear", "right_ear", "tail_base"),
  sigmas=0.05,
  limbs=((0, 1), (0, 2), (1, 3), (2, 3)),
  torso=((0,), (3,)),
)
FINGERS = ("index", "middle", "ring", "little")
FIGURES = COCO._replace(name="figures")
# One hand, left or right: a mirrored picture shows the other hand, with the same joints. It has no torso: PCK
# is told in pixels or mm.
HAND = skeleton(
  "hand",
  ["wrist", "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"]
  + [f"{name}_{part}" for name in FINGERS for part in ("mcp", "pip", "dip", "tip")],
  sigmas=0.05,
  limbs=[(0 if i % 4 == 1 else i - 1, i) for i in range(1, 21)],
)
SKELETONS: Mapping[str, Skeleton] = {s.name: s for s in (COCO, MPII, OPENFIELD, FIGURES, HAND)}
