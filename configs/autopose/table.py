"""The results table of AutoPose: what aggregation is worth, and what searching is, at equal multiply-adds.

  python launch/table.py --suite=configs/autopose/table.py --workdir=runs/autopose --split=1

--split=1 is needed: each seed retrains the network that its own search found. --rows=REGEX picks rows (e.g.
"^pedestrians", "^rank"; a search must have been run before what retrains from it), --seeds=2 shortens, and
the same command goes on where it was stopped. (A single seed would have no folder of its own, which rows that
retrain look into.) With another --workdir set VITA_AUTOPOSE_RUNS to it, too; configs of these rows name their
genotype by it, so launch/evaluate.py on such a run needs it as well.
With --results=FILE it goes on from that file on another machine: genotypes and counts of people stand in it
as well. Weights do not: where those of "figures: all_edges" are gone, run that row (--rows="^figures: all")
without --results before "after figures", the last one, is trained.
Hardware and time: two CPU cores; about 8 hours, estimated from single steps: 4.5 for 19 searches, 2 for 54
trainings on pedestrians, 0.5 for ten networks by themselves, 1 for mouse, figures and COCO. Memory: 2 GB,
estimated. Networks that are trained have 24 million multiply-adds, within 5 %, and 400 steps. `found: ...`
rows retrain what a search found, as all others: the best candidate by the shared weights. random_0 to
random_4 are five uniform draws of network and cells, which say how far chance alone gets. 119 test
crops of one camera are few, and the same people walk through the training crops, too. COCO's twelve persons
train and test alike, at no equal cost: they show that the chain works. "after figures" starts from one
network for all seeds, and has had its steps as well. Scores by shared weights are of soft mixtures where
cells are searched by gradient, of one operation for each edge in random, and of plain cells in network_only:
they are not to be compared across rows. The paper's numbers are of COCO and unknown.
"""

import json
import math
import os
from pathlib import Path

import numpy as np

from vita_jax.base.files import write_json
from vita_jax.metrics import crossed_interval, kendall
from vita_jax.papers.autopose.recipe import SEARCHES
from vita_jax.report.suite import Row

DATA = "configs/autopose"
PEDESTRIANS, FIGURES, MOUSE, COCO = (f"{DATA}/{n}.py" for n in ("pedestrians", "figures", "mouse", "coco"))
# In configs it stands by its name: wherever the runs lie, a row is the same one to --results.
RUNS = os.environ.setdefault("VITA_AUTOPOSE_RUNS", "runs/autopose")
FOLDER = "$VITA_AUTOPOSE_RUNS"
MAIN, BESIDE = "pck_0.2", ("pck_0.1", "oks", "macs", "parameters", "label_ceiling_pck_0.2")
OF_SEARCH = (
  "candidates_mean",
  "median_pose_score",
  "reward_last",
  "uniform_last",
  "lead_last",
  "lead_last_error",
  "skip_share",
  "weightless_share",
  "macs",
)
LEARNING = ("search", "network_only")  # have a controller, which uniform draws are compared with
BY_HAND = ("mean_pose", "single_branch", "no_edges", "retrain:all_edges", "hrnet", "simple_baseline")
ALL_EDGES, FOUND = "pedestrians: all_edges", "pedestrians: found search"
GOALS = {"pedestrians: no_edges": 3, "pedestrians: single_branch": 7}  # points below all_edges
RANDOM = tuple(f"pedestrians: random_{i}" for i in range(5))
RANKED = tuple(f"rank: {i}" for i in range(10))
# A search that scores ten uniform draws and no more, so that all ten are candidates: none is chosen.
RANKING = {
  "seeds": 1,
  "search.round": 99,
  "controller.steps": 1,
  "controller.samples": 1,
  "controller.observed": 0,
  "derive.candidates": len(RANKED),
  "derive.keep": len(RANKED),
}
BARS = {"mouse: all_edges": ("pck_0.1", 0.65), "coco: twelve persons": ("ap", 0.9)}
TAU_ERROR = math.sqrt(2 * (2 * len(RANKED) + 5) / (9 * len(RANKED) * (len(RANKED) - 1)))
FRAMES = 20  # two seconds of film, whose people are the same: they are drawn together in intervals
# What other rows, or the end of the table, read of a run.
PEOPLE, GENOTYPE, LISTED = "people.json", "genotype.json", "candidates.json"
PAPER = "2.5 GPU-days on COCO's 150,000 persons"
HEADER = (
  "Pedestrians: 206 crops train, 119 of later frames test; PCK within 0.2 torsos; labels are pseudo-labels of"
  " one camera, of which 119 are few. The same people walk through both parts: this is no test on strangers."
  " Trained networks: 400 steps of 24, 24 M multiply-adds within 5 %."
)


def _found(name, *, seed="{seed}"):
  """The genotype that a row's search wrote, of the run's own seed or of one."""
  return f"{FOLDER}/pedestrians_search_{name}/seed_{seed}/{GENOTYPE}"


