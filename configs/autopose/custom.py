"""Keypoints of one's own: a file in COCO's format with any keypoints, and a folder of pictures.

  python launch/train.py --config=configs/autopose/custom.py:retrain:all_edges --workdir=runs/mine \\
    --config.data.annotations=mine.json --config.data.folder=pictures
  python launch/predict.py --workdir=runs/mine --data=new_pictures --out=new.npz

The argument is the step, as in configs/autopose/pedestrians.py; `search` first, then `retrain:FILE`, for a
network of one's own. Names of the keypoints, and limbs, are read from the file's category; left and right by
their names. --config.data.held_out pictures are the test, unless --config.data.test_annotations names a
file. Crowds, persons without a labelled keypoint and boxes outside of their picture are left out and
counted.
Hardware: two CPU cores for a few hundred persons at 128 x 128, else one GPU and data.stream=True. Time: not
measured; 10 minutes, estimated. Peak memory: 2 GB, estimated.
Numbers: `ap` by pycocotools, `oks`, and `pck_0.2` in torsos or, where there is no torso, longer sides of
boxes.
"""

from vita_jax.papers.autopose.recipe import default_config

OWN = {
  "data.name": "custom",
  "data.size": (128, 128),
  "data.scale": 0.25,
  "data.rotation": 20.0,
  "space.stages": 3,
  "space.branches": 3,
  "space.cells": 2,
  "model.channels": 16,
  "model.stem": 32,
  "search.steps": 3000,
  "search.warm": 1000,
  "search.batch": 16,
  "train.steps": 3000,
  "train.batch": 16,
  "steps_per_call": 1,
  "replicate": "map",
}
FILES = {"data.annotations": "annotations.json", "data.folder": "pictures"}  # name your own


def get_config(step: str = "retrain:all_edges"):
  return default_config(step or "retrain:all_edges", {**OWN, **FILES})
