"""116 frames of a mouse from above with four keypoints, 88 to train and 28 to test, at 128 x 64.

  python launch/train.py --config=configs/autopose/mouse.py:retrain:all_edges --workdir=runs/autopose/mouse

The argument is the step, as in configs/autopose/pedestrians.py. PCK is told in lengths from snout to tail
base. All frames are of one film: the split at random measures interpolation, not other mice. The data are
read from VITA_DATA_DIR/pose/openfield.
Hardware: two CPU cores. Time: not measured; about 10 minutes for a search and 2 for a training, estimated.
Peak memory: 2 GB, estimated.
Expect `pck_0.1` of 0.65 or more, the bar; a pilot of a single-scale network of 14,000 parameters had 0.71
after 400 steps, the median pose 0.00.
"""

from vita_jax.papers.autopose.recipe import SEARCHES, default_config

SMALL = {
  "data.name": "mouse",
  "data.size": (128, 64),
  "data.flip": 0.0,
  "data.shift": (0.0, 12.0),
  "space.stages": 2,
  "space.branches": 3,
  "space.cells": 2,
  "model.channels": 8,
  "model.stem": 16,
  "search.steps": 600,
  "search.warm": 200,
  "search.batch": 16,
  "search.rate": 3e-3,
  "search.round": 15,
  "controller.steps": 5,
  "controller.rate": 5e-3,
  "controller.baseline": "others",
  "cell.rate": 1e-2,  # at DARTS's 3e-4 the weights of operations would stay within 0.12 and 0.15
  "train.steps": 400,
  "train.batch": 16,
  "train.rate": 3e-3,
  "report.shares": (0.1, 0.2),
  "report.flip": False,  # no frame was mirrored in training either
  "replicate": "map",
}
SEARCH = {"model.stride": 4, "data.sigma": 1.0}
TRAIN = {"model.stride": 2, "data.sigma": 1.5, "budget.macs": 24e6, "steps_per_call": 1}


def get_config(step: str = "retrain:all_edges"):
  step = step or "retrain:all_edges"
  return default_config(step, {**SMALL, **(SEARCH if step in SEARCHES else TRAIN)})
