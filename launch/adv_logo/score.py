"""Runs a person detector over the images of a folder: who is seen where, as CSV and as pictures.

  python launch/adv_logo/score.py --detector=nanodet --images=photos --out=scored
  python launch/adv_logo/score.py --detector=yolov2 --weights=yolov2.weights --images=photos --out=scored

Writes OUT/boxes.csv (image, score, x0, y0, x1, y1 in pixels), OUT/images.csv (image, the best score of any
place, the number of boxes) and each image with its boxes, OUT/pictures/NAME.png. Detectors: nanodet (ships),
movenet_lightning, movenet_thunder, ssd_mobilenetv2 (weights under VITA_DATA_DIR), yolov2, yolov3 (a Darknet
file), hog (needs `pip install 'vita_jax[hog]'`). Their scores are on unlike scales: see what pictures without
people get before choosing --threshold. Images are resized whole, with grey beside them.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vita_jax import cli
from vita_jax.base.choose import choose
from vita_jax.base.files import write_bytes, write_text
from vita_jax.data.folders import ImageFolder

# About 1 in 20 photographs without people is above (vita_jax/nn/detectors/README.md); HOG's is a guess.
THRESHOLDS = {"hog": 0.5, "movenet_lightning": 0.6, "movenet_thunder": 0.6, "ssd_mobilenetv2": 0.3}

DETECTOR = flags.DEFINE_string("detector", "nanodet", "The detector, see above.")
IMAGES = flags.DEFINE_string("images", None, "Folder of images, or of folders of images.", required=True)
OUT = flags.DEFINE_string("out", None, "Folder to write; made if it is not there.", required=True)
WEIGHTS = flags.DEFINE_string(
  "weights", None, "Its weights: a file or a folder; default: where they are kept."
)
THRESHOLD = flags.DEFINE_float("threshold", None, "Least score of a box; default: 0.4, by the detector.")
OVERLAP = flags.DEFINE_float("overlap", 0.6, "Of boxes that overlap more (IoU) the best stays.", 0.0, 1.0)
PICTURES = flags.DEFINE_bool("pictures", True, "Write the pictures, too.")


def main() -> None:
  folder, out = ImageFolder(IMAGES.value), Path(OUT.value).expanduser()
  if out.resolve().is_relative_to(folder.root.resolve()):
    raise ValueError(
      f"--out={out} is in --images={folder.root}: its pictures would be images of the next run"
    )
  find, threshold = _finder()
  boxes: list[list[Any]] = []
  images: list[list[Any]] = []
  (out / "pictures").mkdir(parents=True, exist_ok=True)
  for i, name in enumerate(folder.paths):
    image = folder[i]["image"]
    best, found = find(image)
    images.append([name, f"{best:.4f}", len(found.scores)])
    rounded = [[f"{v:.1f}" for v in box] for box in found.boxes]
    boxes += [[name, f"{score:.4f}", *box] for score, box in zip(found.scores, rounded, strict=True)]
    if PICTURES.value:
      _draw(out / "pictures" / f"{name}.png", image, found)
  _write(out / "boxes.csv", ["image", "score", "x0", "y0", "x1", "y1"], boxes)
  _write(out / "images.csv", ["image", "best_score", "boxes"], images)
  seen = sum(count > 0 for _, _, count in images)
  print(f"{out}: {seen} of {len(images)} images have a person with a score of at least {threshold:g}")


def _finder() -> tuple[Any, float]:
  from vita_jax.nn.detectors import NAMES, hog, load, pictures

  name = choose("detector", DETECTOR.value, sorted([*NAMES, hog.NAME]))
  threshold = THRESHOLD.value if THRESHOLD.value is not None else THRESHOLDS.get(name, 0.4)
  if name == hog.NAME:
    if WEIGHTS.value:
      raise ValueError("--weights is for the other detectors: OpenCV brings those of hog along")
    return hog.finder(threshold=threshold), threshold
  detector = load(name, WEIGHTS.value, form="top")
  return pictures.finder(detector, threshold=threshold, overlap=OVERLAP.value), threshold


def _draw(path: Path, image: np.ndarray, found: Any) -> None:
  from PIL import Image

  from vita_jax.report.boxes import draw_boxes

  content = io.BytesIO()
  labels = [f"{score:.2f}" for score in found.scores]
  Image.fromarray(draw_boxes(image, found.boxes, labels)).save(content, "PNG")
  path.parent.mkdir(parents=True, exist_ok=True)
  write_bytes(path, content.getvalue())


def _write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows([header, *rows])
  write_text(path, text.getvalue())


if __name__ == "__main__":
  cli.run(main)
