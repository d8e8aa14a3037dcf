"""RHD's and STB's folders, as they are on disk: generated ones are read back, faults are named."""

import numpy as np
import pytest
from data.hand_rows import stick_hand
from PIL import Image
from scipy.io import savemat

from vita_jax.data import Stream, hands, hands_files
from vita_jax.data.stream import read_batch


@pytest.fixture
def rhd(tmp_path):
  rows = [stick_hand(i, right=bool(i % 2)) for i in range(4)]
  hands_files.write_rhd(tmp_path, rows, more={"identity": np.arange(4)})
  return tmp_path, rows


def test_rows_in_rhds_layout_come_back(rhd):
  root, rows = rhd
  found = hands_files.Rhd(root)
  assert len(found) == 4 and found.hands == [(0, False), (1, True), (2, False), (3, True)]
  np.testing.assert_array_equal(found.arrays["identity"], np.arange(4))
  for i, row in enumerate(rows):
    again = found[i]
    assert again.keys() == row.keys()
    for key in ("image", "mask", "right"):
      np.testing.assert_array_equal(again[key], row[key])
    np.testing.assert_allclose(again["depth"], row["depth"], atol=0.04)
    for key in ("uv", "xyz", "intrinsics"):
      np.testing.assert_allclose(again[key], row[key], rtol=1e-5, atol=1e-4)


def test_the_layout_is_rhds(rhd):
  """Depth in 5 m / 65535, high byte in red; 42 joints in metres, left first, a finger from its tip on."""
  root, rows = rhd
  with Image.open(root / "training/depth/00000.png") as image:
    pair = np.asarray(image).astype(int)
  np.testing.assert_allclose((256 * pair[..., 0] + pair[..., 1]) / 65535 * 5000, rows[0]["depth"], atol=0.04)
  with np.load(root / "training/anno_training.npz", allow_pickle=False) as labels:
    assert labels["uv_vis"].shape == labels["xyz"].shape == (4, 42, 3) and labels["K"].shape == (4, 3, 3)
    np.testing.assert_allclose(labels["xyz"][0, 1] * 1000, rows[0]["xyz"][4], atol=1e-3)  # thumb's tip
    np.testing.assert_allclose(
      labels["uv_vis"][1, 21 + 5, :2], rows[1]["uv"][8], atol=1e-3
    )  # right index's tip
    assert labels["uv_vis"][0, :21, 2].all() and not labels["uv_vis"][0, 21:, 2].any()
  with Image.open(root / "training/mask/00001.png") as image:
    assert set(np.unique(np.asarray(image))) == {0, 33}


def test_rhd_streams_left_hands_of_one_size(rhd):
  root, _ = rhd
  batch = read_batch(Stream(hands_files.Rhd(root), 4, transform=hands.HandCrop(32)), 0, 0)
  assert batch["image"].shape == (4, 32, 32, 3) and not batch["right"].any()
  seen = np.einsum("nij,nkj->nki", batch["intrinsics"], batch["xyz"])
  np.testing.assert_allclose(seen[..., :2] / seen[..., 2:], batch["uv"], atol=1e-3)


def test_a_pickle_is_never_read_and_the_command_that_converts_it_is_named(rhd, tmp_path):
  root, _ = rhd
  part = root / "training"
  (part / "anno_training.npz").rename(root / "kept.npz")
  with pytest.raises(FileNotFoundError, match="give RHD's folder, which has training/ and evaluation/"):
    hands_files.Rhd(root)
  (part / "anno_training.pickle").write_bytes(b"")
  with pytest.raises(ValueError, match=r"is a pickle, which can run code and is never read; .* numpy.savez"):
    hands_files.Rhd(root)
  with np.load(root / "kept.npz", allow_pickle=False) as labels:
    np.savez(part / "anno_training.npz", uv_vis=labels["uv_vis"][:, :21], xyz=labels["xyz"], K=labels["K"])
  with pytest.raises(ValueError, match=r"must have an array 'uv_vis' \[n, 42, 3\]"):
    hands_files.Rhd(root)
  with pytest.raises(ValueError, match="did you mean 'training'"):
    hands_files.Rhd(root, "train")


