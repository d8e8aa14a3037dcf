"""Final numbers and pictures of one seed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.data.rows import map_rows
from vita_jax.metrics.class_prior import PriorEstimate, prior_numbers
from vita_jax.metrics.pu import pu_counts, pu_summary
from vita_jax.papers.self_pu.choose import right
from vita_jax.papers.self_pu.model import Network
from vita_jax.papers.self_pu.recipe import Recipe
from vita_jax.train.experiment import Evaluate, Metrics, Report, State, Sweep


def networks(state: State) -> dict[str, tuple[Any, Any]]:
  """Returns (parameters, statistics) by name: `student_1`, `teacher_1`, ..., and `chosen`."""
  groups = {"student": state, "teacher": state.get("teachers")}
  found = {}
  for name, tree in groups.items():
    if tree is not None:
      pair = tree["params"], tree["batch_stats"]
      for i in range(jax.tree.leaves(pair[0])[0].shape[0]):
        found[f"{name}_{i + 1}"] = jax.tree.map(lambda x, i=i: x[i], pair)
  return {**found, "chosen": (state["kept"]["params"], state["kept"]["batch_stats"])}


def test_step(network: Network, state: State, batch: Any) -> Metrics:
  """Counts what is right of every network on test rows; of the chosen one recall and precision, too."""
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


def validation_step(network: Network, chunk: int, state: State, batch: Any) -> Metrics:
  """Counts what PU metrics of the chosen network need, `chunk` rows of the table at once."""
  logits_of = partial(network.logits, state["kept"]["params"], state["kept"]["batch_stats"])
  logits = map_rows(logits_of, batch["x"], state["validation"], chunk=chunk)
  return pu_counts(logits, state["validation_labelled"], state["validation_unlabelled"])


def report(
  recipe: Recipe,
  has_test: bool,
  distils: bool,
  estimate: PriorEstimate | None,
  state: State,
  evaluate: Evaluate,
  sweep: Sweep,
) -> Report:
  """Reports the final numbers of one seed.

  Metrics: `test_accuracy` of the network that the validation criterion chose, `last_test_accuracy` of the
  best by that criterion at the last epoch (the same where `choose.last_epochs` is 1), per network, PU metrics
  on validation rows (`validation_*`, see `pu_summary`), sizes and purity of the trusted sets, and, where it
  was estimated, the prior (see `prior_numbers`). The file `validation.md` marks PU metrics that cannot be.
  """
  numbers: dict[str, Any] = {}
  if has_test:
    last = int(np.argmax(np.asarray(state["values"]))) + 1
    numbers = _test_numbers(evaluate("test", state), f"{'teacher' if distils else 'student'}_{last}")
  found, text = pu_summary(evaluate("validation", state), prior=recipe.prior)
  numbers |= {f"validation_{name}": value for name, value in found.items()}
  if estimate:
    numbers |= prior_numbers(estimate)
  history = {name: np.asarray(x) for name, x in state.get("history", {}).items()}
  if not history or not len(history["size"]):  # nothing was ever trusted
    return Report(numbers, files={"validation.md": text})
  numbers |= _trusted_numbers(history)
  figures = {"trusted": partial(trusted_figure, history, prior=recipe.prior)}
  return Report(numbers, figures, {"validation.md": text})


def _test_numbers(found: dict[str, Any], last: str) -> dict[str, Any]:
  numbers = {"test_accuracy": found["chosen_accuracy"], "last_test_accuracy": found[f"{last}_accuracy"]}
  numbers |= {f"test_{k}": v for k, v in found.items() if k != "chosen_accuracy"}
  recall, precision = found["recall"], found["precision"]
  if recall is not None and precision is not None and recall + precision > 0:
    numbers["test_f1"] = 2 * recall * precision / (recall + precision)
  return numbers


def _trusted_numbers(history: dict[str, np.ndarray]) -> dict[str, float]:
  numbers = {}
  for s in range(history["size"].shape[1]):
    numbers[f"trusted_rows_{s + 1}"] = float(history["size"][-1, s])
    for side in ("positive", "negative"):
      values = history[f"purity_{side}"][:, s]
      if np.isfinite(values).all():
        numbers[f"purity_{side}_{s + 1}_first"] = float(values[0])
        numbers[f"purity_{side}_{s + 1}"] = float(values[-1])
  return numbers


def trusted_figure(history: dict[str, np.ndarray], *, prior: float) -> Any:
  """Draws sizes and purity of the trusted sets over the selections, beside the larger class of the pool.

  Args:
    history: as in the state: name -> float [selections, students].
    prior: share of positives in the pool.

  Returns:
    A matplotlib Figure.
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


def purity_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
  """Writes purity of the trusted sets at the first and the last selection as Markdown, or "" without any.

  Args:
    summaries: label of a run -> its metrics, as in summary.json.
  """
  lines = []
  for label, found in summaries.items():
    for s in (s for s in (1, 2) if f"purity_positive_{s}" in found):
      sides = [[f"purity_{side}_{s}{end}" for end in ("_first", "")] for side in ("positive", "negative")]
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
