"""The distance of poses: closed forms, stable at both ends, and exact neighbours."""

import numpy as np
import pytest

from vita_jax import hands
from vita_jax.hands.distance import CHAINS
from vita_jax.pose.skeletons import HAND


def _poses(n, seed=0):
  return np.random.default_rng(seed).normal(0, 1, (n, 21, 3)).astype(np.float32)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_pose_is_0_from_itself_and_from_a_larger_one_elsewhere_and_1_from_its_opposite(chain):
  a = _poses(50)
  for other, distance in ((a, 0), (3 * a + 7, 0), (-a, 1)):
    np.testing.assert_allclose(
      hands.pose_distance(a, other, chain=chain), distance, atol=2e-7 + 1e-6 * (other is not a)
    )
  assert np.isfinite(hands.pose_distance(np.zeros((21, 3)), a[0])).all()


def test_orthogonal_poses_are_half_away():
  """All bones along x against all bones along y."""
  a, b = np.zeros((21, 3)), np.zeros((21, 3))
  for start, end in HAND.limbs:
    a[end], b[end] = a[start] + [1, 0, 0], b[start] + [0, 1, 0]
  assert float(hands.pose_distance(a, b)) == pytest.approx(0.5, abs=1e-6)


def test_the_distance_is_the_angle_over_pi_of_either_chain():
  a, b = _poses(2)
  edges = np.array(HAND.limbs)
  pairs = {"tree": lambda x: x[edges[:, 1]] - x[edges[:, 0]], "index": lambda x: np.diff(x, axis=0)}
  for chain, bones in pairs.items():
    p, q = (bones(x.astype(np.float64)).ravel() for x in (a, b))
    angle = np.arccos(p @ q / np.linalg.norm(p) / np.linalg.norm(q)) / np.pi
    assert float(hands.pose_distance(a, b, chain=chain)) == pytest.approx(angle, abs=1e-6)


def test_the_orientation_of_the_hand_counts():
  a = _poses(1)[0]
  turned = a @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
  assert float(hands.pose_distance(a, turned)) > 0.1


@pytest.mark.parametrize("block", [3, 1024])
def test_the_nearest_are_those_of_a_sort(block):
  known, asked = _poses(40), _poses(7, seed=1)
  distances, places = hands.nearest(known, asked, 5, block=block)
  every = np.asarray(hands.pose_distance(asked[:, None], known[None]))
  np.testing.assert_array_equal(places, np.argsort(every, axis=1)[:, :5])
  np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :5], atol=1e-6)
  with pytest.raises(ValueError, match="k is 41, and there are 40 poses"):
    hands.nearest(known, asked, 41)
  with pytest.raises(ValueError, match=r"poses are \[..., 21, 3\]"):
    hands.pose_distance(known[..., :2], asked[..., :2])
