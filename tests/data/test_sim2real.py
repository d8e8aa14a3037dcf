"""VisDA-17, GTA5 and Cityscapes in their layouts on disk, on pictures of a few pixels."""

import numpy as np
import pytest
from PIL import Image

from vita_jax.data import sim2real


def _picture(path, shape, seed=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


@pytest.fixture
def visda(tmp_path):
  for i in range(4):
    _picture(tmp_path / "train" / "bus" / f"{i}.png", (10 + i, 12, 3), i)
  (tmp_path / "train" / "image_list.txt").write_text("".join(f"bus/{i}.png {2 * i}\n" for i in range(4)))
  return tmp_path


def test_visda_reads_the_list_and_cuts_the_middle(visda):
  rows = sim2real.visda(visda)
  assert len(rows) == 4 and rows[3]["label"] == 6 and rows[3]["image"].shape == (13, 12, 3)
  assert sim2real.WholePicture(8)(rows[3])["image"].shape == (8, 8, 3)
  rest, held = rows.split(1)
  assert len(rest) == 3 and len(held) == 1 and held[0]["label"] not in [rest[i]["label"] for i in range(3)]
  with pytest.raises(ValueError, match="4 of 4 pictures cannot be held out"):
    rows.split(4)


@pytest.mark.parametrize(
  "line, message", [("bus/0.png 12", "line 1: 'bus/0.png 12' is not a path and a label"), ("", "is empty")]
)
def test_a_list_that_is_none_is_refused(visda, line, message):
  (visda / "train" / "image_list.txt").write_text(line + "\n")
  with pytest.raises(ValueError, match=message):
    sim2real.visda(visda)
  with pytest.raises(FileNotFoundError, match="no list .*validation"):
    sim2real.visda(visda, "validation")


def test_gta5_and_cityscapes_map_ids_to_classes(tmp_path):
  ids = np.array([[7, 8], [33, 0]], np.uint8)
  _picture(tmp_path / "images" / "00001.png", (2, 2, 3))
  (tmp_path / "labels").mkdir()
  palette = Image.fromarray(ids, "P")
  palette.putpalette(list(range(256)) * 3)
  palette.save(tmp_path / "labels" / "00001.png")
  assert sim2real.gta5(tmp_path)[0]["label"].tolist() == [[0, 1], [18, 255]]
  _picture(tmp_path / "leftImg8bit/val/ulm/ulm_0_leftImg8bit.png", (2, 2, 3))
  with pytest.raises(FileNotFoundError, match="no label map .*ulm_0_gtFine_labelIds.png"):
    sim2real.cityscapes(tmp_path)
  target = tmp_path / "gtFine/val/ulm/ulm_0_gtFine_labelIds.png"
  target.parent.mkdir(parents=True)
  Image.fromarray(ids).save(target)
  assert sim2real.cityscapes(tmp_path)[0]["label"].tolist() == [[0, 1], [18, 255]]


def test_a_map_of_another_size_or_of_colours_is_refused(tmp_path):
  _picture(tmp_path / "images" / "1.png", (4, 4, 3))
  (tmp_path / "labels").mkdir()
  Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "labels" / "1.png")
  with pytest.raises(ValueError, match="is 2 x 2 and its picture 4 x 4"):
    sim2real.gta5(tmp_path)[0]
  _picture(tmp_path / "labels" / "1.png", (4, 4, 3))
  with pytest.raises(ValueError, match="its mode is RGB"):
    sim2real.gta5(tmp_path)[0]


def test_a_crop_keeps_picture_and_labels_together_and_fills_with_what_is_ignored():
  image = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9, 1).repeat(3, axis=2)
  row = {"image": image, "label": image[..., 0]}
  crop = sim2real.SceneCrop(5, scales=(1.0, 1.0))
  for seed in range(8):
    found = crop(row, np.random.default_rng(seed))
    assert found["image"].shape == (5, 5, 3)
    np.testing.assert_array_equal(found["image"][..., 0], found["label"])
  padded = sim2real.SceneCrop(8, chance=False)(row)
  assert (padded["label"][0] == 255).all() and (padded["image"][0] == 0).all()
