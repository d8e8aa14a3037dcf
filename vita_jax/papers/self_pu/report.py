"""Final numbers and pictures of one seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.papers.self_pu.choose import right
from vita_jax.papers.self_pu.network import Network, in_chunks
from vita_jax.papers.self_pu.pu_metrics import pu_metrics
from vita_jax.train.experiment import Report, State


def networks(state: State) -> dict[str, tuple[Any, Any]]:
  """(parameters, statistics) by name: `student_1`, `teacher_1`, ..., and `chosen`."""
  groups = {"student": state, "teacher": state.get("teachers")}
  found = {}
  for name, tree in groups.items():
    if tree is not None:
      pair = tree["params"], tree["batch_stats"]
      for i in range(jax.tree.leaves(pair[0])[0].shape[0]):
        found[f"{name}_{i + 1}"] = jax.tree.map(lambda x, i=i: x[i], pair)
  return {**found, "chosen": (state["kept"]["params"], state["kept"]["batch_stats"])}


def test_step(network: Network) -> Callable:
  """`(state, batch) -> metrics`: accuracy of every network; of the chosen one more."""

  def step(state, batch):
    positive, mask, found = batch["positive"] > 0, batch["mask"], {}
    for name, pair in networks(state).items():
      logits = network.logits(*pair, batch["x"])
      hits = right(logits, positive)
      found[f"{name}_accuracy"] = metrics.mean(hits, mask)
      if name == "chosen":
        called = (logits > 0).astype(jnp.float32)
        found["recall"] = metrics.mean(hits, mask * positive)
        found["specificity"] = metrics.mean(hits, mask * ~positive)
        found["precision"] = (jnp.sum(mask * called * positive), jnp.sum(mask * called))
    return found

  return step


def validation_step(network: Network, chunk: int) -> Callable:
  """`(state, batch) -> metrics` of the table: the counts that PU metrics of the chosen network need.

  Rows are judged `chunk` at a time.
  """

  def step(state, batch):
    params, stats = state["kept"]["params"], state["kept"]["batch_stats"]
    logits = in_chunks(network, params, stats, batch["x"], state["validation"], chunk)
    labelled = state["validation_labelled"].astype(jnp.float32)
    unlabelled = state["validation_unlabelled"].astype(jnp.float32)
    called, wins = (logits > 0).astype(jnp.float32), logits[:, None] > logits
    ties = (logits[:, None] == logits) * 0.5
    pairs = labelled[:, None] * unlabelled
    return {
      "recall": metrics.mean(called, labelled),
      "called": metrics.mean(called, unlabelled),
      "auc": (jnp.sum(pairs * (wins + ties)), jnp.sum(pairs)),
    }

  return step


def make_report(config: Any, *, has_test: bool, distils: bool, estimated_prior: bool) -> Callable:
  """Builds `report(state, evaluate)`.

  Metrics: `test_accuracy` of the network that the validation criterion chose, `last_test_accuracy` of the
  best by that criterion at the last epoch (the same where `choose.last_epochs` is 1), per network, PU metrics
  on validation rows (`validation_*`, without a negative label), and sizes and purity of the trusted sets;
  `estimated_prior` is config.prior, where it was estimated.
  """

  def report(state: State, evaluate, sweep) -> Report:
    numbers: dict[str, Any] = {}
    if has_test:
      found = evaluate("test", state)
      last = int(np.argmax(np.asarray(state["values"]))) + 1
      numbers["test_accuracy"] = found["chosen_accuracy"]
      numbers["last_test_accuracy"] = found[f"{'teacher' if distils else 'student'}_{last}_accuracy"]
      numbers |= {f"test_{k}": v for k, v in found.items() if k != "chosen_accuracy"}
      recall, precision = found["recall"], found["precision"]
      if recall is not None and precision is not None and recall + precision > 0:
        numbers["test_f1"] = 2 * recall * precision / (recall + precision)
    held = evaluate("validation", state)
    counted = pu_metrics(held["recall"], held["called"], prior=config.prior, pu_auc=held["auc"])
    numbers |= {f"validation_{name}": value for name, value in counted.items()}
    if estimated_prior:
      numbers["estimated_prior"] = config.prior
    figures = {}
    if "history" in state:
      history = {name: np.asarray(x) for name, x in state["history"].items()}
      for s in range(history["size"].shape[1]):
        numbers[f"trusted_rows_{s + 1}"] = float(history["size"][-1, s])
        for side in ("positive", "negative"):
          values = history[f"purity_{side}"][:, s]
          if np.isfinite(values).all():
            numbers[f"purity_{side}_{s + 1}_first"] = float(values[0])
            numbers[f"purity_{side}_{s + 1}"] = float(values[-1])
      figures["trusted"] = lambda: trusted_figure(history, prior=config.prior)
    return Report(numbers, figures)

  return report


def trusted_figure(history: dict[str, np.ndarray], *, prior: float) -> Any:
  """Sizes and purity of the trusted sets over the selections, beside the share of each class in the pool.

  A matplotlib Figure. `history` as in the state: [selections, students] by name.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8, 3), layout="constrained")
  left, right_axes = figure.subplots(1, 2)
  number = np.arange(1, len(history["size"]) + 1)
  for s in range(history["size"].shape[1]):
    left.plot(number, history["size"][:, s], "o-", color=f"C{s}", label=f"student {s + 1}")
    for side, style in (("positive", "o-"), ("negative", "s--")):
      label = f"student {s + 1}, {side} side"
      right_axes.plot(number, history[f"purity_{side}"][:, s], style, color=f"C{s}", label=label)
  right_axes.axhline(max(prior, 1 - prior), color="0.6", lw=1, label="larger class of the pool")
  left.set(xlabel="selection", ylabel="trusted rows", xticks=number)
  right_axes.set(xlabel="selection", ylabel="purity", xticks=number)
  left.legend(frameon=False)
  right_axes.legend(frameon=False, fontsize=7)
  return figure