def test_hands_that_the_mask_does_not_show_are_named_or_left_out(rhd):
  root, _ = rhd
  Image.fromarray(np.zeros((120, 160), np.uint8)).save(root / "training/mask/00002.png")
  with pytest.raises(ValueError, match=r"00002.png does not show the hand that the labels have"):
    hands_files.Rhd(root)[2]
  assert hands_files.Rhd(root).shown().hands == [(0, False), (1, True), (3, True)]


@pytest.fixture
def stb(tmp_path):
  """Two videos of two frames; the hand is before the depth camera."""
  (tmp_path / "labels").mkdir()
  every = {}
  for number, video in enumerate(("B1Counting", "B2Random")):
    folder = tmp_path / "images" / video
    folder.mkdir(parents=True)
    xyz = np.stack([stick_hand(2 * number + i)["xyz"] for i in range(2)]).astype(np.float64)
    every[video] = xyz
    theirs = np.empty_like(xyz)
    theirs[:, hands.STB_ORDER] = xyz
    savemat(tmp_path / "labels" / f"{video}_SK.mat", {"handPara": theirs.transpose(2, 1, 0)})
    for i in range(2):
      Image.fromarray(np.full((480, 640, 3), 10 * i, np.uint8)).save(folder / f"SK_color_{i}.png")
      depth = np.full((480, 640), 600, np.int64)
      pair = np.stack([depth & 255, depth >> 8, 0 * depth], axis=-1).astype(np.uint8)
      Image.fromarray(pair).save(folder / f"SK_depth_{i}.png")
  return tmp_path, every


def test_stb_projects_its_labels_into_the_colour_picture(stb):
  root, every = stb
  found = hands_files.Stb(root)
  assert len(found) == 4 and found.videos() == ["B1Counting"] * 2 + ["B2Random"] * 2
  row = found[3]
  uv, xyz = hands_files.stb_project(every["B2Random"][1])
  np.testing.assert_allclose(row["xyz"], xyz, atol=1e-3)
  np.testing.assert_allclose(row["uv"], uv, atol=1e-3)
  seen = row["xyz"] @ row["intrinsics"].T
  np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], row["uv"], atol=1e-3)
  assert row["image"].mean() == 10 and not row["right"]
  assert len(hands_files.Stb(root, videos=["B2Random"])) == 2
  crop = hands.HandCrop(64)(row)
  assert crop["image"].shape == (64, 64, 3) and crop["depth"].shape == (64, 64)


def test_stbs_colour_camera_is_the_published_one():
  uv, xyz = hands_files.stb_project(np.array([[0.0, 0.0, 500.0]]))
  np.testing.assert_allclose(xyz, [[30.0219, 3.1022, 501.1898]], atol=1e-4)
  np.testing.assert_allclose(uv, [[351.199, 240.187]], atol=1e-3)


def test_a_depth_picture_is_moved_to_the_colour_camera():
  depth = np.zeros((480, 640))
  depth[238:241, 335:338] = 500  # about the axis of the depth camera
  depth[100, 100] = 400
  moved = hands_files.aligned_depth(depth, size=(480, 640))
  uv, xyz = hands_files.stb_project(np.array([0.0, 0.0, 500.0]))
  column, row = np.round(uv).astype(int)
  assert moved[row, column] == pytest.approx(xyz[2], abs=0.5)
  assert 8 <= (moved > 0).sum() <= 10 and moved[100, 100] == hands_files.EMPTY


def test_stbs_faults_are_named(stb, tmp_path):
  root, _ = stb
  with pytest.raises(FileNotFoundError, match="give STB's folder, which has images/ and labels/"):
    hands_files.Stb(root / "images")
  with pytest.raises(ValueError, match="did you mean 'B1Counting'"):
    hands_files.Stb(root, videos=["B1Count"])
  (root / "images/B1Counting/SK_color_0.png").unlink()
  with pytest.raises(FileNotFoundError, match="SK_color_0.png"):
    hands_files.Stb(root)[0]
  (root / "labels/B1Counting_SK.mat").write_bytes(b"no mat")
  with pytest.raises(ValueError, match="B1Counting_SK.mat is not a readable .mat file"):
    hands_files.Stb(root)
  savemat(root / "labels/B1Counting_SK.mat", {"handPara": np.zeros((3, 20, 2))})
  with pytest.raises(ValueError, match=r"must have handPara \[3, 21, frames\]"):
    hands_files.Stb(root)
