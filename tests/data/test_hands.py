"""Rows of hands: crops and mirrors keep them true, and what contradicts itself is refused in one line."""

import numpy as np
import pytest
from data.hand_rows import joint, stick_hand

from vita_jax.data import hands
from vita_jax.data.augment import resize


def _projected(row):
  seen = row["xyz"] @ row["intrinsics"].T
  return seen[:, :2] / seen[:, 2:]


def test_a_row_that_fits_together_is_taken():
  for right in (False, True):
    hands.check_row(stick_hand(right=right), name="mine")


def test_the_other_orders_are_told_from_ours():
  xyz = stick_hand()["xyz"]
  assert hands.order_of(xyz) == "HAND"
  theirs = np.empty_like(xyz)
  theirs[hands.STB_ORDER] = xyz
  assert hands.order_of(theirs) == "STB_ORDER"
  np.testing.assert_array_equal(theirs[hands.STB_ORDER], xyz)
  assert hands.order_of(xyz[hands.RHD_ORDER]) == "RHD_ORDER"
  np.testing.assert_array_equal(hands.RHD_ORDER[hands.RHD_ORDER], np.arange(21))  # its own inverse


def test_a_fist_is_in_our_order():
  """Its tips are nearer to the wrist than its knuckles: distances from the wrist would say RHD's order."""
  xyz = stick_hand()["xyz"].copy()
  for finger in range(1, 5):
    knuckle = xyz[1 + 4 * finger]
    for i, move in enumerate(([0, 0, 36], [0, 26, 36], [0, 36, 20]), start=1):
      xyz[1 + 4 * finger + i] = knuckle + np.float32(move)
  away = np.linalg.norm(xyz - xyz[0], axis=-1)
  assert (away[8::4] < away[5::4]).all()
  assert hands.order_of(xyz) == "HAND" and hands.order_of(xyz[hands.RHD_ORDER]) == "RHD_ORDER"


def test_pixels_follow_their_points_before_any_camera():
  row = stick_hand()
  uv, xyz = row["uv"][None], row["xyz"][None]
  hands.check_projection(uv, xyz)
  hands.check_projection(uv * [0.5, 2] + 7, xyz / 1000)  # another crop, another unit
  for bad, joint_axis in ((uv[..., ::-1], "u does not follow x"), (uv * [-1, 1], "u does not follow x")):
    with pytest.raises(ValueError, match=f"^mine: {joint_axis} / z, .* mirror both or neither"):
      hands.check_projection(bad, xyz, name="mine")
  with pytest.raises(ValueError, match="v does not follow y / z"):
    hands.check_projection(uv * [1, -1], xyz)


def test_hands_that_a_depth_map_would_not_show_are_refused():
  z = np.full((40, 21), 500.0)
  hands.check_within(z, np.inf, name="mine", remedy="-")
  z[:2] = 900  # 5 % are let pass: a frame of a video now and then
  hands.check_within(z, 700, name="mine", remedy="-")
  z[:20] = 900
  with pytest.raises(ValueError, match="^mine: 50 % of the hands are 700 mm away or more, .*: go nearer"):
    hands.check_within(z, 700, name="mine", remedy="go nearer")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda row: row["xyz"].__setitem__((joint("ring_tip"), 1), np.nan), "ring_tip of row 0 is not finite"),
    (lambda row: row.update(xyz=row["xyz"] / 1000), "z is in mm from the camera: multiply metres by 1000"),
    (lambda row: row.update(xyz=-row["xyz"]), "z is in mm from the camera"),
    (lambda row: row.update(uv=row["uv"][:, ::-1]), r"give \(x, y\), not \(row, column\)"),
    (lambda row: row.update(depth=row["depth"] / 1000), "its depth map is .* mm from the joints"),
    (
      lambda row: row.update(xyz=row["xyz"][hands.RHD_ORDER], uv=row["uv"][hands.RHD_ORDER]),
      r"in the order of RHD_ORDER: take joints\[data.hands.RHD_ORDER\]",
    ),
  ],
  ids=["NaN", "metres", "behind", "swapped", "depth", "order"],
)
def test_what_contradicts_itself_is_refused_by_name(change, message):
  row = stick_hand()
  change(row)
  with pytest.raises(ValueError, match=f"^hand.png: .*{message}"):
    hands.check_row(row, name="hand.png")


