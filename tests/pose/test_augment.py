"""Augmentation: keypoints move with the picture, on the host and on the device; draws have their chances."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import pose
from vita_jax.pose import augment
from vita_jax.pose.augment import Augmentation, CropPerson
from vita_jax.pose.crops import Crop
from vita_jax.pose.skeletons import COCO, skeleton

DOTS = skeleton("dots", ["left_dot", "right_dot", "middle"])


def _dots(size, joints):
  """A picture with a blurred spot at each keypoint, in a channel of its own."""
  y, x = np.mgrid[: size[0], : size[1]]
  spots = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / 18) for a, b in joints]
  return (255 * np.stack(spots, axis=-1)).round().astype(np.uint8)


def _centres(image):
  """The centre of mass of each channel."""
  y, x = np.mgrid[: image.shape[0], : image.shape[1]]
  mass = np.asarray(image, np.float64)
  mass = np.where(mass > 40, mass, 0)
  return np.stack([(mass * v[..., None]).sum((0, 1)) / mass.sum((0, 1)) for v in (x, y)], axis=-1)


def _check_moved(image, joints, tolerance):
  """Spots are at the keypoints, left and right exchanged in a mirrored picture; says whether it is one."""
  centres = _centres(image)
  mirrored = np.abs(centres - joints).max() > 3
  np.testing.assert_allclose(centres[[1, 0, 2]] if mirrored else centres, joints, atol=tolerance)
  return mirrored


JOINTS = np.array([[70.0, 50.0], [95.0, 60.0], [80.0, 75.0]])


@pytest.mark.parametrize("convention", ["half", "udp"])
def test_keypoints_move_with_the_picture_on_the_host(convention):
  crop = Crop((96, 72), convention)
  centre, scale = pose.centre_and_scale([50, 30, 60, 70], aspect=crop.aspect)
  row = {"image": _dots((120, 160), JOINTS), "joints": JOINTS, "visible": np.ones(3)}
  row |= {"centre": centre, "scale": scale, "person": 7}
  transform = CropPerson(crop, DOTS, Augmentation(scale=0.2, rotation=20, turned=1.0, half_body=0.0))
  mirrored = 0
  for seed in range(6):
    found = transform(row, np.random.default_rng(seed))
    assert found["image"].shape == (96, 72, 3) and found["person"] == 7
    mirrored += _check_moved(found["image"], found["joints"], 0.3)
  assert 0 < mirrored < 6
  plain = CropPerson(crop, DOTS)(row)
  np.testing.assert_allclose(_centres(plain["image"]), plain["joints"], atol=0.2)
  back = pose.to_picture(
    plain["joints"], plain["centre"], plain["scale"], size=crop.size, convention=convention
  )
  np.testing.assert_allclose(back, JOINTS, atol=1e-3)


def test_the_draws_have_the_published_chances():
  rng = np.random.default_rng(0)
  drawn = np.array([augment.draw(rng, Augmentation()) for _ in range(4000)], float)
  factor, angle, flips = drawn.T
  assert factor.min() == 0.65 and factor.max() == 1.35 and factor.mean() == pytest.approx(1, abs=0.02)
  assert np.abs(angle).max() == 90 and (angle != 0).mean() == pytest.approx(0.6, abs=0.03)
  assert flips.mean() == pytest.approx(0.5, abs=0.03)


def test_half_bodies():
  rng = np.random.default_rng(0)
  joints = np.stack([np.arange(17.0) * 3, np.arange(17.0) * 10], axis=1)
  find = functools.partial(augment.half_body, skeleton=COCO, augmentation=Augmentation(), aspect=0.75)
  found = [find(rng, joints, np.ones(17)) for _ in range(2000)]
  taken = [f for f in found if f is not None]
  assert len(taken) / 2000 == pytest.approx(0.3, abs=0.03)
  upper = [f for f in taken if f[0][1] < 100]
  assert len(upper) / len(taken) == pytest.approx(0.691, abs=0.05)
  np.testing.assert_allclose(upper[0][0], joints[:11].mean(axis=0))
  np.testing.assert_allclose(upper[0][1], np.array([75.0, 100.0]) / 200 * 1.5)  # 30 x 100 made to the aspect
  few = np.zeros(17)
  few[:8] = 1
  assert all(find(rng, joints, few) is None for _ in range(100))
  low = np.zeros(17)
  low[[0, 1, *range(11, 17)]] = 1
  many = Augmentation(more_than=5)
  found = [augment.half_body(rng, joints, low, COCO, many, aspect=0.75) for _ in range(100)]
  assert all(f is None or f[0][1] > 100 for f in found)  # two upper keypoints are too few


def test_a_mirrored_picture_twice_is_the_picture():
  image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
  joints, visible, centre = np.array([[1.0, 2], [5, 3], [0, 0]]), np.array([1.0, 0, 2]), np.array([4.0, 2])
  once = augment.mirror(image, joints, visible, centre, DOTS)
  assert once[1].tolist() == [[3, 3], [7, 2], [8, 0]] and once[2].tolist() == [0, 1, 2] and once[3][0] == 4
  twice = augment.mirror(*once, DOTS)
  for a, b in zip(twice, (image, joints, visible, centre), strict=True):
    np.testing.assert_array_equal(a, b)


SETTINGS = Augmentation(scale=0.2, rotation=20, turned=0.7, half_body=0.0, shift=(3.0, 6.0))


def test_keypoints_move_with_the_picture_on_the_device():
  points = np.array([[30.0, 26], [44, 34], [36, 46]])
  images, joints = np.stack([_dots((72, 64), points)] * 8), np.stack([points] * 8).astype(np.float32)
  run = jax.jit(functools.partial(pose.augment_on_device, skeleton=DOTS, augmentation=SETTINGS))
  found, moved, seen = run(jax.random.key(0), images, jnp.asarray(joints), jnp.ones((8, 3)))
  assert found.dtype == np.uint8 and found.shape == images.shape and seen.shape == (8, 3)
  flips = sum(_check_moved(image, place, 0.4) for image, place in zip(found, np.asarray(moved), strict=True))
  assert 0 < flips < 8 and np.ptp(np.asarray(moved)[:, 2], axis=0).min() > 2


def test_whole_shifts_and_mirrors_are_exact_on_the_device():
  images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), dtype=np.uint8))
  joints = jnp.broadcast_to(jnp.array([[1.0, 2], [5, 3], [0, 7]]), (4, 3, 2))
  off = Augmentation(scale=0, rotation=0, turned=0, flip=0, half_body=0)
  same = pose.augment_on_device(jax.random.key(0), images, joints, jnp.ones((4, 3)), DOTS, off)
  np.testing.assert_array_equal(same[0], images)
  always = off._replace(flip=1.0)
  found = pose.augment_on_device(jax.random.key(0), images, joints, jnp.ones((4, 3)), DOTS, always)
  np.testing.assert_array_equal(found[0], images[:, :, ::-1])
  assert found[1][0].tolist() == [[0, 3], [4, 2], [5, 7]]


def test_half_bodies_on_the_device_are_refused():
  with pytest.raises(ValueError, match="half_body is 0.3: it needs the picture around a crop; set it to 0"):
    pose.augment_on_device(
      jax.random.key(0),
      jnp.zeros((1, 8, 8, 3)),
      jnp.zeros((1, 17, 2)),
      jnp.ones((1, 17)),
      COCO,
      Augmentation(),
    )
