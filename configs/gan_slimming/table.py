"""The results table of GAN Slimming: photographs to cartoons, every method at one budget, three seeds.

  python launch/table.py --suite=configs/gan_slimming/table.py --workdir=runs/gan_slimming --split=1

The first row trains the teacher that all students share, in runs/gan_slimming/teacher; VITA_GS_TEACHER names
another place. --rows=REGEX picks rows (e.g. "^35"; "teacher" must have been run), --seeds=N shortens, and the
same command goes on where it was stopped. Hardware and time: two CPU cores; 6 minutes for the teacher, 2 to
4 for each of 51 students with its report, about 3 hours in all, estimated from single steps. Memory: 2 GB,
estimated.
Each student has 1,000 steps in all: at the end of 800 its distance to the teacher, on training crops, was
still falling. The first number is PSNR to the cartoon in dB, of the mean error over all held-out crops;
beside it SSIM, errors to target and teacher, Fréchet and kernel distances on two networks, multiply-adds,
bytes, and the PSNR of the identity map, of histogram matching and of the teacher. The paper's numbers are
of other data (horse2zebra by FID) and stand in the README.
"""

import functools
import os

from vita_jax.papers.gan_slimming.recipe import METHODS
from vita_jax.report import format_difference, pair_runs
from vita_jax.report.charts import lines
from vita_jax.report.pictures import save_figure
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
  " crops of 64 x 64; cv2.stylization(sigma_s=60, sigma_r=0.45). Shares are of the teacher's multiply-adds."
)
# label -> (method, share of the multiply-adds; 0: no budget)
STUDENTS = {
  "35 % GS-32": ("gs32", 0.35),
  "35 % GS-8": ("gs8", 0.35),
  "35 % GD": ("gd", 0.35),
  "35 % CP": ("cp", 0.35),
  "35 % D+CP": ("d_cp", 0.35),
  "35 % CP+Q": ("cp_q", 0.35),
  "35 % stack": ("stack", 0.35),
  "35 % magnitude": ("magnitude", 0.35),
  "35 % random": ("random", 0.35),
  "35 % CEC": ("cec", 0.35),
  "full D": ("d", 0.0),
  "full Q": ("q", 0.0),
  "full D+Q": ("d_q", 0.0),
  "50 % GS-32": ("gs32", 0.5),
  "50 % random": ("random", 0.5),
  "20 % GS-32": ("gs32", 0.2),
  "20 % random": ("random", 0.2),
}


def get_suite():
  assert {method for method, _ in STUDENTS.values()} | {"teacher"} == set(METHODS)
  rows = [Row("teacher", f"{FILE}:teacher", metric="psnr", beside=BESIDE)]
  for label, (method, share) in STUDENTS.items():
    overrides = {"teacher.path": TEACHER, "budget.macs": share, "seeds": 3}
    baseline = {"35": "35 % GS-32", "50": "50 % GS-32", "20": "20 % GS-32"}.get(label[:2], "")
    baseline = "" if baseline == label else baseline
    rows.append(Row(label, f"{FILE}:{method}", overrides, metric="psnr", baseline=baseline, beside=BESIDE))
  stack = next(row for row in rows if row.label == "35 % stack")
  for bits in (8, 6, 4):
    beside = (*(f"ptq{bits}_{name}" for name in QUALITY), f"ptq{bits}_bytes_ratio")
    label = f"35 % stack, {bits} bits after"
    rows.append(
      stack._replace(
        label=label, metric=f"ptq{bits}_psnr", baseline="35 % GS-8", beside=beside, run="35 % stack"
      )
    )
  return tuple(rows)


def finish(summaries, workdir):
  """Draws quality against bytes, and says what the bars of the comparison come to."""
  points = {}
  for label, summary in summaries.items():
    values = {name: entry["mean"] for name, entry in summary["metrics"].items()}
    bits = label.rpartition(", ")[2].partition(" ")[0]
    prefix = f"ptq{bits}_" if bits.isdigit() and f"ptq{bits}_psnr" in values else ""
    size, quality = values.get(f"{prefix}bytes_ratio"), values.get(f"{prefix}psnr")
    if size and quality is not None:
      points[label] = [(1 / size, quality)]
  if points:
    axes = {"x": "bytes, share of the dense float32 network", "y": "PSNR to the cartoon, dB"}
    save_figure(workdir / "bytes.png", functools.partial(lines, points, **axes))
  found = [*_of_teacher(summaries), *_of_float(summaries), *_of_integers(summaries)]
  return "\n".join(["", "## Bars", "", *(f"- {line}" for line in found), ""]) if found else ""


def _mean(summary, name):
  return summary["metrics"][name]["mean"]


def _of_teacher(summaries):
  if "teacher" in summaries:
    gains = [
      _mean(summaries["teacher"], "psnr") - _mean(summaries["teacher"], f"{other}_psnr")
      for other in ("identity", "histogram")
    ]
    yield "Teacher over the identity map {:+.2f} dB (bar 2), over histogram matching {:+.2f} (1).".format(
      *gains
    )
  for label in ("35 % GS-32", "35 % GS-8"):
    if {label, "teacher"} <= summaries.keys():
      more = _mean(summaries[label], "mse_target") / _mean(summaries["teacher"], "mse_target") - 1
      size = _mean(summaries[label], "bytes_ratio")
      bar = "bar for GS-32: 5 %" if label.endswith("32") else "bars: 10 %, 15 times"
      yield (
        f"{label}: distance to target {100 * more:+.1f} % of the teacher's, {size:.1f} times smaller ({bar})."
      )


def _of_float(summaries):
  """GS-32 beside the other ways to the same multiply-adds: PSNR, seed by seed."""
  ours = summaries.get("35 % GS-32")
  rivals = [f"35 % {name}" for name in ("CP", "stack", "magnitude", "random")]
  pairs = {
    label: pair_runs(ours, summaries[label], "psnr") for label in rivals if ours and label in summaries
  }
  above = sum(pair is not None and pair[1] > 0 for pair in pairs.values())
  if pairs:
    listed = ", ".join(f"{label[5:]} {format_difference(pair)}" for label, pair in pairs.items())
    yield f"35 % GS-32 minus, dB: {listed}: above 0 for {above} of {len(pairs)} (bar 3 of 4)."


def _of_integers(summaries):
  """GS-8 beside the stack quantised after training: PSNR and both kernel distances (smaller is better)."""
  ours, stack = summaries.get("35 % GS-8"), summaries.get("35 % stack")
  for bits in (8, 6, 4) if ours and stack else ():
    sizes = [_mean(run, name) for run, name in ((ours, "bytes_ratio"), (stack, f"ptq{bits}_bytes_ratio"))]
    names = ("psnr", *(f"kernel_{net}" for net in NETS))
    listed = ", ".join(
      f"{name} {format_difference(pair_runs(ours, stack, name, f'ptq{bits}_{name}'), digits=3)}"
      for name in names
    )
    yield f"35 % GS-8 ({sizes[0]:.1f} times smaller) minus stack, {bits} bits ({sizes[1]:.1f}): {listed}."