def test_poses_that_cannot_guide_are_refused():
  row = stick_hand()
  uv, z = np.stack([row["uv"]] * 2), np.stack([row["xyz"][:, 2]] * 2)
  hands.check_poses(uv, z, size=160)
  far = uv.copy()
  far[1, joint("index_tip")] = [500, 20]
  for bad, message in (
    ((far, z), "index_tip of row 1 is at .*500.0, 20.0.*, far outside of a picture of 160 x 160"),
    ((uv, z / 1000), "multiply metres by 1000"),
    ((uv * np.nan, z), "wrist of row 0 is not finite"),
    ((uv[0], z[0]), r"uv must be \[n, 21, 2\] and z \[n, 21\]"),
    ((uv[:, :20], z[:, :20]), r"uv must be \[n, 21, 2\]"),
  ):
    with pytest.raises(ValueError, match=message):
      hands.check_poses(*bad, size=160, name="poses.npz")


def test_left_and_right_hands_side_by_side_are_refused():
  hands.check_one_side([True, True], name="a")
  with pytest.raises(ValueError, match="a: 2 right and 1 left hands: mirror the right ones"):
    hands.check_one_side([True, False, True], name="a")


def test_a_mirrored_row_is_a_row_of_the_other_hand():
  row = stick_hand(right=True)
  other = hands.mirrored(row)
  hands.check_row(other, name="mirrored")
  np.testing.assert_allclose(_projected(other), other["uv"], atol=1e-4)
  np.testing.assert_allclose(other["uv"], [159, 0] + row["uv"] * [-1, 1], atol=1e-4)
  np.testing.assert_array_equal(other["image"], row["image"][:, ::-1])
  np.testing.assert_allclose(other["xyz"][:, 0], -row["xyz"][:, 0])
  assert not other["right"] and row["right"]
  twice = hands.mirrored(other)
  for key in row:
    np.testing.assert_allclose(twice[key], row[key], atol=1e-4, err_msg=key)


@pytest.mark.parametrize("margin", [None, 12.0])
@pytest.mark.parametrize("right", [False, True])
def test_a_crop_keeps_joints_camera_and_depth_together(margin, right):
  row = stick_hand(right=right)
  crop = hands.HandCrop(64, margin=margin)(row)
  assert crop["image"].shape == (64, 64, 3) and crop["depth"].shape == crop["mask"].shape == (64, 64)
  np.testing.assert_allclose(_projected(crop), crop["uv"], atol=1e-3)
  hands.check_row(crop, name="crop")
  assert not crop["right"] and set(np.unique(crop["depth"])) <= set(np.unique(row["depth"]))  # nothing mixed
  np.testing.assert_array_equal(crop["mask"], crop["depth"] < 1000)
  if margin is not None:
    assert crop["uv"].min() > 2 and crop["uv"].max() < 61


def test_a_crop_moves_joints_as_it_moves_pixels():
  """A white pixel at a joint is white at the joint of the crop."""
  row = stick_hand()
  tip = joint("index_tip")
  row["image"][:] = 0
  x, y = np.round(row["uv"][tip]).astype(int)
  row["image"][y - 1 : y + 2, x - 1 : x + 2] = 255
  crop = hands.HandCrop(128, margin=10)(row)
  weights = crop["image"][..., 0].astype(float)
  place = [(weights.sum(axis=axis) @ np.arange(128)) / weights.sum() for axis in (0, 1)]
  scale = crop["intrinsics"][[0, 1], [0, 1]] / row["intrinsics"][[0, 1], [0, 1]]
  np.testing.assert_allclose(place, crop["uv"][tip] + (np.array([x, y]) - row["uv"][tip]) * scale, atol=0.1)


def test_two_bytes_are_put_together_before_a_depth_is_resized():
  """Between 255 and 256 mm the bytes roll over: resized by themselves they give 128 mm or 383."""
  depth = np.tile(np.array([255, 256], np.int32), (4, 2))
  high, low = (depth >> 8).astype(np.uint8), (depth & 255).astype(np.uint8)
  np.testing.assert_array_equal(hands.decode_depth(high, low), depth)
  each = [resize(b[..., None], size=(4, 7), method="bilinear")[..., 0] for b in (high, low)]
  assert np.abs(hands.decode_depth(*each) - 255).max() > 50
  places = hands.nearest_places(4, 7)
  assert set(np.unique(depth[:, places])) == {255, 256} and places.tolist() == [0, 0, 1, 2, 2, 3, 3]


def test_videos_are_split_whole_and_one_video_cannot_be():
  names = ["B1Counting"] * 3 + ["B2Random"] * 2
  train, test = hands.split_sequences(names, ["B1Counting"], name="STB")
  assert train.tolist() == [3, 4] and test.tolist() == [0, 1, 2]
  for bad, message in (
    ((names[:3], ["B1Counting"]), "STB has one video only, B1Counting: a split by video needs two"),
    ((names, ["B4Random"]), "STB has no video 'B4Random': it has B1Counting, B2Random"),
    ((names, ["B1Counting", "B2Random"]), "hold out some of B1Counting, B2Random, and not all"),
  ):
    with pytest.raises(ValueError, match=message):
      hands.split_sequences(*bad, name="STB")
