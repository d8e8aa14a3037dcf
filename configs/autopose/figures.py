"""Generated figures at 64 x 64 whose left and right only the face tells: a search that needs no data.

  python launch/train.py --config=configs/autopose/figures.py:search --workdir=runs/autopose/figures

The argument is the step, as in configs/autopose/pedestrians.py. 4,000 figures train and 400 test. PCK is
told in head units, an eighth of the height. As pre-training for pedestrians: train the same genotype here,
then give --config.init_from=RUN there; pictures, keypoints and budget are the same.
Hardware: two CPU cores. Time: not measured; about 12 minutes for a search and 3 for a training, estimated.
Peak memory: 2 GB, estimated.
Expect `pck_1` of three branches about 0.5 and of one branch about 0.35, by a pilot of 300 steps on 2,000
figures; no search was part of it.
"""

from vita_jax.papers.autopose.recipe import SEARCHES, default_config

SMALL = {
  "data.name": "figures",
  "data.size": (64, 64),
  "data.count": (4000, 400),
  "space.stages": 2,
  "space.branches": 3,
  "space.cells": 2,
  "model.channels": 8,
  "model.stem": 16,
  "search.steps": 900,
  "search.warm": 300,
  "search.batch": 16,
  "search.rate": 3e-3,
  "search.round": 15,
  "controller.steps": 5,
  "controller.rate": 5e-3,
  "controller.baseline": "others",
  "cell.rate": 1e-2,  # at DARTS's 3e-4 the weights of operations would stay within 0.12 and 0.15
  "train.steps": 600,
  "train.batch": 24,
  "train.rate": 3e-3,
  "report.shares": (1.0, 0.5),
  "replicate": "map",
}
SEARCH = {"model.stride": 4, "data.sigma": 1.0}
TRAIN = {"model.stride": 2, "data.sigma": 1.0, "budget.macs": 24e6, "steps_per_call": 1}


def get_config(step: str = "search"):
  step = step or "search"
  return default_config(step, {**SMALL, **(SEARCH if step in SEARCHES else TRAIN)})
