"""The small estimator learns where a blob is, classical changes keep joints where they are in the picture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.hands import estimator
from vita_jax.hands.estimator import augmented, kept_keypoint_net, train_keypoint_net
from vita_jax.hands.judges import Judge, found_joints, mean_pose_errors, pose_numbers


def blobs(n, size=16, seed=0):
  """Pictures of one bright blob, and 21 joints that are all in its middle."""
  rng = np.random.default_rng(seed)
  middles = rng.uniform(4, size - 5, (n, 2))
  y, x = np.mgrid[:size, :size]
  squares = (x[None] - middles[:, :1, None]) ** 2 + (y[None] - middles[:, 1:, None]) ** 2
  images = np.repeat((255 * np.exp(-squares / 6))[..., None], 3, axis=-1).astype(np.uint8)
  return images, np.repeat(middles[:, None], 21, axis=1).astype(np.float32)


def test_it_learns_and_equal_seeds_give_equal_judges():
  images, uv = blobs(64)
  judges = [train_keypoint_net(images, uv, steps=150, batch=8, width=4, rate=1e-2) for _ in range(2)]
  found = [found_joints(judge, images[:5])[0] for judge in judges]
  np.testing.assert_array_equal(*found)
  numbers, errors = pose_numbers(judges[0], *blobs(40, seed=1))
  assert errors.shape == (40,) and "presence" not in numbers
  middle = Judge("", lambda pictures: (jnp.full((len(pictures), 21, 2), 7.5), None))
  assert numbers["pose_error"] < 0.7 * pose_numbers(middle, *blobs(40, seed=1))[0]["pose_error"]


def test_runs_that_are_compared_have_one_judge_that_is_trained_once(tmp_path, monkeypatch):
  monkeypatch.setenv("VITA_CACHE_DIR", str(tmp_path))
  images, uv = blobs(8)
  first = kept_keypoint_net(images, uv, steps=2, width=4)
  plain = train_keypoint_net(images, uv, steps=2, width=4)
  monkeypatch.setattr(estimator, "_trained", None)  # is not called again
  again = kept_keypoint_net(images, uv, steps=2, width=4)
  for other in (plain, again):
    np.testing.assert_array_equal(found_joints(first, images)[0], found_joints(other, images)[0])
  for pictures, steps in ((255 - images, 2), (images, 3)):
    with pytest.raises(TypeError):
      kept_keypoint_net(pictures, uv, steps=steps, width=4)


def test_numbers_are_in_pixels_of_224_and_256():
  """A distance of one pixel of 16 is 14 of 224 and 16 of 256."""
  uv = np.full((3, 21, 2), 4.0, np.float32)
  judge = Judge("", lambda pictures: (jnp.full((len(pictures), 21, 2), 4.0) + jnp.array([1.0, 0.0]), None))
  numbers, errors = pose_numbers(judge, np.zeros((3, 16, 16, 3), np.uint8), uv)
  assert errors.tolist() == pytest.approx([14] * 3) and numbers["pose_error"] == pytest.approx(14)
  assert numbers["pck_auc"] == pytest.approx(1 - 10.5 / 19)  # the 11th of 20 distances is the first beyond 16


def test_classical_changes_move_joints_with_the_picture():
  images, uv = blobs(1, size=32)
  run = jax.jit(augmented)
  for seed in range(3):
    image, joints = run(jax.random.key(seed), jnp.asarray(images[0], jnp.float32) / 255, jnp.asarray(uv[0]))
    weights = np.asarray(image[..., 0], np.float64)
    weights = np.where(weights > 0.1 * weights.max(), weights, 0)
    y, x = np.mgrid[:32, :32]
    middle = [(weights * axis).sum() / weights.sum() for axis in (x, y)]
    np.testing.assert_allclose(joints[0], middle, atol=0.5)
    assert np.abs(joints[0] - uv[0, 0]).max() > 0.1


def test_what_cannot_be_is_refused():
  images, uv = blobs(4)
  with pytest.raises(ValueError, match="4 pictures and 3 poses"):
    train_keypoint_net(images, uv[:3])
  with pytest.raises(ValueError, match="unknown augmentation 'classic'"):
    train_keypoint_net(images, uv, augmentation="classic")


def test_the_mean_pose_is_of_the_side_that_is_shown():
  rng = np.random.default_rng(0)
  palm = rng.uniform(0, 32, (21, 2))
  palm[[0, 5, 17]] = (16, 30), (8, 4), (24, 4)
  back = palm * [-1, 1] + [32, 0]
  known = np.concatenate([palm + rng.normal(0, 0.01, (40, 21, 2)), back + rng.normal(0, 0.01, (40, 21, 2))])
  shifted = np.stack([palm + [3, 4], back])
  np.testing.assert_allclose(mean_pose_errors(known, shifted, size=32), [5 * 7, 0], atol=0.1)
  only = mean_pose_errors(known[:40], shifted, size=32)  # no back is known
  np.testing.assert_allclose(only[0], 35, atol=0.1)
  assert only[1] > 10
