"""The results table of Self-PU: the ladder on digits and MNIST, the blocks one by one, and wrong priors.

  python launch/table.py --suite=configs/self_pu/table.py --workdir=runs/self_pu --rows='^Digits'
  python launch/table.py --suite=configs/self_pu/table.py --workdir=runs/self_pu --rows='^MNIST'

--rows=REGEX picks rows, --seeds=N shortens, --split=1 trains seed after seed, and the same command goes on
where it was stopped. All rows of a data set have the same labelled, unlabelled and validation rows, seed by
seed, and one rule of choice: the network with the lowest PU risk on validation rows after any epoch; beside
it, as last_test_accuracy, and in rows of its own, the network of the last epoch. MNIST needs VITA_DATA_DIR.
Hardware, time, memory: two CPU cores, about two hours for the digits and three for MNIST, 1.5 GB.
The paper's numbers are [memory], except Self-PU on MNIST, which its README's four seeds confirm.
The table ends with the purity of the trusted sets; prior_curve.png has accuracies at wrong priors.
"""

import functools

from vita_jax.papers.self_pu.recipe import RELEASED
from vita_jax.papers.self_pu.report import purity_table
from vita_jax.report import band_figure, save_figure
from vita_jax.report.suite import Row

# label -> method; each is paired with the one before, Self-PU with nnPU.
LADDER = {
  "naive PN": "pn_naive",
  "uPU": "upu",
  "nnPU": "nnpu",
  "nnPU + self-paced": "self_paced",
  "nnPU + self-paced + calibration": "self_calibrated",
}
SEEDS = {("MNIST", "nnPU"): 5, ("MNIST", "Self-PU"): 5}
DEFAULT_SEEDS = {"Digits": 10, "MNIST": 3}
PAPER = {  # test accuracy in percent (mean, std)
  ("MNIST", "uPU"): (92.52, 0.39),
  ("MNIST", "nnPU"): (93.41, 0.20),
  ("MNIST", "Self-PU"): (94.21, 0.54),
}
# One block of Self-PU changed at a time.
ABLATIONS = {
  "calibration without labels": {"calibration.meta": "entropy"},
  "without self-paced": {"self_paced.enabled": False},
  "without teachers": {"distillation.teachers": False},
  "without mutual students": {"distillation.students": False},
  "fixed size": {"self_paced.increasing": False},
  "in only": {"self_paced.replacement": False},
  "stored targets": {"self_paced.soft_target": "stored"},
  "hard targets": {"self_paced.soft_target": "hard"},
  "prior not adjusted": {"self_paced.adjust_prior": False},
  "mining per batch": {"distillation.mining": "batch"},
  "averages of every step": {"distillation.ema_every": "step"},
  "sizes as the paper says": {"self_paced.form": "linear", "self_paced.paces": (0.25, 0.25)},
  "chosen by clean labels": {"choose.criterion": "clean_accuracy"},
  "as released": RELEASED,
}
DIGITS_PRIOR = 0.496
LAST = ", last epoch"
WRONG = (0.8, 0.9, 1.1, 1.2)  # times the true prior


def _row(data, label, method, baseline="", **overrides):
  seeds = SEEDS.get((data, label), DEFAULT_SEEDS[data])
  paper = PAPER.get((data, label))
  return Row(
    label=f"{data} {label}",
    config=f"configs/self_pu/{data.lower()}.py:{method}",
    overrides={"seeds": seeds, **overrides},
    baseline=f"{data} {baseline}" if baseline else "",
    paper=tuple(x / 100 for x in paper) if paper else None,
    source="[memory]" if paper else "",
    beside=("last_test_accuracy",),
  )


def _at_the_end(row):
  """The same run, judged by the network of its last epoch."""
  label, baseline = (f"{x}{LAST}" if x else "" for x in (row.label, row.baseline))
  changes = {"metric": "last_test_accuracy", "paper": None, "source": "", "beside": ()}
  return row._replace(label=label, baseline=baseline, run=row.label, **changes)


def _ladder(data):
  rows, before = [_row(data, "PN with true labels", "pn_oracle")], ""
  for label, method in LADDER.items():
    rows.append(_row(data, label, method, before))
    before = label
  return [*rows, _row(data, "Self-PU", "self_pu", "nnPU")]


def get_suite():
  rows = []
  for data in ("Digits", "MNIST"):
    ladder = _ladder(data)
    rows += [*ladder, *map(_at_the_end, ladder)]
  # Calibration reads true classes, which nnPU does not have.
  without = _row("Digits", "Self-PU without calibration", "self_pu", "nnPU", **{"calibration.enabled": False})
  rows += [without, _at_the_end(without)]
  for label, changes in ABLATIONS.items():
    rows.append(_row("Digits", f"Self-PU, {label}", "self_pu", "Self-PU", **changes))
  for factor in WRONG:
    prior = {"prior": round(DIGITS_PRIOR * factor, 4)}
    for label, method in (("nnPU", "nnpu"), ("Self-PU", "self_pu")):
      rows.append(_row("Digits", f"{label}, prior x {factor}", method, label, **prior))
  return tuple(rows)


def finish(summaries, workdir):
  """Purity of the trusted sets as Markdown, and the curve of wrong priors."""
  metrics = {label: summary["metrics"] for label, summary in summaries.items() if not label.endswith(LAST)}
  curves = {}
  for method in ("nnPU", "Self-PU"):
    labels = {1.0: method, **{factor: f"{method}, prior x {factor}" for factor in WRONG}}
    found = {DIGITS_PRIOR * f: metrics.get(f"Digits {label}") for f, label in sorted(labels.items())}
    curves[method] = {p: m["test_accuracy"]["values"] for p, m in found.items() if m}
  if all(len(curve) > 1 for curve in curves.values()):
    labels = {"xlabel": "assumed prior", "ylabel": "test accuracy, %", "mark_label": "true prior"}
    draw = functools.partial(band_figure, curves, mark=DIGITS_PRIOR, **labels)
    save_figure(workdir / "prior_curve.png", draw)
  return purity_table(metrics)
