"""The results table of ASG: every method on emoji to photographs and on fonts to MNIST, and a run of scenes.

  python launch/table.py --suite=configs/asg/table.py --workdir=runs/asg --split=1

--rows=REGEX picks rows (e.g. "^emoji:", "^fonts:"), --seeds=N shortens, and the same command goes on where it
was stopped. Run configs/asg/table_search.py first: TUNED holds what it chose, on held-out synthetic pictures.
Rows "controller" train the controllers that asg takes on, one for all seeds, in runs/asg/emoji_controller and
so on; with another --workdir set VITA_ASG_RUNS to it, too: configs name their controller by it. With
--results=FILE it goes on from that file on another machine; controllers do not stand in it, so rows of asg
need the folders of those that train them. Controllers are also exchanged: that of the fonts, of four groups,
drives emoji in four groups, and back; those rows come last.
Hardware and time: two CPU cores; about 14 hours of one of them (results/asg/table.jsonl). Memory: 4 GB; 30 GB
of files.
The first number is the mean over classes of the accuracy on real pictures, which no training sees; rows are
paired by seed with the backbone at a tenth of the rate. Beside it: overall accuracy, that of averaged
weights, the old head on real pictures, L_KL, synthetic accuracy, real accuracy at equal synthetic accuracy, a
policy's own reward, and what peeking at real pictures would have given. early_stop and wise_ft are
source_only's training with other weights at its end.
"""

import os
from pathlib import Path

from vita_jax.papers.asg.recipe import METHODS
from vita_jax.report.suite import Row, pair_runs
from vita_jax.report.summary import format_difference

EMOJI, FONTS, SCENES = (f"configs/asg/{name}.py" for name in ("emoji", "fonts", "segmentation"))
# In configs it stands by its name: wherever the runs lie, a row is the same one to --results.
RUNS = os.environ.setdefault("VITA_ASG_RUNS", "runs/asg")
FOLDER = "$VITA_ASG_RUNS"
METRIC, OF_TEACHER = "real_mean_class_accuracy", "teacher_old_head_accuracy"
BESIDE = (
  "real_overall_accuracy",
  "wise_mean_class_accuracy",
  "old_head_accuracy",
  OF_TEACHER,
  "kl",
  "synthetic_overall_accuracy",
  "at_equal_synthetic_accuracy",
  "own_reward",
  "peeking_mean_class_accuracy",
)
CONTROLLER_SEED = 100  # none of the rows': their heads and orders of pictures are new to every controller
FULL_RATE = "proxy, full rate"
CORE = (
  "source_only",
  "backbone_x01",
  "frozen",
  "proxy",
  FULL_RATE,
  "random_policy",
  "asg",
  "lp_ft",
  "wise_ft",
)
AT_96 = ("source_only", "backbone_x01", "proxy", "asg")
# What each method has of its own beside its switches. All share the rate of their config, so that proxy and
# backbone_x01 are compared at equal rates; strengths are those that table_search.py chose.
PROXIED = ("proxy", "random_policy", "random_init_policy", "asg")
TUNED = {
  "emoji": {
    "l2_sp": {"anchor.weight": 0.1},
    "feature_l2": {"anchor.weight": 10.0},
    "synaptic": {"anchor.weight": 1e4},
    **{method: {"proxy.weight": 0.1} for method in PROXIED},
  },
  "fonts": {
    "l2_sp": {"anchor.weight": 0.01},
    "feature_l2": {"anchor.weight": 1.0},
    "synaptic": {"anchor.weight": 100.0},
    **{method: {"proxy.weight": 1.0} for method in PROXIED},
  },
}
HEADER = (
  "emoji: 4,000 renderings of 172 drawings, 500 steps, 10,000 photographs at 64 pixels; the style noto-v1 is"
  " held out. fonts: 3,000 renderings, 800 steps, MNIST's 10,000 test digits. All seeds of asg have one"
  " controller: its intervals are over fine-tunings, not over trainings of a controller."
  " at_equal_synthetic_accuracy: 'diverged' are seeds whose synthetic accuracy never got there. It and"
  " peeking_ are of weights along the way: those of early_stop and wise_ft are source_only's. What is held"
  " out is 41 drawings, and digits in six faces: a few points of synthetic accuracy are no difference."
  " random_init_policy draws a head that never learns for two of the ten seeds of fonts, as released."
)
# EfficientNet-Lite0 in the four groups of the small network, for controllers that change places.
FOUR = (
  "conv1=^trunk/(stem|block_[0-2])/",
  "conv2=^trunk/block_([3-9]|10)/",
  "fc=^trunk/block_1[1-5]/",
  "head=^(trunk/last|head)/",
)


def _row(label, config, method, seeds, baseline, **more):
  data = label.partition(":")[0].partition(" ")[0]
  overrides = {"seeds": seeds, **TUNED[data].get(method, {}), **more}
  baseline = "" if baseline == label else baseline
  return Row(label, f"{config}:{method}", overrides, metric=METRIC, baseline=baseline, beside=BESIDE)


def _controller(name):
  return {"controller.path": f"{FOLDER}/{name}"}


