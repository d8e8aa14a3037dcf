"""The results table of AutoPose: what aggregation is worth, and what searching is, at equal multiply-adds.

  python launch/table.py --suite=configs/autopose/table.py --workdir=runs/autopose --split=1

--split=1 is needed: each seed retrains the network that its own search found. --rows=REGEX picks rows (e.g.
"^pedestrians", "^rank"; a search must have been run before what retrains from it), --seeds=N shortens, and
the same command goes on where it was stopped. VITA_AUTOPOSE_RUNS names another folder than runs/autopose.
Hardware and time: two CPU cores; about 6 hours, estimated from single steps: 2.5 for 18 searches, 2 for 57
trainings on pedestrians, 0.5 for ten networks by themselves, 1 for mouse, figures and COCO. Memory: 2 GB,
estimated. Networks that are trained have 24 million multiply-adds, within 5 %, and 400 steps. `found: ...`
rows retrain what a search found, as all others: the best candidate by the shared weights. random_0 to
random_4 are five uniform draws of network and cells, which say how far chance alone gets. 119 test
crops of one camera are few. The paper's numbers are of COCO and unknown.
"""

import os

import numpy as np

from vita_jax.metrics import kendall
from vita_jax.report.suite import Row

DATA = "configs/autopose"
PEDESTRIANS, FIGURES, MOUSE, COCO = (f"{DATA}/{n}.py" for n in ("pedestrians", "figures", "mouse", "coco"))
RUNS = os.environ.get("VITA_AUTOPOSE_RUNS", "runs/autopose")
MAIN, BESIDE = "pck_0.2", ("pck_0.1", "oks", "macs", "parameters", "label_ceiling_pck_0.2")
OF_SEARCH = (
  "candidates_mean",
  "reward_last",
  "reward_last_error",
  "uniform_last",
  "uniform_last_error",
  "skip_share",
  "macs",
)
SEARCHES = ("search", "random", "uniform", "evolve", "cell_only", "network_only")
BY_HAND = ("mean_pose", "single_branch", "no_edges", "retrain:all_edges", "hrnet", "simple_baseline")
RANDOM, RANKED = 5, 10
HEADER = (
  "Pedestrians: 206 crops train, 119 of later frames test; PCK within 0.2 torsos; labels are pseudo-labels of"
  " one camera. Trained networks: 400 steps of 24, 24 M multiply-adds within 5 %."
)


def _found(name, *, seed="{seed}", number=None):
  """The genotype that a row's search wrote, of the run's own seed or of one."""
  file = "genotype.json" if number is None else f"candidates.json#{number}"
  return f"{RUNS}/pedestrians_search_{name}/seed_{seed}/{file}"


def _trained(label, step, config=PEDESTRIANS, baseline="", metric=MAIN, seeds=3, beside=BESIDE, **more):
  return Row(
    label, f"{config}:{step}", {"seeds": seeds, **more}, metric=metric, baseline=baseline, beside=beside
  )


def get_suite():
  rows = [
    Row(
      f"pedestrians: search {name}",
      f"{PEDESTRIANS}:{name}",
      {"seeds": 3, "derive.keep": RANKED},
      metric="supernet_score",
      beside=OF_SEARCH,
    )
    for name in SEARCHES
  ]
  all_edges = "pedestrians: all_edges"
  for step in BY_HAND:
    label = f"pedestrians: {step.removeprefix('retrain:')}"
    rows.append(_trained(label, step, baseline="" if label == all_edges else all_edges))
  for name in SEARCHES:
    baseline = "" if name == "random" else "pedestrians: found random"
    rows.append(_trained(f"pedestrians: found {name}", f"retrain:{_found(name)}", baseline=baseline))
  rows = sorted(
    rows, key=lambda row: row.label != all_edges and not row.label.startswith("pedestrians: search")
  )
  for i in range(RANDOM):
    rows.append(
      _trained(f"pedestrians: random_{i}", f"retrain:random:{i}", baseline="pedestrians: found search")
    )
  # Ten of one supernet, the best and others, each trained by itself.
  rank = {"beside": ("supernet_score", "macs"), "seeds": 1}
  rows += [
    _trained(f"rank: {i}", f"retrain:{_found('uniform', seed=0, number=i)}", **rank) for i in range(RANKED)
  ]
  rows += _elsewhere()
  return tuple(rows)


def _elsewhere():
  """Other data: transfer of what was found, pre-training on figures, and COCO's twelve persons."""
  found, random = f"retrain:{_found('search')}", "retrain:random:0"
  mouse = {"config": MOUSE, "metric": "pck_0.1", "beside": ("pck_0.2", "oks", "macs")}
  figures = {"config": FIGURES, "metric": "pck_1", "beside": ("pck_0.5", "oks", "macs")}
  pretrained = {"init_from": f"{RUNS}/figures_all_edges/seed_0"}
  return [
    _trained("mouse: all_edges", "retrain:all_edges", **mouse),
    _trained("mouse: single_branch", "single_branch", baseline="mouse: all_edges", **mouse),
    _trained("mouse: random_0", random, **mouse),
    _trained("mouse: found search", found, baseline="mouse: random_0", **mouse),
    _trained("figures: all_edges", "retrain:all_edges", **figures),
    _trained("figures: single_branch", "single_branch", baseline="figures: all_edges", **figures),
    _trained("figures: random_0", random, **figures),
    _trained("figures: found search", found, baseline="figures: random_0", **figures),
    _trained(
      "pedestrians: all_edges after figures",
      "retrain:all_edges",
      baseline="pedestrians: all_edges",
      **pretrained,
    ),
    Row(
      "coco: twelve persons", f"{COCO}:retrain:all_edges", metric="ap", beside=("ap50", "ap75", "oks", MAIN)
    ),
  ]


def finish(summaries, workdir):
  """Says what the bars of the comparison come to, as far as their rows are there."""
  del workdir

  def mean(label, name):
    return summaries[label]["metrics"][name]["mean"]

  lines = []
  best = "pedestrians: all_edges"
  for label, goal in (("pedestrians: no_edges", 3), ("pedestrians: single_branch", 7)):
    if {best, label} <= summaries.keys():
      gain = 100 * (mean(best, MAIN) - mean(label, MAIN))
      lines.append(f"- all_edges is {gain:+.1f} points from {label.rpartition(' ')[2]} (goal: +{goal}).")
  found = [f"pedestrians: random_{i}" for i in range(RANDOM)]
  if {"pedestrians: found search", *found} <= summaries.keys():
    chance = [mean(label, MAIN) for label in found]
    ours = mean("pedestrians: found search", MAIN)
    lines.append(
      f"- found by search: {100 * ours:.1f}; five random networks {100 * np.mean(chance):.1f} on average, the"
      f" best {100 * max(chance):.1f}."
    )
  ranked = [f"rank: {i}" for i in range(RANKED)]
  if set(ranked) <= summaries.keys():
    pairs = [(mean(label, "supernet_score"), mean(label, MAIN)) for label in ranked]
    tau = kendall(*np.array(pairs, float).T)
    lines.append(f"- Kendall's tau of shared weights' score and PCK by itself, {RANKED} networks: {tau:.2f}.")
  label = "pedestrians: search search"
  if label in summaries and "uniform_last" in summaries[label]["metrics"]:
    one, other = (
      f"{mean(label, name):.4f} ± {mean(label, f'{name}_error'):.4f}"
      for name in ("reward_last", "uniform_last")
    )
    lines.append(f"- reward of the controller's last 20 updates {one}, of uniform draws {other}.")
  return "\n".join(lines)
