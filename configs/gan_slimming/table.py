"""The results table of GAN Slimming: photographs to cartoons, every method at one budget, three seeds.

  python launch/table.py --suite=configs/gan_slimming/table.py --workdir=runs/gan_slimming --split=1

The first row trains the teacher that all students share, in runs/gan_slimming/teacher; VITA_GS_TEACHER names
another place. --rows=REGEX picks rows (e.g. "^35"; "teacher" must have been run), --seeds=1 shortens, and the
same command goes on where it was stopped; what the bars need comes first, single techniques on the full
network last. Hardware and time, measured: 6 minutes on two CPU cores for the teacher, and on one core 2.5 to
5 minutes for each of 60 students with its report, 4 core-hours in all; two processes with --rows and
--workdir of their own may run side by side. Memory: 3 GB for each process.
Each student has 1,000 steps in all: at the end of 800 its distance to the teacher, on training crops, was
still falling. The first number is PSNR to the cartoon in dB, of the mean error over all held-out crops;
beside it SSIM, errors to target and teacher, Fréchet and kernel distances on two networks, multiply-adds,
bytes, and the PSNR of the identity map, of histogram matching and of the teacher. The paper's numbers are
of other data (horse2zebra by FID) and stand in the README.
"""

import functools
import math
import os

import numpy as np

from vita_jax.papers.gan_slimming.recipe import METHODS
from vita_jax.report import format_difference, pair_runs
from vita_jax.report.charts import lines
from vita_jax.report.pictures import picture_grid, save_figure
from vita_jax.report.rows import read_rows, seed_mean
from vita_jax.report.suite import Row

FILE = "configs/gan_slimming/cartoon.py"
TEACHER = os.environ.get("VITA_GS_TEACHER", "runs/gan_slimming/teacher")
NETS = ("efficientnet_lite0", "mobilenet_v2")
QUALITY = (
  "ssim",
  "mse_target",
  "mse_teacher",
  *(f"{kind}_{net}" for kind in ("frechet", "kernel") for net in NETS),
)
COSTS = ("macs", "macs_paper", "macs_share", "bytes", "bytes_ratio", "channels_pruned", "pruned_by_training")
BASELINES = ("identity_psnr", "histogram_psnr", "teacher_psnr")
BESIDE = (*QUALITY, *COSTS, *BASELINES)
HEADER = (
  "One shared teacher (base 24, 4 blocks, added to the picture); 170 photographs train, 42 are held out: 252"
  " crops of 64 x 64; cv2.stylization(sigma_s=60, sigma_r=0.45). Shares are of the teacher's multiply-adds,"
  " '20 times' of its float32 bytes. All students have 1,000 steps at one rate, but GD, which is drawn anew"
  " and begins at the teacher's."
)
BITS = (8, 6, 4)
AFTER = ("35 % stack", "35 % GS-32")  # their float networks are quantised after training as well
BY_BYTES = {f"{n} times smaller GS-8": {"budget.bytes": 1 / n} for n in (20, 30, 47)}  # 47: the paper's most
# label -> (method, overrides)
STUDENTS = {
  "35 % GS-32": ("gs32", {"budget.macs": 0.35, "quant.after": BITS}),
  "35 % GS-8": ("gs8", {"budget.macs": 0.35}),
  "35 % CP": ("cp", {"budget.macs": 0.35}),
  "35 % stack": ("stack", {"budget.macs": 0.35}),
  "35 % magnitude": ("magnitude", {"budget.macs": 0.35}),
  "35 % random": ("random", {"budget.macs": 0.35}),
  **{label: ("gs8", overrides) for label, overrides in BY_BYTES.items()},
  "35 % GD": ("gd", {"budget.macs": 0.35, "slim.rate": 1e-3}),
  "35 % D+CP": ("d_cp", {"budget.macs": 0.35}),
  "35 % CEC": ("cec", {"budget.macs": 0.35}),
  "50 % GS-32": ("gs32", {"budget.macs": 0.5}),
  "50 % random": ("random", {"budget.macs": 0.5}),
  "20 % GS-32": ("gs32", {"budget.macs": 0.2}),
  "20 % random": ("random", {"budget.macs": 0.2}),
  "full D": ("d", {}),
  "full Q": ("q", {}),
  "full D+Q": ("d_q", {}),
  "35 % CP+Q": ("cp_q", {"budget.macs": 0.35}),
}
RIVALS = ("CP", "stack", "magnitude", "random")  # of GS-32, at its multiply-adds


