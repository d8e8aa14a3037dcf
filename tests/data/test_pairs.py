"""Exact pairs: cartoons from the cache, folders of like names, crops that stay pairs."""

import functools
import importlib.util

import numpy as np
import pytest
from PIL import Image

from vita_jax.data import augment, pairs
from vita_jax.data.stream import Stream, read_batch

PHOTO = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)


def test_cartoons_come_from_the_cache_where_opencv_is_missing(monkeypatch, tmp_path):
  pictures = (PHOTO, PHOTO[:40, :50])
  made = []

  def negative(picture, sigma_s, sigma_r):
    made.append((picture.shape, sigma_s, sigma_r))
    return 255 - picture

  with monkeypatch.context() as patched:
    patched.setattr(pairs, "_stylized", negative)
    first = pairs.cartoons(pictures, sigma_s=10, root=tmp_path)
    again = pairs.cartoons(pictures, sigma_s=10.0, root=tmp_path)
    assert made == [((70, 90, 3), 10, 0.45), ((40, 50, 3), 10, 0.45)]
    pairs.cartoons(pictures, sigma_s=11, root=tmp_path)
    pairs.cartoons(pictures[:1], sigma_s=10, root=tmp_path)
    assert len(made) == 5  # other settings and other pictures are made anew
  for one, other, picture in zip(first, again, pictures, strict=True):
    np.testing.assert_array_equal(one, 255 - picture)
    np.testing.assert_array_equal(one, other)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  np.testing.assert_array_equal(pairs.cartoons(pictures, sigma_s=10, root=tmp_path)[1], first[1])
  with pytest.raises(ImportError, match=r"pip install 'vita_jax\[cartoon\]'") as error:
    pairs.cartoons(pictures, sigma_s=12, root=tmp_path)
  assert "\n" not in str(error.value)
  with pytest.raises(ValueError, match="sigma_s is 0 and sigma_r 0.45"):
    pairs.cartoons(pictures, sigma_s=0, root=tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="OpenCV is not installed")
def test_opencv_draws_a_cartoon(tmp_path):
  import cv2

  (found,) = pairs.cartoons((PHOTO,), sigma_s=10, root=tmp_path)
  expected = cv2.stylization(PHOTO[..., ::-1].copy(), sigma_s=10, sigma_r=0.45)[..., ::-1]
  np.testing.assert_array_equal(found, expected)


def test_crops_and_flips_keep_pairs_pairs_and_resume():
  rows = pairs.pair_rows([PHOTO, PHOTO[::-1]], [255 - PHOTO, 255 - PHOTO[::-1]])
  steps = (functools.partial(augment.random_crop, size=16), augment.flip)
  data = Stream(rows, 2, transform=augment.Together(steps))
  seen = set()
  for t in range(6):
    batch = read_batch(data, 3, t)
    assert batch["image"].shape == (2, 16, 16, 3) and batch["image"].dtype == np.uint8
    np.testing.assert_array_equal(batch["image"], 255 - batch["target"])
    again = read_batch(data, 3, t)
    np.testing.assert_array_equal(batch["image"], again["image"])
    seen.add(batch["image"].tobytes())
  assert len(seen) == 6


def test_together_is_the_same_as_each_by_itself_with_the_same_coins():
  step = functools.partial(augment.random_crop, size=(20, 30))
  both = augment.Together((step, augment.flip), keys=("image", "mask"))
  row = {"image": PHOTO, "mask": PHOTO[..., :1], "label": 3}
  found = both(row, np.random.default_rng(7))
  alone = augment.Augment((step, augment.flip))({"image": PHOTO}, np.random.default_rng(7))
  np.testing.assert_array_equal(found["image"], alone["image"])
  np.testing.assert_array_equal(found["mask"], alone["image"][..., :1])
  assert found["label"] == 3
  with pytest.raises(ValueError, match=r"of one size and dtype: image uint8 \[70, 90, 3\], mask"):
    both({"image": PHOTO, "mask": PHOTO[1:]}, np.random.default_rng(7))


def test_grids_are_in_the_middle_and_do_not_overlap():
  rows = pairs.pair_rows([PHOTO, PHOTO[:40]], [255 - PHOTO, 255 - PHOTO[:40]])
  found = pairs.grid_crops(rows, size=32)
  assert found["picture"].tolist() == [0, 0, 0, 0, 1, 1]
  np.testing.assert_array_equal(found["image"], 255 - found["target"])
  np.testing.assert_array_equal(found["image"][0], PHOTO[3:35, 13:45])
  np.testing.assert_array_equal(found["image"][5], PHOTO[4:36, 45:77])
  few = pairs.grid_crops(rows, size=16, most=3)
  assert few["picture"].tolist() == [0, 0, 0, 1, 1, 1]
  assert len({x.tobytes() for x in few["image"]}) == 6
  with pytest.raises(ValueError, match="picture 1 of 40 x 90 is smaller than a crop, 64"):
    pairs.grid_crops(rows, size=64)
  with pytest.raises(ValueError, match="no pictures"):
    pairs.grid_crops([], size=64)


def test_two_folders_are_paired_by_name(tmp_path):
  for folder, ending, shift in (("photos", "png", 0), ("drawn", "bmp", 7)):
    (tmp_path / folder).mkdir()
    for i in range(3):
      picture = np.full((5, 6, 3), 10 * i + shift, np.uint8)
      Image.fromarray(picture).save(tmp_path / folder / f"{i}.{ending}")
  rows = pairs.folder_pairs(tmp_path / "photos", tmp_path / "drawn")
  assert [(int(r["image"][0, 0, 0]), int(r["target"][0, 0, 0])) for r in rows] == [(0, 7), (10, 17), (20, 27)]
  Image.fromarray(PHOTO).save(tmp_path / "drawn" / "1.bmp")
  with pytest.raises(ValueError, match=r"pair '1' is of unlike sizes, \[5, 6, 3\] and \[70, 90, 3\]"):
    pairs.folder_pairs(tmp_path / "photos", tmp_path / "drawn")
  (tmp_path / "photos" / "2.png").unlink()
  with pytest.raises(ValueError, match=r"drawn has '2' and .*photos has not \(1 such\)"):
    pairs.folder_pairs(tmp_path / "photos", tmp_path / "drawn")
  with pytest.raises(ValueError, match="there are 1 images and 0 targets"):
    pairs.pair_rows([PHOTO], [])
  with pytest.raises(ValueError, match="pair 0 is of unlike sizes"):
    pairs.pair_rows([PHOTO], [PHOTO[1:]])
