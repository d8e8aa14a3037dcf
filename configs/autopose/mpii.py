"""MPII Human Pose: five persons to try the chain, or a file of all.

  python launch/train.py --config=configs/autopose/mpii.py:retrain:all_edges --workdir=runs/autopose/mpii
  python launch/train.py --workdir=runs/autopose/mpii --config=configs/autopose/mpii.py:retrain:FILE.json \\
    --config.data.annotations=mpii/train.json --config.data.folder=mpii/images --config.data.stream=True \\
    --config.data.test_annotations=mpii/valid.json --config.data.test_folder=mpii/images \\
    --config.train.steps=146000 --config.data.size=256,256 --config.model.channels=32

The argument is the step, as in configs/autopose/pedestrians.py. Files are JSON lists of joints, joints_vis,
center, scale and image, as published converters write them; they have no head boxes, so `pckh_of_segment`
measures the head from neck to head top, which is not the official PCKh.
Hardware: two CPU cores for the five (VITA_DATA_DIR/pose/mpii); else GPUs. Time: not measured; 3 minutes for
the five, estimated. Peak memory: 2 GB, estimated.
Number: `pckh_of_segment` near 1 on the five, which train and test alike.
"""

from vita_jax.papers.autopose.recipe import default_config

FIVE = {
  "data.name": "mpii",
  "data.size": (128, 128),
  "data.sigma": 1.5,
  "space.stages": 2,
  "space.branches": 3,
  "space.cells": 2,
  "model.channels": 16,
  "model.stem": 16,
  "model.stride": 2,
  "search.steps": 60,
  "search.warm": 20,
  "search.batch": 2,
  "search.round": 4,
  "controller.steps": 1,
  "train.steps": 400,
  "train.batch": 5,
  "train.rate": 3e-3,
  "steps_per_call": 1,
}


def get_config(step: str = "retrain:all_edges"):
  return default_config(step or "retrain:all_edges", FIVE)