def purity_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
  """Purity of the trusted sets at the first and the last selection, as Markdown; "" where no row has any.

  Args:
    metrics: label of a run -> its metrics, as in summary.json.
  """
  lines = []
  for label, found in metrics.items():
    for s in (s for s in (1, 2) if f"purity_positive_{s}" in found):
      name = "purity_{}_{}{}".format
      sides = [[name(side, s, end) for end in ("_first", "")] for side in ("positive", "negative")]
      shown = [" -> ".join(f"{100 * found[x]['mean']:.1f}" for x in side) for side in sides]
      lines.append(f"| {label} | {s} | {found[f'trusted_rows_{s}']['mean']:.0f} | {' | '.join(shown)} |")
  if not lines:
    return ""
  head = [
    "| method | student | rows at last | positive side, % | negative side, % |",
    "|---|---|---|---|---|",
  ]
  title = "## Purity of the trusted sets, first -> last selection, mean over seeds"
  return "\n".join(["", title, "", *head, *lines, ""])


def prior_figure(curves: Mapping[str, Mapping[float, Sequence[float]]], *, prior: float) -> Any:
  """Test accuracy against the assumed prior, mean and population std over seeds; a line at the true one.

  A matplotlib Figure.

  Args:
    curves: method -> assumed prior -> accuracies (fractions), one a seed.
    prior: the true one.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 3.2), layout="constrained")
  axes = figure.add_subplot()
  for method, curve in curves.items():
    mean, std = (np.array([f(v) for v in curve.values()]) * 100 for f in (np.mean, np.std))
    (line,) = axes.plot(list(curve), mean, "o-", label=method)
    axes.fill_between(list(curve), mean - std, mean + std, color=line.get_color(), alpha=0.2, lw=0)
  axes.axvline(prior, color="0.6", lw=1, label="true prior")
  axes.set(xlabel="assumed prior", ylabel="test accuracy, %")
  axes.legend(frameon=False)
  return figure
