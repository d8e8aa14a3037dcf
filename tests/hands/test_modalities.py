"""Guidance maps against closed forms, drawn by hand and by a loop over pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import hands
from vita_jax.hands import modalities
from vita_jax.pose import gaussian_targets
from vita_jax.pose.skeletons import HAND


def _pose(seed=0, size=64):
  """Joints spread like a hand, z in mm."""
  rng = np.random.default_rng(seed)
  uv = np.zeros((21, 2))
  uv[0] = [0.5, 0.9]
  for finger in range(5):
    start = np.array([0.2 + 0.15 * finger, 0.5])
    for i in range(4):
      uv[1 + 4 * finger + i] = start + [0, -0.1 * i] + rng.normal(0, 0.02, 2)
  return (uv * size).astype(np.float32), (500 + rng.normal(0, 20, 21)).astype(np.float32)


def test_a_heat_map_has_the_values_of_the_closed_form_and_is_cut_at_0_0099():
  uv = np.full((21, 2), -1e3, np.float32)
  uv[3] = [40, 100]  # off the diagonal: x is the column
  maps = np.asarray(hands.heat_maps(uv, size=256))
  assert maps[100, 40, 3] == 1 and maps[40, 100, 3] == 0
  for away, value in ((6, 0.60653), (18, 0.01111), (19, 0.0)):
    for row, column in ((100, 40 + away), (100 - away, 40)):
      assert maps[row, column, 3] == pytest.approx(value, abs=5e-6)
  assert maps[..., :3].max() == 0 and maps[..., 4:].max() == 0
  distance = np.hypot(*np.meshgrid(np.arange(256) - 40, np.arange(256) - 100))
  assert distance[maps[..., 3] > 0].max() < 18.24  # a disc: 6 sqrt(-2 ln 0.0099) = 18.23


def test_pixel_constants_scale_with_the_side():
  uv, z = _pose(size=256)
  whole = hands.heat_maps(uv + 0.5, size=256)  # of the same place, pixels' centres are half a pixel in
  small = hands.heat_maps(uv / 4 + 0.5 / 4 - 0.375, size=64)
  np.testing.assert_allclose(small[:, :, 0].max(), whole[:, :, 0].max(), atol=0.1)
  assert np.asarray(small > 0).mean() == pytest.approx(float(np.asarray(whole > 0).mean()), rel=0.2)
  for draw in (hands.joints_map, hands.capsule_depth):
    big, little = (np.asarray(draw(uv * s, z, size=int(256 * s))) for s in (1, 0.25))
    shown = [float((x != (0 if draw is hands.joints_map else hands.FAR)).mean()) for x in (big, little)]
    assert shown[0] == pytest.approx(shown[1], rel=0.1)


def test_the_heat_maps_of_pose_do_not_serve():
  """They keep the corners of a square of 3 sigma, and cut what is a little beyond it on an axis."""
  uv = np.full((1, 21, 2), 100.0, np.float32)
  other, _ = gaussian_targets(jnp.asarray(uv), jnp.ones((1, 21)), size=(256, 256), stride=1, sigma=6)
  ours = hands.heat_maps(uv, size=256)
  assert 0 < other[0, 118, 118, 0] < 0.0099 and ours[0, 118, 118, 0] == 0
  shift = hands.heat_maps(uv + np.float32([0.1, 0]), size=256)
  beyond, _ = gaussian_targets(
    jnp.asarray(uv + np.float32([0.1, 0])),
    jnp.ones((1, 21)),
    size=(256, 256),
    stride=1,
    sigma=6,
    centre="exact",
  )
  assert shift[0, 100, 82, 0] > 0.0099 and beyond[0, 100, 82, 0] == 0


def test_a_capsule_is_nearest_on_its_axis_and_ends_at_its_radius():
  uv, z = np.full((21, 2), -1e4, np.float32), np.full(21, 500, np.float32)
  uv[6], uv[7] = [20, 128], [200, 128]  # one finger's bone, along a row
  z[7] = 590
  depth = np.asarray(hands.capsule_depth(uv, z, size=256, mm_per_pixel=1.0))
  np.testing.assert_allclose(depth[128, 20], 500 - 7, atol=1e-3)
  np.testing.assert_allclose(depth[128, 110], 545 - 7, atol=1e-3)
  np.testing.assert_allclose(depth[131, 110], 545 - np.sqrt(49 - 9), atol=1e-3)
  assert depth[135, 110] == hands.FAR and depth[134, 110] < hands.FAR
  assert depth[128, 206] < hands.FAR and depth[128, 208] == hands.FAR  # round at its end


def test_the_depth_map_is_the_nearest_capsule_of_each_pixel_by_a_loop():
  uv, z = _pose()
  found = np.asarray(hands.capsule_depth(uv, z, size=64))
  scale = float(modalities.scale_of(jnp.asarray(uv), jnp.asarray(z)))
  rng = np.random.default_rng(0)
  for y, x in rng.integers(0, 64, (60, 2)):
    best, p = hands.FAR, np.array([x, y], float)
    for i, (a, b) in enumerate(HAND.limbs):
      radius = (10 if i % 4 == 0 else 7) / 4
      along = (uv[b] - uv[a]).astype(float)
      t = np.clip((p - uv[a]) @ along / (along @ along + 1e-8), 0, 1)
      r = np.linalg.norm(p - uv[a] - t * along)
      if r < radius:
        best = min(best, z[a] + t * (z[b] - z[a]) - np.sqrt(radius**2 - r**2) * scale)
    assert found[y, x] == pytest.approx(best, abs=0.01)


def test_the_joints_map_has_the_grey_level_of_the_nearest_bone():
  uv, z = _pose(size=256)
  drawn = np.asarray(hands.joints_map(uv, z, size=256))
  levels = dict(zip(HAND.limbs, modalities.LEVELS.tolist(), strict=True))
  assert [levels[e] for e in ((0, 17), (0, 1), (0, 5), (0, 9), (0, 13))] == [160, 170, 180, 190, 200]
  assert [levels[e] for e in ((1, 2), (7, 8), (11, 12), (15, 16), (19, 20))] == [10, 60, 90, 120, 150]
  assert set(np.unique(drawn)) <= {0, *map(float, modalities.LEVELS)}
  middle = np.round(uv[18] / 2 + uv[19] / 2).astype(int)
  assert drawn[middle[1], middle[0]] == levels[18, 19] and drawn[5, 250] == 0


def test_a_thumb_before_the_fingers_hides_them_and_one_behind_is_hidden():
  uv, z = np.full((21, 2), -1e4, np.float32), np.full(21, 500, np.float32)
  uv[2], uv[3], uv[10], uv[11] = [40, 128], [216, 128], [128, 40], [128, 216]  # a cross
  z[2] = z[3] = 450
  assert hands.joints_map(uv, z, size=256)[128, 128] == modalities.LEVELS[2]
  assert hands.joints_map(uv, 1000 - z, size=256)[128, 128] == modalities.LEVELS[10]


def test_the_scale_is_exact_for_a_flat_palm():
  uv, z = np.zeros((21, 2)), np.full(21, 500.0)
  for i, angle in zip((1, 5, 9, 13, 17), np.linspace(0, 2, 5), strict=True):
    uv[i] = 30 * np.array([np.cos(angle), np.sin(angle)])
  assert float(modalities.scale_of(jnp.asarray(uv), jnp.asarray(z))) == pytest.approx(modalities.PALM / 30)


def test_maps_are_the_same_under_jit_and_vmap():
  poses = [_pose(seed) for seed in range(3)]
  uv, z = (np.stack(x) for x in zip(*poses, strict=True))
  for draw in (hands.capsule_depth, hands.joints_map):
    together = draw(uv, z, size=32)
    mapped = jax.jit(jax.vmap(lambda a, b, draw=draw: draw(a, b, size=32)))(uv, z)
    np.testing.assert_allclose(together, mapped, atol=1e-3)
    np.testing.assert_allclose(together[1], draw(*poses[1], size=32), atol=1e-3)
  assert hands.heat_maps(uv, size=32).shape == (3, 32, 32, 21)
