"""The results table of MM-Hand: rendered hands of 64 x 64, arms and curricula, three seeds.

  python launch/table.py --suite=configs/mm_hand/table.py --workdir=runs/mm_hand --split=1 \\
    --results=runs/mm_hand/table.jsonl
  python launch/mm_hand/sheet.py --out=runs/mm_hand/arms.png --failures=3 \\
    --runs=runs/mm_hand/mm_hand,runs/mm_hand/pose_only_patn,runs/mm_hand/no_attention,runs/mm_hand/pix2pix,\\
runs/mm_hand/pix2pix_mm_hand_s_losses
  python launch/mm_hand/augment.py --out=runs/mm_hand/augment.json \\
    --runs=runs/mm_hand/mm_hand,runs/mm_hand/pose_only_patn,runs/mm_hand/no_attention,runs/mm_hand/pix2pix,\\
runs/mm_hand/pix2pix_mm_hand_s_losses

--rows=REGEX picks rows, --seeds=N shortens, and the same command goes on where it was stopped. Hardware and
time: two CPU cores; 20 to 25 minutes of one of them for each of 15 runs with its report
(results/mm_hand/table.jsonl), 5 for each of six of pix2pix, 6 to 7 core-hours in all; three more, of copied
sources, are a report alone. Memory: 2.4 GB. The file of --results has all numbers, those of the bars too; the
sheet and augment.py need the folders of the runs, for their weights. First look at the judge's floor,
`python launch/mm_hand/floor.py`: where it is above a third of copy-source's error, the judge cannot tell.
The first number is the mean error of the pose in pixels of 224, by the full landmark network, which no loss
uses, on new poses before new photographs; beside it the 95th percentile over pictures, PCK's area, presence,
L1 (and that of the hand alone) and SSIM with the worst 5 %, distances of pictures on two networks, and some
of it for two new identities (`identities_...`). Differences are paired by seed, to MM-Hand. pix2pix has the
losses and the rate that were published with it, and in a row of its own MM-Hand's. CycleGAN, PG2, static
pairs and learned depth can be trained and are left out: they have not been needed for the claims. The paper's
tables were not to be had.
"""

import math

from vita_jax.report import format_difference, pair_runs
from vita_jax.report.suite import Row

FILE = "configs/mm_hand/rendered.py"
POSE = ("pose_error_p95", "pck_auc", "presence", "absent", "small_pose_error", "small_pck_auc")
APPEARANCE = ("l1", "l1_p95", "same_background_l1", "hand_l1", "ssim", "ssim_p5")
NETS = ("efficientnet_lite0", "mobilenet_v2")
DISTANCES = tuple(f"{kind}_{net}" for kind in ("frechet", "kernel") for net in NETS)
BASELINES = (
  *("copy_pose_error", "floor_pose_error", "mean_pose_error"),
  *("copy_small_pose_error", "floor_small_pose_error"),
  *("copy_l1", "copy_same_background_l1", "copy_hand_l1", "copy_ssim", "best_l1"),
)
BESIDE = (
  *POSE,
  *APPEARANCE,
  *DISTANCES,
  *BASELINES,
  *(f"identities_{name}" for name in ("pose_error", "presence", "l1", "ssim")),
  *(f"identities_{name}_pose_error" for name in ("copy", "floor", "mean")),
)
HEADER = (
  "2,000 hands train, 400 are tested; 8 identities and 152 photographs train; 3,000 steps of 4 pairs;"
  " pose error in pixels of 224 by the full landmark network"
)
# Patches of 16 are of 64 what the published 70 are of 256; three layers would judge the whole picture.
PATCH = {"discriminator.blocks": 1}
# pix2pix's networks, whose config means its losses, too: here with MM-Hand's
UNET = {"generator.kind": "unet", "discriminator.kind": "patch", "discriminator.judges": ("joints",), **PATCH}
# label -> (method, curriculum, what else differs)
ARMS = {
  "MM-Hand": ("mm_hand", "easy_to_hard", {}),
  "MM-Hand, random pairs": ("mm_hand", "random", {}),
  "MM-Hand, hard to easy": ("mm_hand", "anti", {}),
  "Pose only (PATN)": ("patn", "easy_to_hard", {}),
  "No attention": ("no_attention", "easy_to_hard", {}),
  "pix2pix": ("pix2pix", "random", {"train.rate": 2e-4, **PATCH}),  # its published rate
  "pix2pix, MM-Hand's losses": ("mm_hand", "random", UNET),
  "Copied source": ("copy_source", "easy_to_hard", {}),
}


def get_suite():
  rows = []
  for label, (method, curriculum, more) in ARMS.items():
    overrides = {"curriculum.kind": curriculum, "seeds": 3, **more}
    baseline = "" if label == "MM-Hand" else "MM-Hand"
    row = Row(label, f"{FILE}:{method}", overrides, metric="pose_error", baseline=baseline, beside=BESIDE)
    rows.append(row)
  return tuple(rows)


def finish(summaries, workdir):
  """Says what the bars of the comparison come to, as far as their rows are there: paired over seeds."""
  del workdir
  if "MM-Hand" not in summaries:
    return ""
  ours = summaries["MM-Hand"]
  floor, copied = (_mean(ours, f"{name}_pose_error") for name in ("floor", "copy"))
  lines = [
    f"Floor of the judge: {floor:.1f} of {copied:.1f} that copied sources have, {100 * floor / copied:.0f} %"
    " (above a third it cannot tell).",
    f"L1 {_below(ours, 'l1')} % below copied sources (bar 25). A true hand before the source's background"
    f" would be {_below(ours, 'best_l1', 'copy_l1')} % below: half of the backgrounds are others, unknown to"
    f" anybody. Where they are the same: {_below(ours, 'same_background_l1')} %; of the hand alone:"
    f" {_below(ours, 'hand_l1')} %. SSIM"
    f" {_mean(ours, 'ssim') - _mean(ours, 'copy_ssim'):+.3f} (bar above 0).",
    f"Pose error {100 * _mean(ours, 'pose_error') / copied:.0f} % of copied sources' (bar: below 50); that of"
    f" a mean pose of palm or back, no picture seen: {100 * _mean(ours, 'mean_pose_error') / copied:.0f} %.",
  ]
  others = {
    "Pose only (PATN)": "bar: above 0, and its low end above the floor",
    "No attention": "above 0: attention helps",
    "MM-Hand, random pairs": "above 0: easy pairs first help",
    "MM-Hand, hard to easy": "above 0: their order matters",
  }
  for label, bar in others.items():
    if label in summaries:
      pair = pair_runs(summaries[label], ours, "pose_error")
      beyond = pair is not None and pair[1] > floor
      told = f"its low end is {'above' if beyond else 'not above'} the floor, {floor:.1f}"
      lines.append(f"{label} minus MM-Hand, pose error: {format_difference(pair)} ({bar}); {told}.")
  return "\n".join(["", "## Bars", "", *(f"- {line}" for line in lines), ""])


def _below(summary, name, copied=""):
  """Percent that a number lies below that of copied sources."""
  return f"{100 * (1 - _mean(summary, name) / _mean(summary, copied or f'copy_{name}')):.0f}"


def _mean(summary, name):
  """The mean over seeds; NaN where no seed has a finite number."""
  value = summary["metrics"].get(name, {}).get("mean")
  return math.nan if value is None else value
