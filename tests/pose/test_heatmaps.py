"""Heat maps: golden targets and loss, decoding within its bounds, and the flip test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vita_jax import pose
from vita_jax.pose import heatmaps

SIZE = (64, 48)
targets = jax.jit(
  functools.partial(pose.gaussian_targets, size=SIZE, stride=4, sigma=2.0), static_argnames="centre"
)
decode = jax.jit(pose.decode, static_argnames="method")
loss_of = jax.jit(pose.heatmap_loss)
flipped = jax.jit(pose.flip_heatmaps, static_argnames=("skeleton", "shift"))


def _one(x, y, **options):
  maps, weights = targets(np.array([[[x, y]]], np.float32), np.ones((1, 1)), **options)
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
  loss = float(loss_of(jnp.zeros_like(wanted), wanted, weights))
  assert loss == pytest.approx(0.5 * total / (17 * 3072), rel=1e-5) and loss == pytest.approx(
    1.2e-4, rel=0.01
  )


def test_padded_rows_have_no_part_in_the_loss():
  rng = np.random.default_rng(0)
  maps, wanted = (jnp.asarray(rng.normal(size=(3, 4, 5, 2)), jnp.float32) for _ in range(2))
  whole = loss_of(maps[:2], wanted[:2], jnp.ones((2, 2)))
  padded = loss_of(maps.at[2].set(jnp.nan), wanted, jnp.ones((3, 2)), mask=jnp.array([1, 1, 0]))
  np.testing.assert_allclose(padded, whole, rtol=1e-6)


@pytest.fixture(scope="module")
def random_joints():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.uniform([8, 8], [180, 244], (60, 17, 2)), jnp.float32)


@pytest.mark.parametrize("method", ["argmax", "quarter"])
def test_a_round_trip_loses_what_rounding_loses(method, random_joints):
  maps, _ = targets(random_joints, jnp.ones((60, 17)))
  found = decode(maps, method=method)
  away = np.linalg.norm(np.asarray(pose.to_input(found.joints, stride=4) - random_joints), axis=-1)
  assert away.max() <= 2 * np.sqrt(2) + 1e-4 and away.mean() == pytest.approx(1.53, abs=0.05)
  # A symmetric peak moves nowhere.
  np.testing.assert_array_equal(np.asarray(found.joints) % 1, 0)
  np.testing.assert_array_equal(np.asarray(found.scores), 1)


@pytest.mark.parametrize("method", ["dark", "udp"])
def test_the_unbiased_decodings_find_places_between_pixels(method, random_joints):
  maps, _ = targets(random_joints, jnp.ones((60, 17)), centre="exact")
  found = decode(maps, method=method)
  away = np.linalg.norm(np.asarray(pose.to_input(found.joints, stride=4) - random_joints), axis=-1)
  assert away.mean() < 0.1 and np.median(away) < 0.01  # more where the border cuts the Gaussian


def test_a_quarter_is_given_inside_of_the_border_only():
  def decoded(column, row):
    heat = np.zeros((1, 8, 8, 1), np.float32)
    heat[0, row, column] = 1.0
    heat[0, row + 1 : row + 2, column] = heat[0, row, column + 1 : column + 2] = 0.5
    return decode(heat).joints[0, 0].tolist()

  assert decoded(0, 4) == [0, 4] and decoded(1, 4) == [1, 4] and decoded(7, 4) == [7, 4]
  assert decoded(6, 4) == [6.25, 4.25] and decoded(2, 4) == [2.25, 4.25]
  assert decoded(4, 1) == [4, 1] and decoded(4, 7) == [4, 7]  # both axes, or neither


def _by_loop(heat, method):
  """One map [h, w] decoded step by step: the reference of `decode`."""
  height, width = heat.shape
  row, column = np.unravel_index(np.argmax(heat), heat.shape)
  place, score = np.array([column, row], float), heat[row, column]
  if score <= 0:
    return np.zeros(2), score
  if method == "quarter" and 1 < column < width - 1 and 1 < row < height - 1:
    place += 0.25 * np.sign(
      [heat[row, column + 1] - heat[row, column - 1], heat[row + 1, column] - heat[row - 1, column]]
    )
  s = {"dark": 2, "udp": 1}.get(method, 0)
  if s and s <= column < width - s and s <= row < height - s:
    smooth = gaussian_filter(heat.astype(float), 2.0, mode="constant", truncate=2.5)
    p = np.log(np.maximum(smooth, 1e-10))[row - s : row + s + 1, column - s : column + s + 1]
    slope = np.array([p[s, s + 1] - p[s, s - 1], p[s + 1, s] - p[s - 1, s]]) / 2
    xx, yy = ((p[b, a] - 2 * p[s, s] + p[d, c]) / s**2 for a, b, c, d in ((2 * s, s, 0, s), (s, 2 * s, s, 0)))
    xy = (p[s + 1, s + 1] - p[s + 1, s - 1] - p[s - 1, s + 1] + p[s - 1, s - 1]) / 4
    place -= np.linalg.solve(np.array([[xx, xy], [xy, yy]]), slope)
  return place, score


@pytest.mark.parametrize("method", heatmaps.METHODS)
def test_decoding_is_that_of_a_loop_on_any_maps(method):
  rng = np.random.default_rng(0)
  maps = np.stack([gaussian_filter(rng.normal(size=(20, 14)), 1.5) for _ in range(200)]).astype(np.float32)
  maps = np.moveaxis(maps.reshape(20, 10, 20, 14), 1, -1) + 0.05
  found = decode(maps, method=method)
  expected = [[_by_loop(maps[i, :, :, k], method) for k in range(10)] for i in range(20)]
  joints = np.array([[one[0] for one in row] for row in expected])
  np.testing.assert_array_equal(found.scores, [[one[1] for one in row] for row in expected])
  # Where a smoothed map is nearly flat the step is a small number over a small one.
  np.testing.assert_allclose(found.joints, joints, rtol=2e-3, atol=2e-3)


def test_maps_without_anything_give_the_origin_and_the_first_maximum_counts():
  found = decode(np.stack([np.zeros((1, 4, 4)), -np.ones((1, 4, 4))], axis=-1))
  np.testing.assert_array_equal(found.joints, 0)
  assert found.scores.tolist() == [[0, -1]]
  twice = np.zeros((1, 6, 6, 1), np.float32)
  twice[0, [2, 4], [3, 1]] = 1.0
  assert decode(twice, method="argmax").joints.tolist() == [[[3, 2]]]
  with pytest.raises(ValueError, match="unknown method 'quater': did you mean 'quarter'"):
    decode(twice, method="quater")


def test_decoding_takes_any_leading_axes():
  maps = np.random.default_rng(0).normal(size=(2, 3, 8, 6, 4)).astype(np.float32)
  found = decode(maps)
  assert found.joints.shape == (2, 3, 4, 2)
  np.testing.assert_array_equal(found.joints[1, 2], decode(maps[1:, 2:3]).joints[0, 0])


def test_the_flip_test_of_a_network_that_is_right_finds_the_places():
  """A network that sees the joints in its input: two coordinates in a picture of [17, 2] numbers."""
  joints = jnp.asarray(np.random.default_rng(1).uniform([20, 20], [170, 235], (4, 17, 2)), jnp.float32)
  order = np.array(pose.flip_order(pose.COCO))

  def network(pictures):  # the first row says whether the picture is mirrored
    mirrored = pictures[:, 0, 0, 0] > pictures[:, 0, -1, 0]
    people = jnp.tile(joints, (len(pictures) // 4, 1, 1))
    other = (people * jnp.array([-1.0, 1.0]) + jnp.array([191.0, 0.0]))[:, order]
    return targets(jnp.where(mirrored[:, None, None], other, people), jnp.ones(people.shape[:2]))[0]

  @jax.jit
  def found(ramp):
    averaged = decode(pose.flip_test(network, ramp, pose.COCO)).joints
    apart = decode(pose.flip_heatmaps(network(ramp[:, :, ::-1]), pose.COCO, shift=0)).joints
    return jnp.abs(averaged - joints / 4), jnp.abs(apart - joints / 4)

  ramp = np.broadcast_to(np.arange(192.0, dtype=np.float32)[None, None, :, None], (4, 2, 192, 1))
  away, apart = map(np.asarray, found(ramp))
  assert away.max() <= 1.0
  # Without the shift the mirrored map is half a place further away.
  assert apart[..., 0].mean() > away[..., 0].mean() + 0.2


def test_flipped_maps_change_channels_and_move_by_a_column():
  maps = np.random.default_rng(0).normal(size=(2, 5, 6, 17)).astype(np.float32)
  plain = flipped(maps, pose.COCO, shift=0)
  np.testing.assert_array_equal(plain[..., 1], maps[:, :, ::-1, 2])
  np.testing.assert_array_equal(flipped(plain, pose.COCO, shift=0), maps)
  moved = flipped(maps, pose.COCO)
  np.testing.assert_array_equal(moved[:, :, 1:], plain[:, :, :-1])
  np.testing.assert_array_equal(moved[:, :, 0], plain[:, :, 0])
  with pytest.raises(ValueError, match="the maps have 17 channels and skeleton 'mpii' 16 keypoints"):
    flipped(maps, pose.MPII)


def test_a_step_of_all_of_it_lowers_for_gpu_and_tpu():
  off = pose.Augmentation(half_body=0.0)

  def step(key, images, joints, visible, maps):
    images, joints, visible = pose.augment_on_device(key, images, joints, visible, pose.COCO, off)
    wanted, weights = pose.gaussian_targets(joints, visible, size=SIZE, stride=4, sigma=2.0)
    averaged = (maps + pose.flip_heatmaps(maps, pose.COCO)) / 2
    return images, pose.heatmap_loss(averaged, wanted, weights), pose.decode(averaged, method="dark")

  shapes = [(3, 256, 192, 3), (3, 17, 2), (3, 17), (3, *SIZE, 17)]
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  exported = jax.export.export(jax.jit(step), platforms=["cuda", "tpu"])(jax.random.key(0), *arrays)
  assert exported.platforms == ("cuda", "tpu")