def _methods(data, config, seeds_of):
  rows = [_row(f"{data}: controller", config, "asg", 1, "", seed=CONTROLLER_SEED)]
  for method in METHODS:
    more = _controller(f"{data}_controller") if method == "asg" else {}
    label = f"{data}: {method}"
    rows.append(_row(label, config, method, seeds_of(method), f"{data}: backbone_x01", **more))
  asg = rows[-1]
  # What a policy can win beside the proxy: it chooses between this, multipliers of 1, and 0.
  full = {"rates.backbone": 1.0}
  label = f"{data}: {FULL_RATE}"
  rows.append(_row(label, config, "proxy", seeds_of(FULL_RATE), f"{data}: source_only", **full))
  wise = f"{data}: asg + wise_ft"
  rows.append(asg._replace(label=wise, metric="wise_mean_class_accuracy", run=asg.label, beside=()))
  for method in ("source_only", "asg"):
    more = {**(_controller(f"{data}_controller") if method == "asg" else {}), "cbst.rounds": 3}
    other = "" if method == "source_only" else f"{data}: source_only + cbst"
    rows.append(_row(f"{data}: {method} + cbst", config, method, seeds_of(method), other, **more))
  return rows


def get_suite():
  emoji = _methods("emoji", EMOJI, lambda method: 5 if method in CORE else 3)
  for method in AT_96:
    more = {"data.size": 96, **(_controller("emoji_controller") if method == "asg" else {})}
    emoji.append(_row(f"emoji 96: {method}", EMOJI, method, 3, "emoji 96: backbone_x01", **more))
  fonts = _methods("fonts", FONTS, lambda method: 10)
  beside = ("real_overall_accuracy", METRIC, "synthetic_overall_accuracy", "old_head_accuracy", "kl")
  scenes = Row("scenes: proxy", f"{SCENES}:proxy", {}, metric="real_mean_iou", beside=beside)
  return (*emoji, *fonts, *_exchanged(), scenes)


def _exchanged():
  """Controllers that change places, after those that train them."""
  four = {"model.groups": FOUR}
  own, fonts = (_controller(f"{name}_controller") for name in ("emoji_four_groups", "fonts"))
  label = "emoji: four groups"
  return [
    _row("emoji: four groups, controller", EMOJI, "asg", 1, "", **four, seed=CONTROLLER_SEED),
    _row(label, EMOJI, "asg", 3, "emoji: backbone_x01", **four, **own),
    _row("emoji: controller of fonts", EMOJI, "asg", 3, label, **four, **fonts),
    _row("fonts: controller of emoji", FONTS, "asg", 10, "fonts: asg", **own),
  ]


def finish(summaries, workdir):
  """Says what the bars of the comparison come to, as far as their rows are there: paired over seeds."""
  if any(x.endswith("controller") for x in summaries) and Path(RUNS).resolve() != Path(workdir).resolve():
    raise ValueError(  # now, and not at the first row that takes a controller
      f"the table is in {workdir}, and its rows look for controllers in {RUNS}: set VITA_ASG_RUNS={workdir}"
    )
  lines = []
  for data in ("emoji", "fonts"):
    found = {
      name.removeprefix(f"{data}: "): x for name, x in summaries.items() if name.startswith(f"{data}: ")
    }
    lines += [f"- {data}: {line}" for line in _bars(found)]
  return "\n".join(["", "## Bars", "", *lines, ""]) if lines else ""


def _bars(rows):
  lines = []
  # A tenth of the rate forgets little, so there the bar of 5 points may be above what there is to win.
  for one, other in (("proxy", "backbone_x01"), (FULL_RATE, "source_only")):
    if {one, other} <= rows.keys():
      lines.append(_kept(rows, one, other))
  for one, other, name, what in (
    ("asg", "backbone_x01", METRIC, "asg against backbone_x01 on real pictures (bar: above 0)"),
    ("asg", "random_policy", "own_reward", "learned against random policy, own reward (bar: above 0)"),
    ("asg", "random_policy", METRIC, "learned against random policy on real pictures (bar: not below 0)"),
    ("asg + cbst", "source_only + cbst", METRIC, "self-training from asg, not source_only (bar: above 0)"),
  ):
    if {one, other} <= rows.keys():
      lines.append(f"{what}: {_difference(rows, one, other, name)}.")
  found = {name: rows[name]["metrics"][METRIC]["values"] for name in METHODS if name in rows}
  common = min(map(len, found.values()), default=0)  # the first seeds, which all have
  scored = {name: x[:common] for name, x in found.items() if None not in x[:common]}
  if scored:
    best = max(scored, key=lambda name: sum(scored[name]))
    mean = 100 * sum(scored[best]) / common
    lines.append(f"best of all methods on real pictures, over {common} seeds: {best}, {mean:.1f}.")
  return lines


def _kept(rows, one, other):
  """What the proxy keeps of the old task against the same rates without it."""
  proxy, without = (rows[name]["metrics"]["kl"]["values"] for name in (one, other))
  ratios = [b / max(a, 1e-12) for a, b in zip(proxy, without, strict=False) if None not in (a, b)]
  old, teacher = (rows[other]["metrics"][name]["mean"] for name in ("old_head_accuracy", OF_TEACHER))
  return (
    f"{one} against {other}, at the same rates: the old head is"
    f" {_difference(rows, one, other, 'old_head_accuracy')} points (bar: +5; up to the teacher's there are"
    f" {100 * (teacher - old):.1f}), L_KL {sum(ratios) / max(len(ratios), 1):.1f} times smaller, at least"
    f" {min(ratios, default=0.0):.1f} (bar: 5)."
  )


def _difference(rows, one, other, name):
  """The paired difference with its interval, over the seeds of both; of accuracies in points."""
  scale, digits = (100, 1) if name.endswith("accuracy") else (1, 4)
  found = pair_runs(rows[one], rows[other], name)
  return format_difference(found and tuple(scale * x for x in found), digits=digits)