def _trained(label, step, config=PEDESTRIANS, baseline="", metric=MAIN, seeds=3, beside=BESIDE, **more):
  keep = (PEOPLE,) if config == PEDESTRIANS else ()
  shown = {"metric": metric, "baseline": baseline, "beside": beside, "keep": keep}
  return Row(label, f"{config}:{step}", {"seeds": seeds, **more}, **shown)


def _search(label, name, keep=GENOTYPE, **more):
  shown = {"metric": "supernet_score", "beside": OF_SEARCH, "keep": (keep,)}
  return Row(label, f"{PEDESTRIANS}:{name}", more, **shown)


def get_suite():
  rows = [_trained(ALL_EDGES, "retrain:all_edges")]
  for name in SEARCHES:
    more = {} if name in LEARNING else {"controller.observed": 0}
    rows.append(_search(f"pedestrians: search {name}", name, seeds=3, **more))
  for step in BY_HAND:
    if (label := f"pedestrians: {step.removeprefix('retrain:')}") != ALL_EDGES:
      rows.append(_trained(label, step, baseline=ALL_EDGES))
  for name in SEARCHES:
    other = {"random": "", "search": "uniform"}.get(name, "random")  # against uniform: reinforcement alone
    baseline = f"pedestrians: found {other}" if other else ""
    rows.append(_trained(f"pedestrians: found {name}", f"retrain:{_found(name)}", baseline=baseline))
  rows += [_trained(label, f"retrain:random:{i}", baseline=FOUND) for i, label in enumerate(RANDOM)]
  rows.append(_search("rank: supernet", "uniform", LISTED, **RANKING))
  rank = {"beside": ("supernet_score", "macs"), "seeds": 1}
  rows += [
    _trained(label, f"retrain:{FOLDER}/rank_supernet/{LISTED}#{i}", **rank) for i, label in enumerate(RANKED)
  ]
  return (*rows, *_elsewhere())


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
    Row(
      "coco: twelve persons", f"{COCO}:retrain:all_edges", metric="ap", beside=("ap50", "ap75", "oks", MAIN)
    ),
    _trained("pedestrians: all_edges after figures", "retrain:all_edges", baseline=ALL_EDGES, **pretrained),
  ]


def finish(summaries, workdir):
  """Says what the bars of the comparison come to, as far as their rows are there."""
  if ALL_EDGES in summaries and Path(RUNS).resolve() != Path(workdir).resolve():
    raise ValueError(  # now, and not at the first row that trains what a search found, hours later
      f"the table is in {workdir}, and its rows look for what searches found in {RUNS}: set"
      f" VITA_AUTOPOSE_RUNS={workdir}"
    )
  _check_found(summaries)
  lines = []
  for label, goal in GOALS.items():
    if {ALL_EDGES, label} <= summaries.keys():
      gain = 100 * (_mean(summaries, ALL_EDGES) - _mean(summaries, label))
      lines.append(
        f"all_edges is {gain:+.1f} points from {label.rpartition(' ')[2]} (goal: +{goal}, and an interval"
        f" above 0){_interval(summaries, workdir, ALL_EDGES, [label])}."
      )
  if {FOUND, *RANDOM} <= summaries.keys():
    chance = [_mean(summaries, label) for label in RANDOM]
    ours = _mean(summaries, FOUND)
    lines.append(
      f"found by search: {100 * ours:.1f}; five random networks {100 * np.mean(chance):.1f} on average, the"
      f" best {100 * max(chance):.1f}. To the average of these five it is"
      f" {100 * (ours - np.mean(chance)):+.1f} points{_interval(summaries, workdir, FOUND, RANDOM)}; other"
      " random networks are not in this interval."
    )
  if set(RANKED) <= summaries.keys():
    pairs = [(_mean(summaries, label, "supernet_score"), _mean(summaries, label)) for label in RANKED]
    tau = kendall(*np.array(pairs, float).T)
    lines.append(
      f"Kendall's tau of shared weights' score and PCK by itself, {len(RANKED)} uniform draws, one training"
      f" of each: {tau:.2f} (standard error of no relation at all {TAU_ERROR:.2f})."
    )
  lines += [_rewards(summaries, name) for name in LEARNING if f"pedestrians: search {name}" in summaries]
  for label, (metric, bar) in BARS.items():
    if label in summaries:
      lines.append(f"{label}: {metric} {_mean(summaries, label, metric):.3f} (bar: {bar}).")
  if "pedestrians: search search" in summaries:
    lines.append(_cost(summaries["pedestrians: search search"]))
  if ALL_EDGES in summaries:
    lines.append(_references(workdir))
  return "\n".join(f"- {line}" for line in lines)


