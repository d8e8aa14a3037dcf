"""The results table of ASG: every method on emoji to photographs and on fonts to MNIST, and a run of scenes.

  python launch/table.py --suite=configs/asg/table.py --workdir=runs/asg --split=1

--rows=REGEX picks rows (e.g. "^emoji:", "^fonts:"), --seeds=N shortens, and the same command goes on where it
was stopped. The first two rows train the controllers that asg takes on, in runs/asg/emoji_controller and
runs/asg/fonts_controller; VITA_ASG_RUNS names another folder than runs/asg. Controllers are also exchanged:
that of the fonts, of four groups, drives emoji in four groups, and back.
Hardware and time: two CPU cores; about 9 hours, estimated from single steps: 6 for emoji, 1 for four rows at
96 pixels, 1.5 for fonts. Memory: 2 GB, estimated. The first number is the mean over classes of the accuracy
on real pictures, which no training sees; rows are paired by seed with the backbone at a tenth of the rate.
Beside it: overall accuracy, that of averaged weights, the old head on real pictures, L_KL, synthetic
accuracy, real accuracy at equal synthetic accuracy, a policy's own reward, and what peeking at real pictures
would have given.
"""

import os

from vita_jax.papers.asg.recipe import METHODS
from vita_jax.report.suite import Row

EMOJI, FONTS, SCENES = (f"configs/asg/{name}.py" for name in ("emoji", "fonts", "segmentation"))
RUNS = os.environ.get("VITA_ASG_RUNS", "runs/asg")
METRIC = "real_mean_class_accuracy"
BESIDE = (
  "real_overall_accuracy",
  "wise_mean_class_accuracy",
  "old_head_accuracy",
  "teacher_old_head_accuracy",
  "kl",
  "synthetic_overall_accuracy",
  "at_equal_synthetic_accuracy",
  "own_reward",
  "peeking_mean_class_accuracy",
)
CORE = ("source_only", "backbone_x01", "frozen", "proxy", "random_policy", "asg", "lp_ft", "wise_ft")
AT_96 = ("source_only", "backbone_x01", "proxy", "asg")
HEADER = (
  "emoji: 4,000 renderings of 172 drawings, 500 steps, 10,000 photographs at 64 pixels; the style noto-v1 is"
  " held out. fonts: 3,000 renderings, 800 steps, MNIST's 10,000 test digits."
)
# EfficientNet-Lite0 in the four groups of the small network, for controllers that change places.
FOUR = (
  "conv1=^trunk/(stem|block_[0-2])/",
  "conv2=^trunk/block_([3-9]|10)/",
  "fc=^trunk/block_1[1-5]/",
  "head=^(trunk/last|head)/",
)


def _row(label, config, method, seeds, baseline, **more):
  overrides = {"seeds": seeds, **more}
  baseline = "" if baseline == label else baseline
  return Row(label, f"{config}:{method}", overrides, metric=METRIC, baseline=baseline, beside=BESIDE)


def _controller(data):
  return {"controller.path": f"{RUNS}/{data}_controller"}


def _methods(data, config, seeds_of):
  rows = [_row(f"{data}: controller", config, "asg", 1, "")]
  for method in METHODS:
    more = _controller(data) if method == "asg" else {}
    label = f"{data}: {method}"
    rows.append(_row(label, config, method, seeds_of(method), f"{data}: backbone_x01", **more))
  asg = rows[-1]
  wise = f"{data}: asg + wise_ft"
  rows.append(asg._replace(label=wise, metric="wise_mean_class_accuracy", run=asg.label, beside=()))
  for method in ("source_only", "asg"):
    more = {**(_controller(data) if method == "asg" else {}), "cbst.rounds": 3}
    other = "" if method == "source_only" else f"{data}: source_only + cbst"
    rows.append(_row(f"{data}: {method} + cbst", config, method, seeds_of(method), other, **more))
  return rows


def get_suite():
  emoji = _methods("emoji", EMOJI, lambda method: 5 if method in CORE else 3)
  for method in AT_96:
    more = {"data.size": 96, **(_controller("emoji") if method == "asg" else {})}
    emoji.append(_row(f"emoji 96: {method}", EMOJI, method, 3, "emoji 96: backbone_x01", **more))
  emoji.append(_row("emoji: four groups", EMOJI, "asg", 3, "emoji: backbone_x01", **{"model.groups": FOUR}))
  transferred = {"model.groups": FOUR, **_controller("fonts")}
  emoji.append(_row("emoji: controller of fonts", EMOJI, "asg", 3, "emoji: four groups", **transferred))
  fonts = _methods("fonts", FONTS, lambda method: 10)
  back = {"controller.path": f"{RUNS}/emoji_four_groups"}
  fonts.append(_row("fonts: controller of emoji", FONTS, "asg", 10, "fonts: asg", **back))
  beside = ("real_overall_accuracy", METRIC, "synthetic_overall_accuracy", "old_head_accuracy", "kl")
  scenes = Row("scenes: proxy", f"{SCENES}:proxy", {}, metric="real_mean_iou", beside=beside)
  return (*emoji, *fonts, scenes)


def finish(summaries, workdir):
  """Says what the bars of the comparison come to, as far as their rows are there."""
  del workdir

  def mean(label, name):
    return summaries[label]["metrics"][name]["mean"]

  lines = []
  for data in ("emoji", "fonts"):
    one, other = f"{data}: proxy", f"{data}: backbone_x01"
    if {one, other} <= summaries.keys():
      gain = 100 * (mean(one, "old_head_accuracy") - mean(other, "old_head_accuracy"))
      lines.append(
        f"- {data}: with the proxy the old head is {gain:+.1f} points, and L_KL"
        f" {mean(other, 'kl') / max(mean(one, 'kl'), 1e-12):.1f} times smaller, at the same rates."
      )
    one, other = f"{data}: asg", f"{data}: random_policy"
    if {one, other} <= summaries.keys():
      lines.append(
        f"- {data}: own reward of the learned policy {mean(one, 'own_reward'):.4f}, of the random one"
        f" {mean(other, 'own_reward'):.4f}."
      )
  return "\n".join(["", "## Bars", "", *lines, ""]) if lines else ""
