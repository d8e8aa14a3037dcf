"""Generated figures follow their description."""

import numpy as np
import pytest

from vita_jax.data.figures import body, figures, picture
from vita_jax.pose.skeletons import FIGURES


@pytest.fixture(scope="module")
def drawn():
  return figures(300, size=64, seed=3)


def _length(points, a, b):
  return np.linalg.norm(points[:, a] - points[:, b], axis=-1)


def test_shapes_and_the_seed(drawn):
  again = figures(2, size=64, seed=3)
  assert drawn["image"].dtype == np.uint8 and drawn["image"].shape == (300, 64, 64, 3)
  for name, values in again.items():
    np.testing.assert_array_equal(values, drawn[name][:2])
  assert not np.array_equal(figures(1, seed=4)["image"], again["image"][:1])


def test_limbs_have_their_lengths_in_head_units(drawn):
  joints, u = drawn["joints"], drawn["length"]
  for limb, length in (((5, 7), 1.4), ((7, 9), 1.3), ((12, 14), 1.9), ((14, 16), 1.8)):
    np.testing.assert_allclose(_length(joints, *limb), length * u, rtol=1e-4)
  assert 0.35 * 64 <= 8 * u.min() < 26 and 54 < 8 * u.max() <= 0.9 * 64
  shoulders, hips = _length(joints, 5, 6) / (2.2 * u), _length(joints, 11, 12) / (1.2 * u)
  np.testing.assert_allclose(shoulders, hips, rtol=1e-3)  # one breadth for all
  assert 0.35 < shoulders.min() < 0.4 and 0.95 < shoulders.max() < 1
  middle = joints[:, [5, 6]].mean(axis=1) - joints[:, [11, 12]].mean(axis=1)
  np.testing.assert_allclose(np.linalg.norm(middle, axis=-1), 2.6 * u, rtol=1e-4)


def test_those_who_face_away_hide_the_face_and_have_their_left_on_the_left(drawn):
  joints, visible = drawn["joints"], drawn["visible"]
  inside = ((joints >= 0) & (joints <= 63)).all(axis=-1)
  towards = visible[:, 0] > 0
  assert 0.4 < towards.mean() < 0.6
  np.testing.assert_array_equal(visible[:, 3:], inside[:, 3:])
  assert not visible[~towards & inside[:, :3].all(axis=1), :3].any()
  upright = np.abs(joints[:, 0, 0] - joints[:, [11, 12], 0].mean(axis=1)) < 3
  left_is_right = joints[:, 5, 0] > joints[:, 6, 0]
  np.testing.assert_array_equal(left_is_right[upright], towards[upright])


def test_left_and_right_limbs_have_one_colour_and_the_face_another():
  rng = np.random.default_rng(0)
  same, faces = [], 0
  for _ in range(40):
    figure = body(rng, 128)
    image = picture(rng, figure, 128)
    at = [tuple(np.round(figure.joints[k]).astype(int)[::-1]) for k in (7, 8)]
    if all(3 < min(p) and max(p) < 124 for p in at):
      same.append(np.abs(image[at[0]] - image[at[1]]).mean())
    x, y = np.round(figure.joints[0]).astype(int)
    faces += figure.towards and np.abs(image[y, x] - image[y - int(0.55 * figure.unit), x]).max() > 0.2
  assert np.median(same) < 0.1 and faces > 8


def test_boxes_and_areas(drawn):
  boxes, u = drawn["box"], drawn["length"]
  joints, seen = drawn["joints"], drawn["visible"] > 0
  for i in range(5):
    low, high = joints[i][seen[i]].min(axis=0), joints[i][seen[i]].max(axis=0)
    np.testing.assert_allclose(boxes[i], [*(low - u[i]), *(high - low + 2 * u[i])], rtol=1e-4)
  np.testing.assert_allclose(drawn["area"], 0.53 * boxes[:, 2] * boxes[:, 3], rtol=1e-5)
  assert drawn["visible"].shape == (300, FIGURES.n_keypoints)


@pytest.mark.parametrize(("count", "size"), [(0, 64), (3, 16)])
def test_no_figures_or_tiny_ones_are_refused(count, size):
  with pytest.raises(
    ValueError, match=f"{count} figures of {size} pixels: give at least one, and at least 32"
  ):
    figures(count, size=size)
