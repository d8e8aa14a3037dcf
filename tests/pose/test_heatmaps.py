"""Heat maps: golden targets and loss, decoding within its bounds, and the flip test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import pose
from vita_jax.pose import heatmaps

SIZE = (64, 48)
targets = functools.partial(pose.gaussian_targets, size=SIZE, stride=4, sigma=2.0)


def _one(x, y, **options):
  maps, weights = targets(jnp.array([[[x, y]]], jnp.float32), jnp.ones((1, 1)), **options)
  return np.asarray(maps)[0, :, :, 0], float(weights[0, 0])


def test_the_golden_target():
  found, weight = _one(100, 60)
  assert np.unravel_index(found.argmax(), SIZE) == (15, 25) and found[15, 25] == 1 and weight == 1
  np.testing.assert_allclose(found[15, [27, 31]], np.exp([-0.5, -4.5]), rtol=1e-6)
  assert found[15, 32] == 0 and found[8, 25] == 0 and found[9, 25] > 0


@pytest.mark.parametrize(
  ("x", "y", "weight"),
  [
    (-26, 60, 1),  # the place is -6 (truncated), the square ends in column 0
    (-30, 60, 0),  # the place is -7
    (4 * 53, 60, 1),  # the square begins in the last column, 47
    (4 * 54, 60, 0),
    (100, -30, 0),
    (100, 4 * 70, 0),
  ],
)
def test_a_square_outside_of_the_map_has_no_weight(x, y, weight):
  found, given = _one(x, y)
  assert given == weight and (found.max() > 0) == bool(weight)


def test_places_are_truncated_towards_0_as_in_the_published_code():
  # int(-3 / 4 + 0.5) is 0 and floor would be -1.
  assert _one(-3, 60)[0][15, 0] == 1


def test_keypoints_that_are_not_labelled_have_no_weight_whatever_their_place():
  joints = jnp.array([[[jnp.nan, 3.0], [100.0, 60.0], [100.0, 60.0]]])
  found, weights = targets(joints, jnp.array([[0.0, 1.0, 2.0]]))
  assert (
    weights.tolist() == [[0, 1, 1]] and float(found[..., 0].max()) == 0 and bool(jnp.isfinite(found).all())
  )


def test_the_exact_centre_of_the_unbiased_encoding():
  found, _ = _one(101, 62, centre="exact")
  np.testing.assert_allclose(found[15, 25], np.exp(-(0.25**2 + 0.5**2) / 8), rtol=1e-6)


def test_joints_of_another_shape_are_refused():
  with pytest.raises(ValueError, match=r"joints are \[..., keypoints, 2\] .* \(1, 17, 3\) and \(1, 17\)"):
    targets(jnp.zeros((1, 17, 3)), jnp.ones((1, 17)))


def test_the_golden_loss():
  visible = jnp.zeros((1, 17)).at[0, 3].set(1)
  wanted, weights = targets(jnp.full((1, 17, 2), 100.0), visible)
  i = np.arange(-6, 7)
  total = np.exp(-(i**2)[:, None] / 4 - (i**2)[None] / 4).sum()
  assert total == pytest.approx(np.pi * 4, rel=2e-3)
  loss = float(pose.heatmap_loss(jnp.zeros_like(wanted), wanted, weights))
  assert loss == pytest.approx(0.5 * total / (17 * 3072), rel=1e-5) and loss == pytest.approx(
    1.2e-4, rel=0.01
  )


def test_padded_rows_have_no_part_in_the_loss():
  rng = np.random.default_rng(0)
  maps, wanted = (jnp.asarray(rng.normal(size=(3, 4, 5, 2)), jnp.float32) for _ in range(2))
  whole = pose.heatmap_loss(maps[:2], wanted[:2], jnp.ones((2, 2)))
  padded = pose.heatmap_loss(maps.at[2].set(jnp.nan), wanted, jnp.ones((3, 2)), mask=jnp.array([1, 1, 0]))
  np.testing.assert_allclose(padded, whole, rtol=1e-6)


@pytest.fixture(scope="module")
def random_joints():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.uniform([8, 8], [180, 244], (60, 17, 2)), jnp.float32)


@pytest.mark.parametrize("method", ["argmax", "quarter"])
def test_a_round_trip_loses_what_rounding_loses(method, random_joints):
  maps, _ = targets(random_joints, jnp.ones((60, 17)))
  found = jax.jit(functools.partial(pose.decode, method=method))(maps)
  away = np.linalg.norm(np.asarray(pose.to_input(found.joints, stride=4) - random_joints), axis=-1)
  assert away.max() <= 2 * np.sqrt(2) + 1e-4 and away.mean() == pytest.approx(1.53, abs=0.05)
  # A symmetric peak moves nowhere.
  np.testing.assert_array_equal(np.asarray(found.joints) % 1, 0)
  np.testing.assert_array_equal(np.asarray(found.scores), 1)


@pytest.mark.parametrize("method", ["dark", "udp"])
def test_the_unbiased_decodings_find_places_between_pixels(method, random_joints):
  maps, _ = targets(random_joints, jnp.ones((60, 17)), centre="exact")
  found = jax.jit(functools.partial(pose.decode, method=method))(maps)
  away = np.linalg.norm(np.asarray(pose.to_input(found.joints, stride=4) - random_joints), axis=-1)
  assert away.mean() < 0.1 and np.median(away) < 0.01  # more where the border cuts the Gaussian


def test_a_quarter_is_given_inside_of_the_border_only():
  def decoded(column, row):
    heat = jnp.zeros((1, 8, 8, 1)).at[0, row, column, 0].set(1.0)
    for dx, dy in ((1, 0), (0, 1)):
      if column + dx < 8 and row + dy < 8:
        heat = heat.at[0, row + dy, column + dx, 0].set(0.5)
    return pose.decode(heat).joints[0, 0].tolist()

  assert decoded(0, 4) == [0, 4] and decoded(1, 4) == [1, 4] and decoded(7, 4) == [7, 4]
  assert decoded(6, 4) == [6.25, 4.25] and decoded(2, 4) == [2.25, 4.25]
  assert decoded(4, 1) == [4, 1] and decoded(4, 7) == [4, 7]  # both axes, or neither


def test_maps_without_anything_give_the_origin_and_the_first_maximum_counts():
  found = pose.decode(jnp.zeros((1, 4, 4, 2)).at[0, :, :, 1].set(-1.0))
  np.testing.assert_array_equal(found.joints, 0)
  assert found.scores.tolist() == [[0, -1]]
  twice = jnp.zeros((1, 6, 6, 1)).at[0, 2, 3, 0].set(1.0).at[0, 4, 1, 0].set(1.0)
  assert pose.decode(twice, method="argmax").joints.tolist() == [[[3, 2]]]
  with pytest.raises(ValueError, match="unknown method 'quater': did you mean 'quarter'"):
    pose.decode(twice, method="quater")


def test_decoding_takes_any_leading_axes():
  maps = jax.random.normal(jax.random.key(0), (2, 3, 8, 6, 4))
  found = pose.decode(maps)
  assert found.joints.shape == (2, 3, 4, 2)
  np.testing.assert_array_equal(found.joints[1, 2], pose.decode(maps[1, 2:3]).joints[0])


def test_the_flip_test_of_a_network_that_is_right_finds_the_places():
  """A network that sees the joints in its input: two coordinates in a picture of [17, 2] numbers."""
  joints = jnp.asarray(np.random.default_rng(1).uniform([20, 20], [170, 235], (4, 17, 2)), jnp.float32)
  order = np.array(pose.flip_order(pose.COCO))

  def network(pictures):  # the first row says whether the picture is mirrored
    mirrored = pictures[:, 0, 0, 0] > pictures[:, 0, -1, 0]
    other = (joints * jnp.array([-1.0, 1.0]) + jnp.array([191.0, 0.0]))[:, order]
    return targets(jnp.where(mirrored[:, None, None], other, joints), jnp.ones((4, 17)))[0]

  ramp = jnp.broadcast_to(jnp.arange(192.0)[None, None, :, None], (4, 2, 192, 1))
  found = pose.decode(pose.flip_test(network, ramp, pose.COCO))
  away = jnp.abs(found.joints - joints / 4)
  assert float(away.max()) <= 1.0
  # Without the shift the mirrored map is half a place further away.
  apart = pose.decode(pose.flip_heatmaps(network(ramp[:, :, ::-1]), pose.COCO, shift=0)).joints - joints / 4
  assert float(jnp.abs(apart[..., 0]).mean()) > float(away[..., 0].mean()) + 0.2


def test_flipped_maps_change_channels_and_move_by_a_column():
  maps = jax.random.normal(jax.random.key(0), (2, 5, 6, 17))
  plain = pose.flip_heatmaps(maps, pose.COCO, shift=0)
  np.testing.assert_array_equal(plain[..., 1], maps[:, :, ::-1, 2])
  np.testing.assert_array_equal(pose.flip_heatmaps(plain, pose.COCO, shift=0), maps)
  moved = pose.flip_heatmaps(maps, pose.COCO)
  np.testing.assert_array_equal(moved[:, :, 1:], plain[:, :, :-1])
  np.testing.assert_array_equal(moved[:, :, 0], plain[:, :, 0])
  with pytest.raises(ValueError, match="the maps have 17 channels and skeleton 'mpii' 16 keypoints"):
    pose.flip_heatmaps(maps, pose.MPII)


def test_everything_is_one_program():
  @jax.jit
  def step(maps, joints, visible):
    wanted, weights = targets(joints, visible)
    return pose.heatmap_loss(maps, wanted, weights), pose.decode(maps, method="dark")

  loss, found = step(jnp.ones((2, *SIZE, 17)), jnp.ones((2, 17, 2)), jnp.ones((2, 17)))
  assert np.isfinite(loss) and found.joints.shape == (2, 17, 2)
  assert heatmaps.METHODS == ("argmax", "quarter", "dark", "udp")
