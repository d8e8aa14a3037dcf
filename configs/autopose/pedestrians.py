"""355 pedestrians of one street camera at 64 x 64, split by time: search, train, and every comparison.

  python launch/train.py --config=configs/autopose/pedestrians.py:search --workdir=runs/autopose/search
  python launch/autopose/derive.py --workdir=runs/autopose/search
  python launch/train.py --workdir=runs/autopose/found \\
    --config=configs/autopose/pedestrians.py:retrain:runs/autopose/search/genotype.json

The argument is the step:
  search                     network level by reinforcement, cells by gradient
  random                     network and cells drawn uniformly, weights shared; the same number is scored
  uniform, evolve            cells by gradient; the network level drawn uniformly, or by ageing evolution
  cell_only, network_only    cells alone, in the network all_edges; the network alone, of plain cells
  single_branch, no_edges    trained by themselves: one branch; branches that only the head adds up
  hrnet, simple_baseline     reduced ones, trained by themselves
  mean_pose                  the median pose of the training crops
  retrain:GENOTYPE           trains genotype.json, candidates.json#NUMBER, all_edges, staged or random:NUMBER
A search sees training crops alone: half of them train weights, the others choose. It has maps of 16 x 16;
what is trained by itself has maps of 32 x 32, its widths fitted to 24 million multiply-adds within 5 %.
(hrnet and simple_baseline have a stride of 4, so they see the crops enlarged to 128 x 128.)
Labels are pseudo-labels of BlazePose heavy; `label_ceiling_pck_0.2` is what those of BlazePose full reach.
The same people walk through training and test frames: PCK is of other moments, not of strangers.
The data are read from VITA_DATA_DIR/vision.
Hardware: two CPU cores. Time: 30 minutes for a search on one of them, beside other work; 2 for a training,
estimated from single steps. Peak memory: 2 GB, estimated.
Expect (a pilot of one seed on other networks): PCK within 0.2 torsos 0.42 for the median pose, 0.56 for one
branch, 0.61 for branches that the head adds up, 0.65 with edges; the ceiling is 0.946.
"""

from vita_jax.papers.autopose.recipe import SEARCHES, default_config

SMALL = {
  "data.name": "pedestrians",
  "data.size": (64, 64),
  "data.scale": 0.15,
  "data.rotation": 10.0,
  "data.shift": (3.0, 3.0),
  "space.stages": 2,
  "space.branches": 3,
  "space.cells": 2,
  "network.preset": "all_edges",  # of cell_only; HRNet's stages would exchange nothing in a space of two
  "model.channels": 8,
  "model.stem": 16,
  "search.steps": 1500,  # with few it stays below the median pose: `median_pose_score`
  "search.warm": 500,
  "search.batch": 16,
  "search.rate": 3e-3,
  "search.round": 45,
  "controller.steps": 5,
  "controller.rate": 5e-3,
  "controller.baseline": "others",  # how easy 16 crops are is no architecture's merit
  "cell.rate": 1e-2,  # at DARTS's 3e-4 operations would keep nearly equal weights
  "train.steps": 400,
  "train.batch": 24,
  "train.rate": 3e-3,
  "replicate": "map",  # side by side, a supernet would compute what an architecture lacks
}
SEARCH = {"model.stride": 4, "data.sigma": 1.0}
TRAIN = {"model.stride": 2, "data.sigma": 1.5, "budget.macs": 24e6, "steps_per_call": 1}


def get_config(step: str = "search"):
  step = step or "search"
  return default_config(step, {**SMALL, **(SEARCH if step in SEARCHES else TRAIN)})