def get_suite():
  assert {method for method, _ in STUDENTS.values()} | {"teacher"} == set(METHODS)
  rows = [Row("teacher", f"{FILE}:teacher", metric="psnr", beside=BESIDE)]
  for label, (method, own) in STUDENTS.items():
    overrides = {"teacher.path": TEACHER, "seeds": 3, **own}
    baseline = f"{label[:4]} GS-32" if label[2:4] == " %" and not label.endswith("GS-32") else ""
    rows.append(Row(label, f"{FILE}:{method}", overrides, metric="psnr", baseline=baseline, beside=BESIDE))
    for bits in BITS if label in AFTER else ():
      beside = (*(f"ptq{bits}_{name}" for name in QUALITY), f"ptq{bits}_bytes_ratio")
      name = f"{label}, {bits} bits after"
      more = {"label": name, "metric": f"ptq{bits}_psnr", "baseline": "35 % GS-8", "beside": beside}
      rows.append(rows[-1]._replace(**more, run=label))
  return tuple(rows)


def finish(summaries, workdir):
  """Draws quality against bytes and one sheet of all methods, and says what the bars come to."""
  if points := _of_bytes(summaries):
    axes = {
      "x": "times smaller than the dense float32 network",
      "y": "PSNR to the cartoon, dB",
      "x_scale": "log",
    }
    save_figure(workdir / "bytes.png", functools.partial(lines, points, **axes))
  if losses := _losses(summaries, workdir):
    save_figure(workdir / "losses.png", functools.partial(lines, losses, x="step", y="loss", marker=""))
  if columns := _columns(summaries, workdir):
    save_figure(workdir / "pictures.png", functools.partial(picture_grid, columns))
  parts = (_of_teacher, _of_float, _of_integers, _of_training)
  found = [line for part in parts for line in part(summaries)]
  return "\n".join(["", "## Bars", "", *(f"- {line}" for line in found), ""]) if found else ""


def _of_bytes(summaries):
  """(times smaller, PSNR) of each method, a line through all that its rows have."""
  points = {}
  for label, summary in summaries.items():
    method, after, bits = label.partition(", ")
    name = method.removeprefix("35 % ").removeprefix("50 % ").removeprefix("20 % ")
    name = "GS-8" if name.endswith("GS-8") else f"{name}, then 8, 6, 4 bits" if after else name
    prefix = f"ptq{bits.partition(' ')[0]}_" if after else ""
    size, quality = _mean(summary, f"{prefix}bytes_ratio"), _mean(summary, f"{prefix}psnr")
    if math.isfinite(size * quality):
      points.setdefault(name, []).append((size, quality))
  return points


def _losses(summaries, workdir):
  """(step, training loss) of the first seed of each method at 35 %."""
  points = {}
  for row in get_suite():
    if row.label in summaries and row.label.startswith("35 %") and not row.run:
      files = sorted((workdir / row.folder).rglob("metrics.jsonl"))
      kept = [r for r in read_rows(files[0]) if r["split"] == "train"] if files else []
      if kept:
        points[row.label.removeprefix("35 % ")] = [(r["step"], seed_mean(r["metrics"]["loss"])) for r in kept]
  return points


def _columns(summaries, workdir):
  """Held-out crops by column: input, target, teacher, and what each method's first seed makes of them."""
  columns = {}
  for row in get_suite():
    files = sorted((workdir / row.folder).rglob("crops*.npz"))
    if row.label not in summaries or not files or not row.label.startswith("35 %"):
      continue
    with np.load(files[0]) as crops:
      columns = {name: crops[name] for name in ("input", "target", "teacher")} | columns
      name = row.metric.partition("_")[0] if row.run else "method"
      columns[row.label.removeprefix("35 % ")] = crops[name]
  return columns


def _mean(summary, name):
  """The mean over seeds; NaN where no seed has a finite number."""
  value = summary["metrics"].get(name, {}).get("mean")
  return math.nan if value is None else value


