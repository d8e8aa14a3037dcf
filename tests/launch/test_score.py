"""launch/adv_logo/score.py: a folder of photographs becomes boxes and pictures."""

import csv

import numpy as np
from PIL import Image

from launch.commands import ROOT, launch, refused, succeeded

PICTURE = ROOT / "tests" / "nn" / "detectors" / "fixtures" / "picture.webp"


def test_a_person_is_found_and_a_wall_is_not(tmp_path):
  images, out = tmp_path / "images", tmp_path / "out"
  images.mkdir()
  (images / "person.webp").write_bytes(PICTURE.read_bytes())
  Image.fromarray(np.full((60, 90, 3), 140, np.uint8)).save(images / "wall.png")
  text = succeeded(launch("adv_logo/score", f"--images={images}", f"--out={out}"))
  assert text.splitlines()[-1].endswith("1 of 2 images have a person with a score of at least 0.4")
  (header, *boxes), (_, person, wall) = (
    list(csv.reader((out / f"{name}.csv").read_text().splitlines())) for name in ("boxes", "images")
  )
  assert header == ["image", "score", "x0", "y0", "x1", "y1"] and len(boxes) == 1
  assert boxes[0][0] == "person.webp" and abs(float(boxes[0][1]) - 0.8214) < 1e-3
  np.testing.assert_allclose([float(v) for v in boxes[0][2:]], [164.7, 166.3, 248.3, 412.5], atol=0.2)
  assert person[0] == "person.webp" and person[2] == "1" and wall[2] == "0" and float(wall[1]) < 0.3
  assert Image.open(out / "pictures" / "wall.png.png").size == (90, 60)


def test_a_folder_that_would_feed_itself_is_refused(tmp_path):
  (tmp_path / "a.webp").write_bytes(PICTURE.read_bytes())
  done = launch("adv_logo/score", f"--images={tmp_path}", f"--out={tmp_path / 'out'}")
  refused(done, "its pictures would be images of the next run")
