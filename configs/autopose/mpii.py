"""MPII Human Pose: five persons to try the chain, or, with the argument full:STEP, a file of all.

  python launch/train.py --config=configs/autopose/mpii.py:retrain:all_edges --workdir=runs/autopose/mpii
  python launch/train.py --config=configs/autopose/mpii.py:full:retrain:FILE --workdir=runs/autopose/all \\
    --config.data.annotations=mpii/train.json --config.data.folder=mpii/images \\
    --config.data.test_annotations=mpii/valid.json --config.data.test_folder=mpii/images

The argument is the step, as in configs/autopose/pedestrians.py; `full:` before it takes the published
training: crops of 256 x 256, 210 epochs of 128 crops, Adam 1e-3 divided by 10 after 170 and 200. Files are
JSON lists of joints, joints_vis, center, scale and image, as published converters write them; they have no
head boxes, so `pckh_of_segment` measures the head from neck to head top, which is not the official PCKh.
Hardware: two CPU cores for the five (VITA_DATA_DIR/pose/mpii); else GPUs. Time: not measured; 3 minutes for
the five, estimated. Peak memory: 2 GB, estimated.
Number: `pckh_of_segment` near 1 on the five, which train and test alike. At full scale HRNet-W32 has
an official PCKh of 90.3 (published).
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
EPOCH = 22_246 // 128  # steps
FULL = {
  "data.name": "mpii",
  "data.stream": True,
  "data.size": (256, 256),
  "data.scale": 0.25,
  "data.rotation": 30.0,
  "train.batch": 128,
  "train.steps": 210 * EPOCH,
  "train.schedule": "steps",
  "train.drops": (170 * EPOCH, 200 * EPOCH),
  "train.warmup": 0,
  "steps_per_call": 1,
}


def get_config(step: str = "retrain:all_edges"):
  full, _, rest = (step or "retrain:all_edges").partition(":")
  return default_config(rest, FULL) if full == "full" else default_config(step or "retrain:all_edges", FIVE)
