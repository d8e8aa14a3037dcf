"""COCO keypoints: twelve persons to try the whole chain, or, with the argument full:STEP, the full scale.

  python launch/train.py --config=configs/autopose/coco.py:retrain:all_edges --workdir=runs/autopose/coco
  python launch/train.py --config=configs/autopose/coco.py:full:search --workdir=runs/autopose/coco_search \\
    --config.data.annotations=coco/person_keypoints_train2017.json --config.data.folder=coco/train2017 \\
    --config.data.test_annotations=coco/person_keypoints_val2017.json --config.data.test_folder=coco/val2017

The argument is the step, as in configs/autopose/pedestrians.py; `full:` before it takes the published
training: crops of 256 x 192 (a search: 128 x 96), 210 epochs of 128 crops, Adam 1e-3 divided by 10 after 170
and 200. With it hrnet is HRNet-W32 and simple_baseline the one of ResNet-50, 140 epochs (published: both
start from ImageNet's weights, here from none); without it both are reduced. Give
--config.data.detections=FILE for a detector's boxes; else `ap` is of annotated boxes, which is easier. The
twelve persons (VITA_DATA_DIR/pose/coco) train and test alike: they show that the chain from crop to AP works,
and no more. AP needs pycocotools (extra [pose]).
Hardware: two CPU cores for the twelve, GPUs for full scale. Time: not measured; 3 minutes, and about a day
for the search and three for the training, estimated. Peak memory: 2 GB, estimated; a dry run of full:hrnet
(--dry_run --cpu_devices=8, and 64) needs 5.6 GB for each of 8 devices and 1.1 GB for each of 64.
Expect `ap` of 0.9 or more on the twelve, the bar. At full scale HRNet-W32 has 74.4 (detector's boxes,
published).
"""

from vita_jax.papers.autopose.recipe import SEARCHES, default_config

TWELVE = {
  "data.name": "coco",
  "data.size": (128, 96),
  "data.flip": 0.5,
  "data.sigma": 1.5,
  "space.stages": 2,
  "space.branches": 3,
  "space.cells": 2,
  "model.channels": 16,
  "model.stem": 16,
  "model.stride": 2,
  "search.steps": 60,
  "search.warm": 20,
  "search.batch": 4,
  "search.round": 4,
  "controller.steps": 1,
  "train.steps": 400,
  "train.batch": 12,
  "train.rate": 3e-3,
  "steps_per_call": 1,
}
EPOCH, HALF = 149_813 // 128, 74_906 // 128  # steps: of all labelled persons, and of those that train weights
FULL = {
  "data.name": "coco",
  "data.stream": True,
  "data.size": (256, 192),
  "data.scale": 0.35,
  "data.rotation": 45.0,
  "data.half_body": 0.3,
  "train.batch": 128,
  "train.steps": 210 * EPOCH,
  "train.schedule": "steps",
  "train.drops": (170 * EPOCH, 200 * EPOCH),
  "train.warmup": 0,
  "steps_per_call": 1,
}
# 20 epochs of warm-up, 40 of search, 30 updates of 8 samples after each.
SEARCH = {
  "data.size": (128, 96),
  "data.sigma": 1.0,  # of a picture half as large
  "search.batch": 128,
  "search.warm": 20 * HALF,
  "search.round": HALF,
  "controller.steps": 30,
  "search.steps": 60 * HALF + 40 * 30,
  "derive.candidates": 21,
}

# The baselines as they were published: W32; a ResNet-50 with its own schedule and augmentation.
BASELINES = {
  "hrnet": {"model.published": True},
  "simple_baseline": {
    "model.published": True,
    "model.channels": 64,
    "model.stem": 256,
    "data.scale": 0.3,
    "data.rotation": 40.0,
    "data.half_body": 0.0,
    "train.steps": 140 * EPOCH,
    "train.drops": (90 * EPOCH, 120 * EPOCH),
  },
}


def get_config(step: str = "retrain:all_edges"):
  full, _, rest = (step or "retrain:all_edges").partition(":")
  if full != "full":
    return default_config(step or "retrain:all_edges", TWELVE)
  return default_config(rest, {**FULL, **(SEARCH if rest in SEARCHES else BASELINES.get(rest, {}))})
