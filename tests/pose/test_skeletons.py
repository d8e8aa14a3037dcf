"""Descriptions of keypoints fit together, and one that does not is refused by name."""

import numpy as np
import pytest

from vita_jax import pose
from vita_jax.pose.skeletons import of_category, skeleton


@pytest.mark.parametrize("name", pose.SKELETONS)
def test_mirroring_twice_is_the_identity_and_pairs_left_with_right(name):
  found = pose.SKELETONS[name]
  order = np.array(pose.flip_order(found))
  np.testing.assert_array_equal(order[order], np.arange(found.n_keypoints))
  for i, j in enumerate(order):
    swapped = found.names[i].replace("left", "L").replace("right", "left").replace("L", "right")
    assert found.names[j] == swapped


def test_the_known_ones_are_those_of_their_data_sets():
  assert (pose.COCO.n_keypoints, pose.MPII.n_keypoints, pose.OPENFIELD.n_keypoints) == (17, 16, 4)
  pairs = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
  assert pose.COCO.flip_pairs == pairs
  assert sorted(pose.MPII.flip_pairs) == [(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)]
  assert pose.COCO.sigmas[9] == 0.062 and pose.MPII.names[6:10] == (
    "pelvis",
    "thorax",
    "upper_neck",
    "head_top",
  )
  assert (pose.COCO.upper, pose.COCO.lower) == (tuple(range(11)), tuple(range(11, 17)))


def test_cocos_own_category_is_coco_and_others_are_read():
  category = {"name": "person", "keypoints": list(pose.COCO.names), "skeleton": [[16, 14]]}
  assert of_category(category) is pose.COCO
  hand = of_category({"name": "paw", "keypoints": ["left_toe", "right_toe"], "skeleton": [[1, 2]]})
  assert hand.flip_pairs == ((0, 1),) and hand.limbs == ((0, 1),) and hand.sigmas == (0.05, 0.05)
  with pytest.raises(ValueError, match="the category 'paw' has no keypoints: list their names"):
    of_category({"name": "paw"})


NAMES = ["left_ear", "right_ear", "nose"]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(names=[]), "give at least one keypoint"),
    (dict(names=["a", "a"]), "each name once: a, a"),
    (dict(names=["left_ear", "right_eae"]), r"'left_ear' has no 'right_ear' \(nearest: 'right_eae'\)"),
    (dict(flip_pairs=[(0, 1), (1, 2)]), "keypoint 1 is in two flip pairs"),
    (dict(flip_pairs=[(0, 0)]), "keypoint 0 is in two flip pairs, or paired with itself"),
    (dict(flip_pairs=[(0, 3)]), "flip_pairs has 3, and the keypoints are 0 to 2"),
    (dict(limbs=[(0, 7)]), "limbs has 7, and the keypoints are 0 to 2"),
    (dict(torso=((0,), (-1,))), "torso has -1"),
    (dict(sigmas=[0.1, 0.1]), "there are 2 sigmas for 3 keypoints"),
    (dict(sigmas=0.0), "give one for each, above 0"),
  ],
)
def test_what_does_not_fit_is_refused(options, message):
  options = {"names": NAMES, **options}
  with pytest.raises(ValueError, match=message):
    skeleton("mine", options.pop("names"), **options)