def _check_found(summaries):
  """Refuses networks that are not those of the searches beside them: a search that was run anew, e.g."""
  pairs = [(f"pedestrians: search {name}", f"pedestrians: found {name}") for name in SEARCHES]
  pairs += [("pedestrians: search search", f"{data}: found search") for data in ("mouse", "figures")]
  for pair in (pair for pair in pairs if set(pair) <= summaries.keys()):
    search, found = (summaries[label] for label in pair)
    scores = [dict(zip(one["seeds"], _values(one, "supernet_score"), strict=True)) for one in (search, found)]
    for seed in scores[0].keys() & scores[1].keys():
      if not np.isclose(*(np.nan if one[seed] is None else one[seed] for one in scores), equal_nan=True):
        raise ValueError(
          f"row '{pair[1]}', seed {seed}, has trained another network than '{pair[0]}' has found: delete its"
          " run, and its line in the file of --results, and run the table again"
        )


def _values(summary, name):
  return summary["metrics"][name]["values"]


def _mean(summaries, label, name=MAIN):
  """The mean over seeds; NaN where all diverged."""
  value = summaries[label]["metrics"][name]["mean"]
  return np.nan if value is None else value


def _interval(summaries, workdir, label, others):
  """The interval of a row's lead over the mean of others, over seeds and crops."""
  ours, *theirs = (_people(summaries, workdir, name) for name in (label, *others))
  if ours is None or any(one is None for one in theirs):
    return f"; no interval: a {PEOPLE} is gone from {workdir}"
  if any(one[0].shape != ours[0].shape for one in theirs):
    return "; no interval: rows have other numbers of seeds"
  lead = ours[0] - np.mean([right for right, _ in theirs], axis=0)
  facts = ours[1]
  groups = np.array(facts["picture"]) // FRAMES
  _, low, high = crossed_interval(lead, facts["labelled"], groups=groups)
  return (
    f"; 95 % interval [{100 * low:+.1f}, {100 * high:+.1f}] over {len(lead)} seeds and {lead.shape[1]}"
    f" crops, those of {FRAMES} frames drawn together, {len(np.unique(groups))} such groups (few, and people"
    " stay longer: rather too narrow)"
  )


def _people(summaries, workdir, label):
  """(right keypoints [seeds, people], people.json of the first seed) of a row; None where a file is gone."""
  folder, found = workdir / Row(label, "").folder, []
  for seed in summaries[label]["seeds"]:
    places = (folder / f"seed_{seed}" / PEOPLE, folder / f"people_{seed}.json", folder / PEOPLE)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
      return None
    found.append(json.loads(path.read_text()))
  return np.array([one[MAIN] for one in found]), found[0]


def _rewards(summaries, name):
  """The lead of the controller's draws over uniform ones, with its standard error: of updates, not seeds."""
  label = f"pedestrians: search {name}"
  errors = [x for x in _values(summaries[label], "lead_last_error") if x is not None]
  one, other, lead = (_mean(summaries, label, key) for key in ("reward_last", "uniform_last", "lead_last"))
  error = np.sqrt(np.sum(np.square(errors))) / max(1, len(errors))
  median, best = (_mean(summaries, label, key) for key in ("median_pose_score", "supernet_score"))
  return (
    f"{name}: reward of the controller's last 20 updates {one:.4f}, of uniform draws on the same rows"
    f" {other:.4f}: {lead:+.4f} ± {error:.4f} (standard error over updates; bar: above 2 of them; the shared"
    " weights were trained on the controller's draws, which may be part of it). The best candidate has"
    f" {best:.4f} on held rows, the median pose, without a network, {median:.4f}."
  )


def _cost(summary):
  hours, cores = summary["seconds"] / 3600 / len(summary["seeds"]), os.cpu_count() or 1
  return (
    f"a search took {hours:.2f} hours of {cores} cores, {hours * cores:.1f} core-hours at most, on 206 crops"
    f" of 64 x 64; the paper's {PAPER}: unlike scales, which say nothing of each other."
  )


def _references(workdir):
  """PCK of published networks on the test crops, computed once and kept in references.json."""
  path = workdir / "references.json"
  if not path.is_file():
    try:
      write_json(path, _published())
    except FileNotFoundError as error:
      return f"no MoveNet beside them: {error}"
  found = json.loads(path.read_text())
  each = "; ".join(f"{name} {100 * value:.1f}" for name, value in found.items())
  return (
    f"published networks, trained on other people, on the test crops: {each}. BlazePose full is the label"
    " ceiling; labels are those of BlazePose heavy."
  )


def _published():
  from vita_jax.data import load_poses
  from vita_jax.metrics.keypoints import near
  from vita_jax.nn.detectors.poses import NAMES, find_poses

  found = {}
  for side in (64, 128):
    test = load_poses("pedestrians", size=(side, side)).test
    for name in NAMES:
      right = near(find_poses(name, test["image"]).joints, test["joints"], test["length"], threshold=0.2)
      found[f"{name} at {side} pixels"] = float(right.mean())
  return found
