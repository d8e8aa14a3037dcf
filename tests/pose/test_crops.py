"""Crops: the golden numbers of the published protocol, OpenCV's warps (warps.npz), and the way back."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import pose
from vita_jax.pose.crops import Crop

FILE = Path(__file__).parent / "fixtures" / "warps.npz"
BOX, SIZE = [280.79, 44.73, 218.7, 346.68], (256, 192)
POINT = np.array([[367.0, 81.0]])
# Of the fixture: (angle, box), and (height, width).
CASES = ((0.0, (60.0, 40.0, 70.0, 90.0)), (30.0, (60.0, 40.0, 70.0, 90.0)), (-75.0, (-10.0, 5.0, 60.0, 40.0)))
SMALL = (64, 48)


@pytest.fixture(scope="module")
def opencv():
  with np.load(FILE, allow_pickle=False) as file:
    return dict(file)


def _place(box=BOX, size=SIZE, **options):
  return pose.centre_and_scale(box, aspect=size[1] / size[0], **options)


def test_the_golden_box():
  centre, scale = _place()
  np.testing.assert_allclose(centre, [390.14, 218.07], atol=1e-9)
  np.testing.assert_allclose(scale, [1.6250625, 2.16675], atol=1e-9)


@pytest.mark.parametrize(
  ("angle", "matrix", "point"),
  [
    (0, [[0.590747, 0, -134.473865], [0, 0.590747, -0.824103]], [82.3301, 47.0264]),
    (30, [[0.511602, 0.295373, -168.008287], [-0.295373, 0.511602, 131.67198]], [43.6747, 64.7097]),
  ],
)
def test_the_golden_matrices(angle, matrix, point):
  centre, scale = _place()
  for library in (np, jnp):
    found = pose.crop_matrix(library.asarray(centre), library.asarray(scale), size=SIZE, rotation=angle)
    np.testing.assert_allclose(found, matrix, atol=5e-5)  # the golden ones are of float32 points
    np.testing.assert_allclose(pose.apply_matrix(found, POINT), [point], atol=1e-4)


def test_the_golden_way_back():
  centre, scale = _place()
  assert 200 * scale[0] / 48 == pytest.approx(6.771093, abs=1e-6)
  found = pose.to_picture(np.array([[24.25, 32.0]]), centre, scale, size=(64, 48))
  np.testing.assert_allclose(found, [[391.8328, 218.07]], atol=1e-4)


@pytest.mark.parametrize("convention", ["half", "udp"])
def test_there_and_back_is_the_identity_for_many_at_once(convention):
  rng = np.random.default_rng(0)
  boxes = np.concatenate([rng.uniform(-20, 80, (5, 2)), rng.uniform(5, 90, (5, 2))], axis=1)
  centre, scale = _place(boxes)
  points = rng.uniform(0, 100, (5, 7, 2))
  there = pose.apply_matrix(pose.crop_matrix(centre, scale, size=SIZE, convention=convention), points)
  back = pose.to_picture(there, centre, scale, size=SIZE, convention=convention)
  np.testing.assert_allclose(back, points, atol=1e-9)


def test_udp_maps_are_mirrored_exactly_and_half_maps_are_half_a_pixel_off():
  centre, scale = np.array([50.0, 40.0]), np.array([0.24, 0.32])
  point = np.array([[57.0, 33.0]])
  mirrored = [[99 - 57.0, 33.0]], np.array([99 - 50.0, 40.0])
  for convention, away in (("udp", 0.0), ("half", 1.0)):
    ((x, _),) = pose.apply_matrix(pose.crop_matrix(centre, scale, size=SMALL, convention=convention), point)
    ((turned, _),) = pose.apply_matrix(
      pose.crop_matrix(mirrored[1], scale, size=SMALL, convention=convention), np.array(mirrored[0])
    )
    assert turned == pytest.approx(47 - x + away)


def test_strides_of_the_two_conventions():
  assert Crop(SIZE).stride((64, 48)) == (4, 4)
  assert Crop(SIZE, "udp").stride((64, 48)) == (191 / 47, 255 / 63)
  with pytest.raises(ValueError, match="unknown convention 'upd': did you mean 'udp'"):
    Crop(SIZE, "upd").stride((64, 48))


def test_matrices_are_those_of_three_points_in_opencv(opencv):
  for i, (angle, box) in enumerate(CASES):
    centre, scale = _place(box, SMALL)
    found = pose.crop_matrix(centre, scale, size=SMALL, rotation=angle)
    np.testing.assert_allclose(found, opencv[f"matrix_{i}"], rtol=1e-5, atol=1e-4)


def test_warps_are_opencvs_up_to_its_rounding_of_places(opencv):
  for i in range(len(CASES)):
    matrix, expected = opencv[f"matrix_{i}"], opencv[f"warp_{i}"].astype(int)
    found = pose.warp(opencv["picture"], matrix, size=SMALL)
    assert found.dtype == np.uint8 and found.shape == (*SMALL, 3)
    difference = np.abs(found.astype(int) - expected)
    edge = _near_the_edge(matrix, opencv["picture"].shape)
    assert difference[~edge].max() <= 3 and difference.mean() < 0.3
    assert not edge.all()
    on_device = jax.jit(pose.warp, static_argnames="size")(
      jnp.asarray(opencv["picture"]), jnp.asarray(matrix), size=SMALL
    )
    assert np.abs(np.asarray(on_device).astype(int) - found.astype(int)).max() <= 1


def _near_the_edge(matrix, shape):
  """Places whose source is within a pixel of the border: there 1/32 pixel is 1/32 of the value."""
  y, x = np.mgrid[: SMALL[0], : SMALL[1]]
  sx, sy = np.moveaxis(
    pose.apply_matrix(pose.inverse_matrix(matrix), np.stack([x, y], -1).reshape(-1, 2)), -1, 0
  )
  near = [(np.abs(v) < 1) | (np.abs(v - (n - 1)) < 1) for v, n in ((sx, shape[1]), (sy, shape[0]))]
  return (near[0] | near[1]).reshape(SMALL)


@pytest.mark.parity
def test_opencv_itself_gives_the_same():
  cv2 = pytest.importorskip("cv2")
  rng = np.random.default_rng(0)
  image = cv2.GaussianBlur(rng.integers(0, 256, (90, 110, 3), dtype=np.uint8), (9, 9), 3)
  for _ in range(20):
    box = [*rng.uniform(10, 40, 2), *rng.uniform(20, 40, 2)]
    matrix = pose.crop_matrix(*_place(box, SMALL), size=SMALL, rotation=rng.uniform(-90, 90))
    expected = cv2.warpAffine(image, matrix, SMALL[::-1], flags=cv2.INTER_LINEAR).astype(int)
    difference = np.abs(pose.warp(image, matrix, size=SMALL).astype(int) - expected)
    assert difference[~_near_the_edge(matrix, image.shape)].max() <= 3


def test_a_crop_of_the_whole_picture_is_the_picture():
  image = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
  same = np.array([[1.0, 0, 0], [0, 1, 0]])
  np.testing.assert_array_equal(pose.warp(image, same, size=(6, 8)), image)
  moved = pose.warp(image, same + [[0, 0, 2], [0, 0, -1]], size=(6, 8))
  np.testing.assert_array_equal(moved[:5, 2:], image[1:, :6])
  assert not moved[5].any() and not moved[:, :2].any()  # 0 outside


def test_boxes_are_clipped_as_the_protocol_has_it():
  boxes = np.array(
    [[5.0, 6, 10, 12], [-4, -4, 10, 12], [90, 40, 30, 30], [200, 0, 4, 4], [5, 5, 0, 9], [5, 5, -3, 9]]
  )
  found, kept = pose.clip_boxes(boxes, 100, 50)
  assert kept.tolist() == [True, True, True, False, False, False]
  assert found[:3].tolist() == [[5, 6, 9, 11], [0, 0, 9, 11], [90, 40, 9, 9]]


@pytest.mark.parametrize("box", [[3, 4, 0, 0], [3, 4, -1, 5], [3, 4, float("nan"), 5]])
def test_an_empty_box_is_refused(box):
  with pytest.raises(
    ValueError, match=r"the box \[3.0, 4.0, .*\] \(x, y, width, height\) is empty: leave it out"
  ):
    _place([[5.0, 5, 5, 5], box])