def _of_teacher(summaries):
  if "teacher" not in summaries:
    return
  teacher = summaries["teacher"]
  gains = [_mean(teacher, "psnr") - _mean(teacher, f"{other}_psnr") for other in ("identity", "histogram")]
  yield (
    f"Teacher over the identity map {gains[0]:+.2f} dB (bar 2), over histogram matching {gains[1]:+.2f} (1)."
  )
  for label in ("35 % GS-32", "35 % GS-8", *BY_BYTES):
    if label in summaries:
      more = _mean(summaries[label], "mse_target") / _mean(teacher, "mse_target") - 1
      size = _mean(summaries[label], "bytes_ratio")
      bar = "bar for GS-32: 5 %" if label.endswith("32") else "bars: 10 %, 15 times"
      yield (
        f"{label}: distance to target {100 * more:+.1f} % of the teacher's, {size:.1f} times smaller ({bar})."
      )


def _of_float(summaries):
  """GS-32 beside the other ways to the same multiply-adds: PSNR, seed by seed.

  A rival that fell below the budget is compared with the largest GS-32 that has no more (give or take 2 %).
  """
  shares = {
    label: _mean(summaries[label], "macs_share")
    for label in (f"{n} % GS-32" for n in (50, 35, 20))
    if label in summaries
  }
  listed, above = [], 0
  for name in RIVALS if "35 % GS-32" in shares else ():
    if (rival := summaries.get(f"35 % {name}")) is None:
      continue
    share = _mean(rival, "macs_share")
    fair = [label for label in shares if shares[label] <= 1.02 * share]
    ours = max(fair, key=shares.__getitem__, default="")
    pair = pair_runs(summaries[ours], rival, "psnr") if ours else None
    above += pair is not None and pair[1] > 0
    listed.append(f"{ours or 'none'} - {name} at {share:.0%}: {format_difference(pair)}")
  if listed:
    yield f"PSNR, dB: {', '.join(listed)}: above 0 for {above} of {len(listed)} (bar 3 of 4)."


def _of_integers(summaries):
  """GS-8 beside networks quantised after training that have as many bytes: PSNR, and kernel distances.

  Of the GS-8 rows the largest that has no more bytes (give or take 2 %).
  """
  sizes = {
    label: _mean(summaries[label], "bytes_ratio") for label in ("35 % GS-8", *BY_BYTES) if label in summaries
  }
  for rival, bits in ((rival, bits) for rival in AFTER if rival in summaries and sizes for bits in BITS):
    size = _mean(summaries[rival], f"ptq{bits}_bytes_ratio")
    small = {label: ratio for label, ratio in sizes.items() if ratio >= 0.98 * size}
    if not small:
      yield f"{rival}, {bits} bits after ({size:.1f} times smaller): no row of GS-8 is as small."
      continue
    ours = min(small, key=small.__getitem__)
    names = [
      name
      for name in ("psnr", *(f"kernel_{net}" for net in NETS))
      if name in summaries[ours]["metrics"] and f"ptq{bits}_{name}" in summaries[rival]["metrics"]
    ]
    pairs = {name: pair_runs(summaries[ours], summaries[rival], name, f"ptq{bits}_{name}") for name in names}
    listed = ", ".join(f"{name} {format_difference(pair, digits=3)}" for name, pair in pairs.items())
    bar = " (bar: psnr above 0, both kernel distances below)" if rival.endswith("stack") and bits < 8 else ""
    yield f"{ours} ({small[ours]:.1f} times) minus {rival}, {bits} bits after ({size:.1f}): {listed}{bar}."


def _of_training(summaries):
  shares = {label: _mean(summary, "pruned_by_training") for label, summary in summaries.items()}
  pruning = {
    label: share
    for label, share in shares.items()
    if label in STUDENTS and STUDENTS[label][0] in ("gs32", "gs8", "cp", "d_cp", "cp_q", "stack")
  }
  if pruning:
    least = min(pruning, key=pruning.__getitem__)
    yield f"Scales that training made 0: {100 * pruning[least]:.0f} % at least, in {least} (bar 10 %)."
  lost = {label: summary["metrics"]["psnr"]["diverged"] for label, summary in summaries.items()}
  named = ", ".join(f"{label} ({count})" for label, count in lost.items() if count)
  yield f"Seeds that diverged: {named or 'none'} (bar none)."
