"""The whole chain, crop to AP, of a network that gives the target of its own input."""

import importlib.util

import numpy as np
import pytest

from vita_jax import data, pose
from vita_jax.data import sources
from vita_jax.pose.crops import Crop

pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("pycocotools") is None, reason="pycocotools is not installed (extra: pose)"
)
MAPS = (64, 48)


def _found(rows, skeleton, crop, method):
  """What is decoded from the targets, flip test included."""
  stride = crop.stride(MAPS)
  last, order = crop.size[1] - 1, np.array(pose.flip_order(skeleton))
  centre = "rounded" if method == "quarter" else "exact"

  def targets(joints, visible):
    return pose.gaussian_targets(joints, visible, size=MAPS, stride=stride, sigma=2.0, centre=centre)[0]

  joints, visible = rows["joints"], np.ones_like(rows["visible"])
  mirrored = targets((joints * [-1, 1] + [last, 0])[:, order].astype(np.float32), visible)
  other = pose.flip_heatmaps(mirrored, skeleton, shift=1 if crop.convention == "half" else 0)
  return pose.decode((targets(joints, visible) + other) / 2, method=method)


@pytest.mark.parametrize(("convention", "method", "least"), [("half", "quarter", 0.95), ("udp", "udp", 0.99)])
def test_twelve_persons_of_coco(convention, method, least):
  if sources.source_files("pose/coco") is None:
    pytest.skip("no pose/coco under $VITA_DATA_DIR")
  crop = Crop((256, 192), convention)
  people = data.load_people("coco", crop=crop)
  rows = data.crops_of(people, crop)
  found = _found(rows, people.skeleton, crop, method)
  results = pose.coco_persons(
    found.joints,
    found.scores,
    centre=rows["centre"],
    scale=rows["scale"],
    box_scores=rows["score"],
    image_ids=people.image_ids,
    size=MAPS,
    skeleton=people.skeleton,
    convention=convention,
  )
  path = sources.data_file("pose/coco/test_coco.json")
  assert len(results) == 12
  found = pose.coco_ap(path, results, skeleton=people.skeleton)
  assert found["AP"] >= least and found["AP50"] == 1


def test_figures_as_cocos_annotations():
  rows = data.figures.figures(12, size=64)
  crop = Crop((256, 192))
  truth = pose.coco_truth(
    rows["joints"], 2 * rows["visible"], rows["area"], rows["box"], pose.FIGURES, size=(64, 64)
  )
  centre, scale = pose.centre_and_scale(rows["box"], aspect=crop.aspect)
  joints = pose.apply_matrix(pose.crop_matrix(centre, scale, size=crop.size), rows["joints"]).astype(
    np.float32
  )
  found = _found({"joints": joints, "visible": rows["visible"]}, pose.FIGURES, crop, "quarter")
  results = pose.coco_persons(
    found.joints,
    found.scores,
    centre=centre,
    scale=scale,
    box_scores=np.ones(12),
    image_ids=range(1, 13),
    size=MAPS,
    skeleton=pose.FIGURES,
  )
  found = pose.coco_ap(truth, results, skeleton=pose.FIGURES)
  assert found["AP"] > 0.9
